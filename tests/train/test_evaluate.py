"""Evaluation: ties and misses count against us, the guard is measured apart, baselines stand beside."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pipeline import settings
from pipeline.errors import BadRequest
from pipeline.ranking import ranker as rankers
from tests.train.conftest import spec
from train import evaluate as evaluation
from train.baselines import Baselines, expected_random, path_overlap
from train.cases import Case, Event, query_of, read_cases
from train.evaluate import LocalPredictor, Ranking, evaluate, tables

KEYS = ("GET /a", "POST /a", "DELETE /a")


def _case(number: int, answer: str, variant: str = "prompt_only", suite: str = "s") -> Case:
    return Case(
        suite=suite,
        case=f"{suite}/{number}",
        variant=variant,
        spec="x.json",
        next=answer,
        group=f"g{number % 3}",
        accept=(answer, "GET /a"),
        prompt="do it",
    )


class _Fixed:
    """Ranks by the same scores whatever is asked; two operations of twenty are in no shortlist."""

    def __init__(self, scores: list[float], allowed: tuple[bool, ...] = (True, True, True)) -> None:
        self._scores, self._allowed = scores, allowed

    def rank(self, case: Case) -> Ranking:
        scores = np.array(self._scores)
        return Ranking(KEYS, scores, np.full(3, 0.4), np.array(self._allowed), 20, KEYS)


def test_hits_ties_and_misses() -> None:
    cases = [_case(0, "GET /a"), _case(1, "POST /a"), _case(2, "PUT /missing")]
    report = evaluate(cases, _Fixed([3.0, 1.0, 1.0]))
    cell = report.cells["ranker, guarded"]["prompt_only"]["s"]
    assert cell.cases == 3
    assert cell.values["hit@1"] == pytest.approx(1 / 3)
    assert cell.values["hit@3"] == pytest.approx(2 / 3)  # POST /a ties with DELETE /a: rank 3
    assert cell.values["mrr"] == pytest.approx((1 + 1 / 3 + 1 / 20) / 3)
    assert cell.values["accept@1"] == 1.0
    low, high = cell.intervals["hit@1"]
    assert 0.0 <= low <= 1 / 3 <= high <= 1.0


def test_the_guard_is_measured_apart() -> None:
    hidden = _Fixed([1.0, 2.0, 3.0], (True, True, False))
    rows: dict = evaluation.defaultdict(evaluation._Rows)
    for case in (_case(0, "POST /a"), _case(1, "DELETE /a")):
        evaluation._ours(rows, case, hidden.rank(case), guarded_only=False)
    cells = evaluation._cells(rows)
    assert cells["ranker"]["prompt_only"]["s"].values["hit@1"] == 0.5  # DELETE first
    assert cells["ranker, guarded"]["prompt_only"]["s"].values["hit@1"] == 0.5  # POST first, DELETE held back
    assert cells["ranker"]["prompt_only"]["s"].values["mrr"] == pytest.approx((1 / 2 + 1) / 2)
    assert cells["ranker, guarded"]["prompt_only"]["s"].values["mrr"] == pytest.approx((1 + 1 / 20) / 2)
    assert cells["ranker"]["prompt_only"]["s"].values["recall"] == 1.0


def test_macro_weighs_suites_not_cases() -> None:
    cases = [_case(i, "GET /a", suite="many") for i in range(9)] + [_case(0, "PUT /missing", suite="few")]
    report = evaluate(cases, _Fixed([3.0, 1.0, 0.0]))
    assert report.value("ranker, guarded", "prompt_only", "hit@1") == 0.5
    assert report.value("ranker, guarded", "prompt_only", "hit@1", "many") == 1.0
    assert report.value("random", "prompt_only", "hit@5") == 0.25
    assert len(tables(report)) == 1


def test_variants_are_counted_apart() -> None:
    cases = [_case(0, "GET /a", "history_only"), _case(1, "PUT /missing", "prompt_history")]
    report = evaluate(cases, _Fixed([3.0, 1.0, 0.0]))
    assert report.value("ranker, guarded", "history_only", "hit@1") == 1.0
    assert report.value("ranker, guarded", "prompt_history", "hit@1") == 0.0


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(BadRequest):
        evaluate([], _Fixed([1.0, 2.0, 3.0]))


def test_a_random_order_reaches_what_it_must() -> None:
    rng = np.random.default_rng(0)
    ranks = rng.integers(1, 21, size=200_000)
    expected = expected_random(20, (1, 3, 5, 10))
    assert expected == pytest.approx([*(np.mean(ranks <= k) for k in (1, 3, 5, 10)), np.mean(1 / ranks)], abs=0.005)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval")
    (folder / "ships.json").write_text(json.dumps(spec("ship", "berth", "cargo")))
    lines = [
        {"variant": "prompt_only", "prompt": "search ships by name", "events": [], "next": "GET /search/ships"},
        {"variant": "prompt_history", "prompt": "delete the berth", "next": "DELETE /ships/{ship_id}/berths/{berth_id}",
         "events": [{"ts": "2025-01-01T00:00:00Z", "endpoint": "GET /ships/7/berths/3", "params": {}}]},
        {"variant": "history_only", "prompt": None, "next": "GET /ships/{ship_id}",
         "events": [{"ts": "2025-01-01T00:00:00Z", "endpoint": "GET /ships", "params": {}}]},
    ]  # fmt: skip
    common = {"suite": "ships", "spec": "ships.json", "seq": "q", "pos": 0, "next_params": None, "accept": []}
    rows = [json.dumps(common | line | {"case": f"ships/{i}", "group": str(i)}) for i, line in enumerate(lines)]
    (folder / "ships.jsonl").write_text("\n".join(rows) + "\n\n")
    return folder


def test_cases_are_read_and_asked(folder: Path) -> None:
    cases = read_cases([folder])
    assert [c.variant for c in cases] == ["prompt_only", "prompt_history", "history_only"]
    query = query_of(cases[1], settings_source())
    assert query.calls[0].endpoint == "GET /ships/7/berths/3"
    assert query.calls[0].ts == 1735689600.0
    assert cases[0].events == ()
    assert Event(endpoint="GET /x").params == {}


def settings_source():  # type: ignore[no-untyped-def]
    from pipeline.types import Source

    return Source(digest="sha256:0")


def test_a_line_that_is_no_case_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"suite": "s"}\n')
    with pytest.raises(BadRequest, match=r"bad\.jsonl:1"):
        read_cases([tmp_path / "bad.jsonl"])


def test_the_pipeline_is_measured_with_every_baseline(folder: Path) -> None:
    predictor = LocalPredictor(settings.load(), folder, rankers.cold_start(), meaning=False)
    report = evaluate(read_cases([folder]), predictor)
    assert set(report.cells) == {
        "ranker, guarded", "ranker", "random", "markov", "bm25", "minilm", "path overlap", "union"
    }  # fmt: skip
    assert report.ranker == "cold-start"
    assert report.value("ranker", "prompt_only", "hit@1") == 1.0
    assert report.value("bm25", "prompt_only", "hit@1") == 1.0
    assert report.value("bm25", "history_only", "hit@5") == 0.0  # no prompt: all equal, counted against it
    assert report.value("ranker", "prompt_only", "recall") == 1.0
    assert {"ece", "brier skill", "hit@1 of surest 30 %"} <= set(report.cells["ranker"]["prompt_only"]["macro"].values)
    assert len(tables(report)) == 3


def test_baselines_go_by_what_they_have(folder: Path) -> None:
    compiled = LocalPredictor(settings.load(), folder, rankers.cold_start(), meaning=False).compiled("ships.json")
    operations = compiled.catalog.operations
    index = {o.operation_id: i for i, o in enumerate(operations)}
    vectors = np.eye(len(operations), dtype=np.float32)
    scores = Baselines(compiled.catalog, vectors).scores("search cargos", vectors[3], index["get_ship"])
    assert int(np.argmax(scores["bm25"])) == index["search_cargos"]
    assert int(np.argmax(scores["minilm"])) == 3
    near = path_overlap(operations, index["get_ship"])
    assert near[index["list_berths"]] > near[index["search_ships"]]
    nothing = Baselines(compiled.catalog, None).scores("zzz", None, None)
    assert all(np.ptp(one) == 0 for one in nothing.values())


def test_shuffled_prompts_come_from_other_groups_of_the_suite() -> None:
    cases = [
        msgspec.structs.replace(_case(i, "GET /a", suite="xy"[i % 2]), group=f"g{i}", prompt=f"{'xy'[i % 2]} {i}")
        for i in range(20)
    ]
    for old, new in zip(cases, evaluation.shuffle_prompts(cases), strict=True):
        assert new.prompt != old.prompt
        assert str(new.prompt).startswith(old.suite)
        assert new.next == old.next
