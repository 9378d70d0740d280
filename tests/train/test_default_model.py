"""The command behind the packaged ranker, on twelve small specs: from documents to an artefact that serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.ranking.ranker import Ranker
from train import corpus, default_model

FAMILIES = corpus.EVALUATION_FAMILIES.pattern


@pytest.mark.cluster
@pytest.mark.slow
def test_one_command_makes_a_ranker_that_serves_and_its_card(specs_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    default_model.main(
        specs=specs_folder, out=out, work=tmp_path / "work", exclude=None, cases=None, count=12, sessions=30, workers=1
    )
    ranker = Ranker.load_text((out / "ranker.json").read_text())
    card = (out / "ranker.md").read_text()
    assert ranker.version in card
    assert FAMILIES in card
    assert "12 OpenAPI documents of 12 providers" in card
    assert {p.name for p in out.iterdir()} == {"ranker.json", "ranker.md"}
