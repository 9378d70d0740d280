"""Each source of the shortlist is seen at work: with a prompt, with a history, with what others did."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import settings
from train.cases import read_cases
from train.predictors import Specs
from train.recall import PROPOSED, SOURCES, WARM, WHOLE, by_source


@pytest.fixture(scope="module")
def found(examples_folder: Path) -> dict:
    loaded = settings.load()
    small = loaded.shortlist.model_copy(update={"total": 12})  # so that the union has to choose
    specs = Specs(loaded.model_copy(update={"shortlist": small}), examples_folder, meaning=False)
    return by_source(read_cases([examples_folder], specs), specs)


def test_sources_find_what_they_can_know_of(found: dict) -> None:
    for variant, by_suite in found.items():
        for suite, by in by_suite.items():
            assert set(by) == {WHOLE, PROPOSED, WARM, *SOURCES}
            assert by["meaning"]["recall"] == 0.0, "there are no vectors here"
            prompted = variant != "history_only"
            assert (by["words"]["recall"] > 0) == prompted, (variant, suite)
            assert (by["neighbours"]["recall"] > 0) == (variant != "prompt_only"), (variant, suite)
            assert by["habit"]["recall"] > 0


def test_what_is_lost_is_what_the_union_had(found: dict) -> None:
    for by_suite in found.values():
        for by in by_suite.values():
            assert by["meaning"]["lost"] == 0.0
            for source in SOURCES:
                whole = by[WARM if source == "habit" else PROPOSED]
                assert 0 <= by[source]["recall@30"] <= by[source]["recall"] <= 1
                assert by[source]["lost"] <= whole["recall"]
            assert by[PROPOSED]["recall"] <= by[WHOLE]["recall"]
    alone = found["history_only"]["billing"]
    assert alone["neighbours"]["lost"] == alone["neighbours"]["recall"] == alone[PROPOSED]["recall"]


def test_the_mean_over_suites_stands_beside_them(found: dict) -> None:
    by_suite = found["prompt_history"]
    suites = set(by_suite) - {"macro"}
    assert {"billing", "issue-tracker"} <= suites
    mean = sum(by_suite[suite]["words"]["recall"] for suite in suites) / len(suites)
    assert by_suite["macro"]["words"]["recall"] == pytest.approx(mean)
