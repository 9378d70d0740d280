"""Streams of cases: their order, what is learnt from them, and that it is what Redis would have learnt."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline import settings
from pipeline.ranking import ranker as rankers
from tests.documented import documented
from train import prequential
from train.cases import Case, Event, read_cases
from train.evaluate import run
from train.predictors import Specs
from train.prequential import (
    ADAPTED,
    METHODS,
    STATIC,
    Counts,
    Teller,
    curves,
    in_order,
    sequence,
    windows,
    worst_prefix,
)

SETTINGS = settings.load()


@pytest.fixture(scope="module")
def specs(examples_folder: Path) -> Specs:
    return Specs(SETTINGS, examples_folder, meaning=False)


@pytest.fixture(scope="module")
def cases(specs: Specs, examples_folder: Path) -> list[Case]:
    return read_cases([examples_folder / "billing.sessions.jsonl"], specs)


@pytest.fixture(scope="module")
def teller(specs: Specs) -> Teller:
    return Teller(SETTINGS, specs, rankers.cold_start())


def test_a_stream_tells_whole_sequences_and_each_case_once(cases: list[Case]):
    events = in_order(cases, random.Random(1), "mixed")
    assert len({case.case for case in events}) == len(events) == len({case.case for case in cases})
    names = [sequence(case) for case in events]
    assert len(list(dict.fromkeys(names))) == sum(a != b for a, b in zip(names, [None, *names], strict=False))
    positions = {}
    for case in events:
        position = int(case.case.rpartition("#")[2])
        assert positions.get(sequence(case), -1) < position
        positions[sequence(case)] = position
    assert all(case.prompt for case in in_order(cases, random.Random(1), "prompt"))
    assert not any(case.prompt for case in in_order(cases, random.Random(1), "history"))


def test_the_same_sessions_again_and_again_are_foretold_better_than_by_the_ranker_alone(
    cases: list[Case], teller: Teller
):
    again = [
        Case(**{f: getattr(case, f) for f in case.__struct_fields__} | {"case": case.case.replace("#", f"x{n}#")})
        for n in range(4)
        for case in cases
    ]
    found = curves(again, teller, seeds=2)
    [streams] = found.values()
    *_, (_, _, last) = windows(streams)
    by_method = dict(zip(METHODS, last, strict=True))
    assert by_method[ADAPTED] > by_method[STATIC]
    assert worst_prefix(streams) >= -0.01
    assert streams[0].hits.shape == streams[1].hits.shape


def test_a_stream_is_the_same_for_the_same_seed(cases: list[Case], teller: Teller):
    one, two = (teller.tell(cases, 3, flipped=0.2).hits.tolist() for _ in range(2))
    assert one == two
    assert teller.tell(cases, 4).hits.tolist() != one


_OPERATIONS, _FAITHFUL, _EVENTS, _DRIFT, _PEOPLES = 8, 0.8, 350, 150, 3


def people(specs: Specs, seed: int) -> list[Case]:
    """Calls of people who use few operations, each with one that usually comes next."""
    rng = random.Random(seed)
    spec = specs.find("billing")
    operations = rng.sample([operation.key for operation in specs.parsed(spec)[0].operations], _OPERATIONS)
    usual = dict(zip(operations, operations[1:] + operations[:1], strict=True))
    cases: list[Case] = []
    while len(cases) < _EVENTS:
        name, done = f"{seed}/{len(cases)}", [rng.choice(operations)]
        for position in range(6):
            answer = usual[done[-1]] if rng.random() < _FAITHFUL else rng.choice(operations)
            events = tuple(Event(re.sub(r"{.*?}", "x_1", operation)) for operation in done)
            cases.append(Case("people", f"{name}#{position}", "history_only", spec, answer, events=events))
            done.append(answer)
    return cases[:_EVENTS]


def adapted(teller: Teller, specs: Specs, **disturbed: Any) -> np.ndarray:
    """Adapted hit@1 of each event, [_PEOPLES, _EVENTS], of as many peoples."""
    streams = [teller.tell(people(specs, seed), seed, **disturbed) for seed in range(_PEOPLES)]
    return np.array([stream.hits[:, METHODS.index(ADAPTED)] for stream in streams])


def test_a_fifth_of_false_feedback_costs_at_most_five_points(specs: Specs, teller: Teller):
    lost = adapted(teller, specs).mean() - adapted(teller, specs, flipped=0.2).mean()
    assert 0.0 < lost <= 0.05


def test_a_drift_is_made_good_after_150_events_because_counts_age(specs: Specs, teller: Teller):
    state = SETTINGS.state.model_copy(update={"habit_decay": 1.0})
    ageless = Teller(SETTINGS.model_copy(update={"state": state}), specs, rankers.cold_start())
    regained = []
    for one in (teller, ageless):
        hits = adapted(one, specs, drift=_DRIFT)
        before, at_once, later = (hits[:, n : n + 50].mean() for n in (_DRIFT - 50, _DRIFT, _DRIFT + 150))
        assert before > 0.7
        assert at_once < 0.3
        regained.append(later / before)
    assert regained[0] > 0.9 > regained[1]


def test_a_generator_that_chooses_well_is_heeded_and_one_that_does_not_costs_nothing(cases: list[Case], teller: Teller):
    again = [
        Case(**{f: getattr(case, f) for f in case.__struct_fields__} | {"case": case.case.replace("#", f"x{n}#")})
        for n in range(6)
        for case in cases
    ]
    hits = {chooser: teller.tell(again, 3, "prompt", chooser=chooser).hits[40:].mean(axis=0) for chooser in (0.0, 0.9)}
    static, adapted = METHODS.index(STATIC), METHODS.index(ADAPTED)
    assert hits[0.9][adapted] > hits[0.9][static] > hits[0.0][static]
    assert hits[0.0][adapted] >= hits[0.0][static]


def test_counts_age_with_each_observation_of_their_context():
    counts = Counts(0.5)
    for operation in ("GET /b", "GET /b", "GET /c"):
        counts.add(("GET /a",), operation)
    assert counts.after("GET /a") == {"GET /b": 0.75, "GET /c": 1.0}
    assert counts.total("GET /a") == 1.75
    assert counts.after("", "GET /a") == counts.after("GET /a")
    assert counts.after("GET /z", "GET /a") == {}


@pytest.mark.parametrize(
    "command",
    [
        documented(
            "opensesame evaluate ../shared/eval/dev/tau2_retail.jsonl --specs ../shared/eval/specs --prequential"
        ),
        documented(
            "opensesame evaluate ../shared/eval/dev/*.jsonl --specs ../shared/eval/specs --prequential --seeds 3 "
            "--chooser 0.5"
        ),
    ],
    ids=["alone", "beside a generator"],
)
def test_the_command_tells_the_curve_and_draws_it(
    examples_folder: Path, tmp_path: Path, monkeypatch, command: list[str]
):
    monkeypatch.setattr("train.predictors.Encoder", lambda _: None)
    import typer

    app = typer.Typer()
    app.command()(run)
    _, _, cases, option, _, *rest = command
    assert cases.startswith("../")  # what everybody has stands in its place
    arguments = [str(examples_folder / "billing.sessions.jsonl"), option, str(examples_folder), *rest]
    arguments += [
        "--seeds",
        "2",
        "--ranker",
        "cold-start",
        "--png",
        str(tmp_path / "c.png"),
        "--out",
        str(tmp_path / "c.json"),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "worst prefix" in result.output
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert prequential.ORACLE in (tmp_path / "c.json").read_text()
