"""The command behind the packaged ranker, on twelve small specs: from documents to an artefact that serves."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.ranking.ranker import Ranker, packaged_path
from tests.conftest import EVAL
from train import corpus, dataset, default_model
from train.card import ABOUT

FAMILIES = corpus.EVALUATION_FAMILIES.pattern


@pytest.mark.cluster
@pytest.mark.slow
def test_one_command_makes_a_ranker_that_serves_and_its_card(specs_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    default_model.main(
        specs=specs_folder, out=out, work=tmp_path / "work", exclude=None, cases=None, count=12, sessions=8, workers=1
    )
    ranker = Ranker.load_text((out / "ranker.json").read_text())
    card = (out / "ranker.md").read_text()
    assert ranker.version in card
    assert all(about in card for about in ABOUT)
    assert FAMILIES in card
    assert "12 OpenAPI documents of 12 providers" in card
    assert {p.name for p in out.iterdir()} == {
        "ranker.json",
        "ranker.md",
        "network.safetensors",
        "specs.txt",
        "anchor.parquet",
        "reference.json",
    }


def test_confidence_is_fitted_on_what_people_do_where_there_is_any() -> None:
    answers = np.arange(4, dtype=np.int32)
    groups = dataset.Groups(
        x=np.zeros((8, 1), dtype=np.float32), y=np.zeros(8, dtype=np.int32), sizes=np.full(4, 2, dtype=np.int32),
        answers=answers, operations=answers, providers=("p",) * 4, weights=np.array([1, 12, 12, 1], dtype=np.float32),
    )  # fmt: skip
    assert default_model.written_of(groups).answers.tolist() == [1, 2]
    walked = dataclasses.replace(groups, weights=np.ones(4, dtype=np.float32))
    assert default_model.written_of(walked) is walked


def test_the_packaged_ranker_saw_no_spec_of_the_evaluation_and_over_a_thousand_others() -> None:
    rows = [line.split("\t") for line in packaged_path().with_name("specs.txt").read_text().splitlines()]
    assert {split for split, _ in rows} == set(dataset.SPLITS)
    assert not [name for _, name in rows if corpus.EVALUATION_FAMILIES.search(name)]
    assert len({name for _, name in rows if not name.startswith("specs/")}) >= 1000


def test_written_sessions_are_on_no_spec_of_the_evaluation() -> None:
    folder = Path(default_model.__file__).with_name("sessions")
    names = {json.loads(line)["spec"] for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()}
    assert len(names) > 150
    assert not [name for name in names if corpus.EVALUATION_FAMILIES.search(name)]


@pytest.mark.skipif(not EVAL.is_dir(), reason="needs the evaluation folder")
def test_no_invented_spec_shares_its_paths_with_one_of_the_evaluation() -> None:
    barred = {s for file in (EVAL / "specs").glob("*.json") for s in corpus.shapes_of(json.loads(file.read_bytes()))}
    for file in Path(default_model.__file__).with_name("sessions").glob("specs/*.json"):
        shapes = set(corpus.shapes_of(json.loads(file.read_bytes())))
        assert len(shapes & barred) <= 0.3 * len(shapes), file.name
