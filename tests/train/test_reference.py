"""The packaged reference of the features belongs to the packaged anchor."""

from __future__ import annotations

from pathlib import Path

from pipeline.ranking import drift
from train.anchor import anchor_path, write_reference


def test_the_packaged_reference_is_the_packaged_anchors(tmp_path: Path):
    """When it is not: `write_reference(anchor_path(), drift.packaged_path())` writes it anew."""
    write_reference(anchor_path(), tmp_path / "reference.json")
    assert drift.load(tmp_path / "reference.json") == drift.load()
