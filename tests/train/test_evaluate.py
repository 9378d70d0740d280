"""The whole evaluation: in process, against a server, on the command line; checked against ir-measures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import ir_measures
import msgspec
import numpy as np
import pytest
import typer
import uvicorn
from ir_measures import RR, Success, nDCG
from typer.testing import CliRunner

from pipeline import settings
from pipeline.errors import BadRequest
from pipeline.ranking import ranker as rankers
from pipeline.stores.embedded import EmbeddedRedis
from tests.documented import documented
from tests.fakes import HashingEncoder
from tests.serve.conftest import make_app
from train import predictors
from train.cases import Case, read_cases
from train.evaluate import evaluate, run, shuffle_prompts
from train.predictors import LocalPredictor, Ranking, ServerPredictor, Specs
from train.report import ARGUMENTS, GUARDED, KS, RANKER, Report

METHODS = {GUARDED, RANKER, "random", "markov", "bm25", "minilm", "path overlap", "union"}


@pytest.fixture(scope="module")
def predictor(examples_folder: Path) -> LocalPredictor:
    return LocalPredictor(settings.load(), examples_folder, rankers.cold_start(), meaning=False)


@pytest.fixture(scope="module")
def cases(predictor: LocalPredictor, examples_folder: Path) -> list[Case]:
    return read_cases([examples_folder], predictor.specs)


@pytest.fixture(scope="module")
def report(predictor: LocalPredictor, cases: list[Case]) -> Report:
    return evaluate(cases, predictor)


def test_the_pipeline_is_measured_with_every_baseline(report: Report, cases: list[Case]) -> None:
    assert set(report.cells) == METHODS
    assert report.ranker == "cold-start"
    for by_variant in report.cells.values():
        assert sum(by["macro"].cases for by in by_variant.values()) == len(cases)
    for variant in report.variants:
        assert report.value(RANKER, variant, "hit@3") > report.value("random", variant, "hit@3") + 0.1
        assert {"ece", "brier skill", "hit@1 of surest 30 %", "recall", *ARGUMENTS} <= set(
            report.cells[RANKER][variant]["billing"].values
        )
        for by_suite in report.cells.values():
            for cell in by_suite[variant].values():
                low, high = cell.intervals["hit@1"]
                assert low - 1e-9 <= cell.values["hit@1"] <= high + 1e-9
    assert report.value("bm25", "history_only", "hit@10") == 0.0  # no prompt: all equal, counted against it


def test_arguments_are_measured_given_the_right_operation(report: Report) -> None:
    for variant in ("prompt_history", "history_only"):
        assert report.value(RANKER, variant, "slot F1") > 0.2
        assert report.value(RANKER, variant, "path exact") > 0.2
        assert report.value(RANKER, variant, "hallucinated") <= 0.05


def test_arguments_are_bound_where_the_shortlist_lacks_the_operation(examples_folder: Path, cases: list[Case]) -> None:
    loaded = settings.load()
    one = loaded.model_copy(update={"shortlist": loaded.shortlist.model_copy(update={"total": 1})})
    whole = LocalPredictor(loaded, examples_folder, rankers.cold_start(), meaning=False)
    short = LocalPredictor(one, examples_folder, rankers.cold_start(), meaning=False)
    for case in cases[::9]:
        assert short.rank(case).params == whole.rank(case).params


def test_hits_mrr_and_ndcg_agree_with_ir_measures(predictor: LocalPredictor, cases: list[Case], report: Report) -> None:
    """All operations of the examples are in the shortlist, so both see the same order.

    trec_eval breaks ties by the name of the document, the last in the alphabet first: named so, the answer is last.
    """
    names = (*(Success @ k for k in KS), RR, nDCG @ 10)
    for variant in report.variants:
        asked = [case for case in cases if case.variant == variant and case.suite == "billing"]
        judged, scored = [], []
        for case in asked:
            ranking = predictor.rank(case)
            assert len(ranking.operations) == ranking.catalog_size
            judged.append(ir_measures.Qrel(case.case, f"a {case.next}", 1))
            coarse = np.round(ranking.scores, 1)  # so that there are ties
            for key, score in zip(ranking.operations, coarse.tolist(), strict=True):
                name = f"a {key}" if key == case.next else f"b {key}"
                scored.append(ir_measures.ScoredDoc(case.case, name, score))
        theirs = ir_measures.calc_aggregate(names, judged, scored)
        ours = evaluate(asked, _Coarse(predictor))
        for name, column in zip(names, (*(f"hit@{k}" for k in KS), "mrr", "ndcg@10"), strict=True):
            assert ours.value(GUARDED, variant, column, "billing") == pytest.approx(theirs[name])


class _Coarse:
    """The same order with ties and without the guard."""

    specs, version = None, ""

    def __init__(self, predictor: LocalPredictor) -> None:
        self._predictor = predictor

    def rank(self, case: Case) -> Ranking:
        ranking = self._predictor.rank(case)
        everything = np.ones(len(ranking.scores), dtype=bool)
        return Ranking(
            ranking.operations, np.round(ranking.scores, 1), ranking.confidence, everything, ranking.catalog_size
        )


def test_an_answer_that_is_no_operation_is_an_error(predictor: LocalPredictor, cases: list[Case]) -> None:
    wrong = msgspec.structs.replace(cases[0], next="GET /nowhere")
    with pytest.raises(BadRequest, match="GET /nowhere"):
        evaluate([wrong], predictor)
    with pytest.raises(BadRequest, match="no cases"):
        evaluate([], predictor)


def test_shuffled_prompts_come_from_other_groups_of_the_suite(cases: list[Case]) -> None:
    prompts = {(case.suite, case.prompt): case.group for case in cases if case.prompt}
    for old, new in zip(cases, shuffle_prompts(cases), strict=True):
        assert (new.next, bool(new.prompt)) == (old.next, bool(old.prompt))
        if new.prompt:
            assert prompts[old.suite, new.prompt] != old.group


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors without weights, as the test's server has them."""
    monkeypatch.setattr(predictors, "Encoder", lambda settings, **_: HashingEncoder())


