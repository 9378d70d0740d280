"""Off-policy estimates on journals made by chance whose truth is known, through the very code that draws it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from pipeline import settings as configuration
from pipeline.errors import JournalError
from pipeline.ranking.experiments import explore, team_draft
from pipeline.ranking.ranker import Ranker
from pipeline.ranking.table import FEATURES, FINGERPRINT
from pipeline.stores.journal import Journal
from pipeline.stores.registry import Registry
from pipeline.types import Impression, QueryGroup
from tests.artefacts import saved_ranker
from tests.documented import documented
from tests.fakes import WaitingGroups
from train import offpolicy
from train.offpolicy import SCORED, SERVED

_DAY = 1_790_000_000.0
_OPERATIONS = ("GET /a", "GET /b", "GET /c", "POST /d")
_LIKELY = {"served": 0.3, "asked": 0.5}  # how often what each ranker puts first is what the user wants
_ASKED = Ranker.load_text(saved_ranker("asked", -1.0))

Draw = Callable[[list[int], list[int], random.Random], tuple[list[int], dict[str, object]]]


def _explored(percent: float) -> Draw:
    def draw(served: list[int], asked: list[int], chance: random.Random) -> tuple[list[int], dict[str, object]]:
        shown, propensity = explore(served, range(4), percent, chance)
        return shown, {"propensity": propensity, "explored": shown != served}

    return draw


def _drafted(served: list[int], asked: list[int], chance: random.Random) -> tuple[list[int], dict[str, object]]:
    draft = team_draft(served, asked, 4, chance)
    return draft.shown, {"propensity": draft.propensity, "teams": draft.teams, "arm": "interleaved"}


def _groups(count: int, draw: Draw, tells_next: bool, held_back: bool = False, start: float = _DAY) -> list[QueryGroup]:
    """Predictions under the ranker that orders the other way round; users want what its rival puts first more often.

    Who `tells_next` was seen to make the next call; others only accept rank 1 or reject.
    """
    rng, people = (
        np.random.default_rng(3),
        np.random.default_rng(4),
    )  # who want the same, however many columns there are
    serving = Ranker.load_text(saved_ranker("serving"))
    groups = []
    for i in range(count):
        x = rng.random((5, len(FEATURES))).astype(np.float16)
        if held_back:
            x[4, [0, 3]] = -3.0, 3.0  # what the rival would put first, were it let
        raw = serving.score(x.astype(np.float32), "prompt_only").raw
        served = np.argsort(-raw[:4]).tolist()
        asked = served[::-1]
        wanted = people.choice([served[0], asked[0], served[1]], p=[*_LIKELY.values(), 0.2])
        shown, how = draw(served, asked, random.Random(i))
        rows = [*shown, 4] if held_back else shown
        names = [*_OPERATIONS, "DELETE /a"]
        impression = Impression(
            **{
                "id": f"{int(start) + i:026}", "tenant": "local", "user": "anonymous", "lineage": "api",
                "digest": "sha256:0", "ts": start + i, "shown": tuple(names[j] for j in shown),
                "features": x[rows].tobytes(),
                "others": tuple(names[j] for j in rows[4:]), "fingerprint": FINGERPRINT, "head": "prompt_only",
                "scores": tuple(raw[rows].tolist()), "model_version": "serving",
            } | how
        )  # fmt: skip
        outcome = "observed" if tells_next else "accept" if shown[0] == wanted else "reject"
        chosen = "" if outcome == "reject" else _OPERATIONS[wanted]
        labels = tuple(3 * int(names[j] == chosen) for j in rows)
        groups.append(QueryGroup(impression, labels, outcome, chosen, impression.ts + 1))
    return groups


async def _journal(folder: Path, groups: list[QueryGroup]) -> Journal:
    journal = Journal.at(configuration.load().journal, folder)
    await journal.drain(WaitingGroups(groups))  # type: ignore[arg-type]
    return journal


@pytest.mark.parametrize("tells_next", [True, False], ids=["next call seen", "only rank 1 judged"])
async def test_exploration_finds_what_the_other_order_would_have_earned(tmp_path: Path, tells_next: bool) -> None:
    cases = offpolicy.read_cases(await _journal(tmp_path, _groups(2400, _explored(30.0), tells_next)), _ASKED)
    told = offpolicy.compare(cases)
    found = {value.order: value for value in told.values}
    assert list(found) == [SERVED, SCORED, "asked"]
    for order, truth in ((SERVED, _LIKELY["served"]), (SCORED, _LIKELY["served"]), ("asked", _LIKELY["asked"])):
        for estimate in (found[order].snips, found[order].doubly_robust):
            assert estimate.value == pytest.approx(truth, abs=0.06)
            assert estimate.low < truth < estimate.high
    asked = found["asked"]
    assert asked.snips.effective_sample_size == pytest.approx(asked.agrees)  # all of one propensity
    assert 180 < asked.agrees < 300  # a third of the 30 %
    assert (told.chances, told.cases, asked.possible) == (2400, 2400, 2400)
    assert asked.agrees < told.explored < 800
    assert told.caution == ""


async def test_drafts_tell_of_the_other_order_too(tmp_path: Path) -> None:
    told = offpolicy.compare(offpolicy.read_cases(await _journal(tmp_path, _groups(2000, _drafted, False)), _ASKED))
    asked = told.values[-1]
    assert asked.snips.value == pytest.approx(_LIKELY["asked"], abs=0.05)
    assert asked.snips.effective_sample_size == pytest.approx(1000, rel=0.1)
    assert (told.drafted, told.explored, asked.possible) == (2000, 0, 2000)


async def test_without_chance_it_says_that_it_cannot_tell(tmp_path: Path) -> None:
    told = offpolicy.compare(offpolicy.read_cases(await _journal(tmp_path, _groups(300, _explored(0.0), True)), _ASKED))
    asked = told.values[-1]
    assert (told.chances, asked.agrees, asked.possible, asked.snips.effective_sample_size) == (0, 0, 0, 0.0)
    assert "every propensity is 1" in told.caution
    assert "0 of 300" in told.caution
    assert told.values[0].snips.value == told.earned


async def test_what_was_held_back_is_nobodys_first_place(tmp_path: Path) -> None:
    groups = _groups(1500, _explored(30.0), True, held_back=True)
    told = offpolicy.compare(offpolicy.read_cases(await _journal(tmp_path, groups), _ASKED))
    assert told.values[-1].possible == 1500
    assert told.values[-1].doubly_robust.value == pytest.approx(_LIKELY["asked"], abs=0.1)


def _run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(offpolicy.main)
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout + done.stderr


async def test_the_command_asks_a_file_since_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    groups = _groups(40, _explored(30.0), True) + _groups(60, _explored(0.0), True, start=_DAY + 86400 * 3)
    await _journal(tmp_path / "var", groups)
    file = tmp_path / "pipeline" / "models" / "ranker.json"
    file.parent.mkdir(parents=True)
    file.write_text(saved_ranker("asked", -1.0))
    page = documented("python -m train.offpolicy --var var --ranker pipeline/models/ranker.json --since 2026-01-31")
    _, _, _, *asked, since, day = page
    code, out = _run(*asked, since, day, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["cases"] == 100
    assert told["values"][2]["order"] == "asked"
    code, out = _run(*asked, "--json", since, "2026-09-23")
    assert json.loads(out)["cases"] == 60
    assert json.loads(out)["values"][2]["snips"]["value"] is None
    code, out = _run(*asked)
    assert "off-policy, 100 predictions, 40 with chance" in out
    assert "could not have been shown there" in out.replace("\n", " ")


@pytest.mark.slow
async def test_a_version_is_judged_by_what_its_training_had_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await _journal(tmp_path / "var", _groups(100, _explored(30.0), True))
    registry = Registry(configuration.under(configuration.load(), tmp_path / "var").registry)
    asked = documented("python -m train.offpolicy --var var --ranker 2")[3:]
    registry.register(saved_ranker("first"))
    code, out = _run(*asked)
    assert (code, "no model version '2'" in out) == (1, True)
    registry.register(saved_ranker("asked", -1.0), params={"later_from": _DAY + 75.0})
    code, out = _run(*asked, "--json")
    assert (code, json.loads(out)["cases"]) == (0, 25)
    code, out = _run(*documented("python -m train.offpolicy --var var")[3:], "--json")
    assert (code, json.loads(out)["cases"]) == (0, 100)


def test_an_empty_journal_and_a_file_that_is_no_ranker_are_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(JournalError):
        offpolicy.read_cases(Journal.at(configuration.load().journal, tmp_path), _ASKED)
    (tmp_path / "no.json").write_text("{}")
    code, out = _run("--var", str(tmp_path), "--ranker", str(tmp_path / "no.json"))
    assert code == 1
    assert out.startswith("error: Not a saved ranker")
