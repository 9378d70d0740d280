"""The packaged examples are whole: they parse, and their sessions are calls of their specs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.catalog.match import Matcher
from pipeline.catalog.parse import parse_spec

SPECS = {"billing.yaml": 35, "deployments.yaml": 33, "issue-tracker.json": 26, "media-player.yaml": 35}


@pytest.mark.parametrize("name", SPECS)
def test_every_operation_is_read_without_a_warning(examples_folder: Path, name: str) -> None:
    catalog = parse_spec((examples_folder / name).read_bytes(), settings.load().parse)
    assert catalog.warnings == ()
    assert len(catalog.operations) == SPECS[name]
    assert all(o.operation_id and o.summary and o.tags for o in catalog.operations)


@pytest.mark.parametrize("name", SPECS)
def test_sessions_call_operations_with_their_parameters(examples_folder: Path, name: str) -> None:
    catalog = parse_spec((examples_folder / name).read_bytes(), settings.load().parse)
    matcher = Matcher(catalog)
    lines = (examples_folder / name).with_suffix(".sessions.jsonl").read_text().splitlines()
    assert 10 <= len(lines) <= 20
    for line in lines:
        session = json.loads(line)
        assert set(session) == {"prompt", "events"}
        for event in session["events"]:
            match = matcher.match(*event["endpoint"].split(" ", 1))
            assert match is not None, event
            parameters = catalog.operations[match.index].parameters
            assert set(event["params"]) <= {p.name for p in parameters}, event
            required = {p.name for p in parameters if p.required}
            assert required <= {*event["params"], *match.path_params}, event


def test_every_example_is_checked(examples_folder: Path) -> None:
    sessions = {path.name.split(".")[0] for path in examples_folder.glob("*.sessions.jsonl")}
    assert sessions == {Path(name).stem for name in SPECS}


def test_the_packaged_catalogs_are_the_specs_and_the_offers() -> None:
    assert settings.packaged_specs() == sorted([*(Path(name).stem for name in SPECS), "offers"])