@pytest.fixture(scope="module")
def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(run)
    return app


@pytest.mark.usefixtures("hashing")
def test_the_command_writes_tables_json_and_a_chart(
    command: typer.Typer, examples_folder: Path, tmp_path: Path
) -> None:
    _, _, *asked = documented("opensesame evaluate --recall")
    asked += [str(examples_folder / "issue-tracker.sessions.jsonl"), "--specs", str(examples_folder)]
    out = tmp_path / "new" / "report.json"
    png = tmp_path / "chart.png"
    options = ["--ranker", "cold-start", "--out", str(out), "--png", str(png)]
    result = CliRunner().invoke(command, asked + options)
    assert result.exit_code == 0, result.output
    assert "cold-start" in result.output
    for text in ("hit@1 (95 %)", "markov has seen this API", "slot", "ECE", "neighbours"):
        assert text in result.output
    written = json.loads(out.read_text())
    assert set(written["cells"]) == METHODS
    assert 0 <= written["cells"][RANKER]["history_only"]["macro"]["values"]["slot F1"] <= 1
    assert written["sources"]["history_only"]["issue-tracker"]["neighbours"]["recall"] > 0
    assert len(written["reliability"]["history_only"]["issue-tracker"]) == 10
    assert png.read_bytes().startswith(b"\x89PNG\r\n")
    assert png.stat().st_size > 20_000


@pytest.mark.usefixtures("hashing")
def test_the_command_prints_json_alone(command: typer.Typer, examples_folder: Path) -> None:
    asked = [str(examples_folder / "issue-tracker.sessions.jsonl"), "--specs", str(examples_folder)]
    told = json.loads(CliRunner().invoke(command, [*asked, "--ranker", "cold-start", "--json"]).stdout)
    assert (told["ranker"], set(told["cells"])) == ("cold-start", METHODS)


@pytest.mark.usefixtures("hashing")
def test_the_command_says_in_one_line_what_is_wrong(
    command: typer.Typer, examples_folder: Path, tmp_path: Path
) -> None:
    sessions = str(examples_folder / "billing.sessions.jsonl")
    for options in (["--ranker", str(tmp_path / "none.json")], ["--url", "http://127.0.0.1:9"]):
        result = CliRunner().invoke(command, [sessions, "--specs", str(examples_folder), *options])
        assert result.exit_code == 1
        assert len(result.output.strip().splitlines()) == 1, result.output
        assert result.output.strip().startswith("error: ")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The HTTP application of the service, on a port of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    servers: list[uvicorn.Server] = []

    async def serve(redis_url: str) -> None:
        async with make_app(redis_url) as app:
            servers.append(uvicorn.Server(uvicorn.Config(app.asgi, port=port, log_level="error")))
            await servers[0].serve()

    with EmbeddedRedis.throwaway() as redis:
        thread = threading.Thread(target=lambda: asyncio.run(serve(redis.url)))
        thread.start()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        servers[0].should_exit = True
        thread.join(30)


@pytest.mark.usefixtures("hashing")
def test_a_server_answers_like_the_pipeline_in_process(url: str, examples_folder: Path, cases: list[Case]) -> None:
    asked = [case for case in cases if case.suite == "billing"][::4]
    loaded = settings.load()
    served, here = ServerPredictor(url, Specs(loaded, examples_folder)), LocalPredictor(loaded, examples_folder)
    for case in asked:
        theirs, ours = served.rank(case), here.rank(case)
        shown = {name: i for i, name in enumerate(ours.operations) if ours.allowed[i]}
        assert set(theirs.operations) <= shown.keys()
        places = [shown[name] for name in theirs.operations]
        assert (np.diff(ours.scores[places]) < 0.05).all()  # but for what stored vectors (float16) move
        assert ours.confidence[places] == pytest.approx(theirs.confidence, abs=5e-3)
    remote, local = evaluate(asked, served), evaluate(asked, here)
    assert set(remote.cells) == METHODS - {RANKER}
    assert remote.ranker == local.ranker
    for variant in local.variants:
        ours, theirs = (report.cells[GUARDED][variant]["billing"].values for report in (local, remote))
        for column in ("hit@1", "hit@3", "hit@10", "mrr", "ndcg@10", "accept@1", "ece"):
            assert theirs[column] == pytest.approx(ours[column], abs=0.02), column  # here a tie is half a hit
        assert theirs["slot F1"] > 0
    for floor in ("bm25", "minilm", "markov"):
        assert remote.cells[floor] == local.cells[floor]


@pytest.mark.slow
def test_the_evaluation_set_is_above_its_floors(eval_folder: Path) -> None:
    predictor = LocalPredictor(settings.load(), eval_folder / "specs", meaning=False)
    files = [eval_folder / "dev" / f"{suite}.jsonl" for suite in ("restbench_tmdb", "tau2_retail")]
    report = evaluate(read_cases(files), predictor)
    for variant in report.variants:
        for floor in ("random", "bm25", "union", "path overlap"):
            assert report.value(RANKER, variant, "hit@3") > report.value(floor, variant, "hit@3")
    assert report.value(RANKER, "history_only", "hallucinated") <= 0.01
