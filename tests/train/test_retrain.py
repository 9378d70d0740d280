"""STORY 3 on real fits: what people do is learnt, what would do harm is refused, and nothing is trained for nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline import settings as configuration
from pipeline.errors import Conflict
from pipeline.ranking.calibrate import Calibration
from pipeline.ranking.ranker import Blend, Ranker, Spec, dump
from pipeline.ranking.table import COLUMN, FEATURES, FINGERPRINT, HEADS, Head
from pipeline.settings import Settings
from pipeline.stores.journal import Journal
from pipeline.types import Impression, QueryGroup
from tests.fakes import ShelfRegistry, WaitingGroups
from train import dataset, warm
from train.anchor import TRAIN, Anchor, write_anchor
from train.fit import Fitted
from train.heads import Params, fit_logit, fit_trees
from train.retrain import Outcome, Stores, retrain

pytestmark = pytest.mark.slow  # each fits a ranker

_KNOWN, _HABIT = "last_prefix", "document_order"  # what synthetic sessions go by; what these people go by besides
_DAY = 1_790_000_000.0
_ROWS = 12


_DRAWN = [COLUMN[f.name] for f in FEATURES if f.group in ("last", "prior") and f.name != "is_delete"]


def _features(rng: np.random.Generator, rows: int = _ROWS) -> Any:
    """Values in some columns only: what is drawn does not hang on how many columns there are."""
    x = np.zeros((rows, len(FEATURES)), dtype=np.float32)
    x[:, _DRAWN] = rng.random((rows, len(_DRAWN)))
    x[:, [COLUMN[f.name] for f in FEATURES if f.group in ("generator", "verb")]] = np.nan
    return x.astype(np.float16).astype(np.float32)


def _choice(rng: np.random.Generator, x: Any, habit: float) -> int:
    value = 6 * x[:, COLUMN[_KNOWN]] + habit * x[:, COLUMN[_HABIT]]
    return int((value + rng.gumbel(size=len(x))).argmax())


def _synthetic(folder: Path) -> Path:
    """Bootstrap groups of all heads, as `train/bootstrap.py` writes them."""
    rng = np.random.default_rng(1)
    groups = []
    for split, count in (("train", 600), ("valid", 200), ("test", 300)):
        for head in HEADS:
            for i in range(count):
                x = _features(rng)
                answer = _choice(rng, x, 0.0)
                y = np.eye(_ROWS, dtype=np.int32)[answer]
                qid = dataset.qid_of(f"{split} {head} {i}")
                groups.append(dataset.Group(qid, "s", f"p{i}", split, head, _ROWS, answer, x, y))
    dataset.write_part(groups, folder, "all")
    return folder


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A ranker of synthetic groups, and its anchor."""
    folder = tmp_path_factory.mktemp("packaged")
    groups = _synthetic(folder / "groups")
    params = Params(rounds=30, min_rounds=5, min_rows=20)
    heads: dict[str, Spec] = {}
    for head in HEADS:
        train, valid = dataset.read(groups, "train", head), dataset.read(groups, "valid", head)
        logit = fit_logit(train, params)
        heads[head] = Blend(fit_trees(train, valid, params)[0], logit, 0.5)
    samples = {head: _features(np.random.default_rng(2)) for head in HEADS}
    text = dump(
        version="synthetic", created="", data="", heads=heads, calibration=dict.fromkeys(HEADS, Calibration()),
        samples=samples,
    )  # fmt: skip
    (folder / "ranker.json").write_text(text)
    write_anchor(groups, folder / "anchor.parquet")
    return folder / "ranker.json", folder / "anchor.parquet"


def _fit(
    work: Path,
    params: Mapping[Head, Params],
    workers: int,
    heads: Sequence[Head],
    start: dict[str, Spec],
    progress: Callable[[int], None],
) -> Fitted:
    """`train.fit.fit` in this process: what one worker does, without Ray."""
    done: dict[str, Spec] = {}
    for head in heads:
        one = dataclasses.replace(params[head], min_rows=20)
        real, anchor = dataset.read(work, "train", head), dataset.read(work, "anchor", head)
        before = warm.logit_of(start[head])
        assert before is not None
        logit = warm.move_logit(before, real, anchor, one)
        both = dataset.Groups(
            np.concatenate([real.x, anchor.x]),
            np.concatenate([real.y, anchor.y]),
            np.concatenate([real.sizes, anchor.sizes]),
            np.concatenate([real.answers, anchor.answers]),
            np.concatenate([real.operations, anchor.operations]),
            real.providers + anchor.providers,
            np.concatenate([real.weights, anchor.weights]),
        )
        valid = dataset.read(work, "valid", head)
        done[head] = Blend(fit_trees(both, valid, one, start=warm.trees_of(start[head]))[0], logit, 0.5)
        progress(len(done))
    return Fitted(done, {}, {})


def _people(
    count: int, habit: float = 8.0, flipped: float = 0.0, until: float = 1.0, seed: int = 5
) -> list[QueryGroup]:
    """Labelled groups of people who go by a habit; of the first share `until` so many labels are `flipped`."""
    rng = np.random.default_rng(seed)
    groups = []
    for i in range(count):
        x = _features(rng)
        answer = _choice(rng, x, habit)
        if i < until * count and rng.random() < flipped:
            value = 6 * x[:, COLUMN[_KNOWN]] + habit * x[:, COLUMN[_HABIT]]
            answer = int(value.argmin())
        ts = _DAY + 60.0 * i
        shown = Impression(
            id=f"{i:026}",
            tenant="local",
            user=f"user-{i % 40}",
            lineage=f"api-{i % 3}",
            digest="sha256:0",
            ts=ts,
            shown=tuple(f"GET /things/{j}" for j in range(5)),
            others=tuple(f"GET /things/{j}" for j in range(5, _ROWS)),
            features=x.astype(np.float16).tobytes(),
            fingerprint=FINGERPRINT,
            head=("prompt_history", "history_only")[i % 2],
        )
        labels = tuple(3 * int(j == answer) for j in range(_ROWS))
        groups.append(QueryGroup(shown, labels, "observed", f"GET /things/{answer}", ts + 1.0))
    return groups


class _House:
    """A folder with everything that a training needs."""

    def __init__(self, folder: Path, packaged: tuple[Path, Path]) -> None:
        ranker, anchor = packaged
        self.folder = folder
        self.settings: Settings = configuration.load(
            ranker={"artifact": str(ranker)},
            train={"rounds": 40, "groups": 300, "hours": 1e6},
            journal={"retention_days": 36500},  # their days are not today's
        )
        self.registry = ShelfRegistry()
        self.journal = Journal.at(self.settings.journal, folder)
        self.anchor = Anchor(anchor)
        self.told: list[str] = []

    def retrain(self, groups: Sequence[QueryGroup], **more: Any) -> Outcome:
        stores = Stores(self.journal, self.registry, WaitingGroups(groups))
        return retrain(
            self.folder / "retrain",
            self.settings,
            stores,
            anchor=self.anchor,
            fitting=_fit,
            tell=lambda step, done, total=None, **_: self.told.append(step),
            **more,
        )


@pytest.fixture
def house(tmp_path: Path, packaged: tuple[Path, Path]) -> _House:
    return _House(tmp_path, packaged)


def test_what_people_do_is_learnt_and_promoted(house: _House) -> None:
    outcome = house.retrain(_people(1500))
    assert outcome.report is not None
    assert outcome.status == "promoted", outcome.report.text()
    later = outcome.report.conditions[0]
    assert later.challenger is not None
    assert later.champion is not None
    assert later.challenger > later.champion + 0.1
    assert house.registry.champion == outcome.version
    assert list(dict.fromkeys(house.told)) == ["drain", "dataset", "fit", "evaluate", "register"]
    kept = house.registry.versions[0]
    assert kept.metrics["later/hit@1"] > kept.metrics["later/hit@1/champion"]
    assert kept.gate["passed"]
    assert kept.params["data"] == json.loads(house.registry.texts[outcome.version])["data"]
    assert house.registry.figures["reliability.png"].startswith(b"\x89PNG")
    challenger = Ranker.load_text(house.registry.texts[outcome.version])
    assert challenger.version.startswith("trained-")
    assert not (house.folder / "retrain").exists()


def test_the_anchor_holds_on_to_what_weighed_in_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _features(np.random.default_rng(0), 2), np.array([1, 0], dtype=np.int32)
    groups = [
        dataset.Group(dataset.qid_of(f"{i}"), f"weight {w}", "p", "train", "history_only", 2, 0, x, y, weight=w)
        for i in range(500)
        for w in (1.0, 12.0)
    ]
    dataset.write_part(groups, tmp_path, "all")
    monkeypatch.setitem(TRAIN, "history_only", 100)
    assert write_anchor(tmp_path, tmp_path / "anchor.parquet") == 100
    heavy = [group.spec == "weight 12.0" for group in Anchor(tmp_path / "anchor.parquet").groups("train", "anchor")]
    assert 80 < sum(heavy) < 100  # 12 / 13 of them


def test_what_somebody_promotes_meanwhile_stays(house: _House, monkeypatch: pytest.MonkeyPatch) -> None:
    register = house.registry.register

    def overtaken(text: str, **more: Any) -> Any:
        house.registry.champion = "theirs"
        return register(text, **more)

    monkeypatch.setattr(house.registry, "register", overtaken)
    outcome = house.retrain(_people(1500))
    assert outcome.report is not None
    assert outcome.report.passed
    assert outcome.status == "refused"
    assert "champion no more" in outcome.why
    assert house.registry.champion == "theirs"


class Killed(BaseException):
    """The process ends here."""


def test_a_training_that_dies_before_it_promotes_is_finished_by_the_next_once(
    house: _House, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = _people(1100)
    with monkeypatch.context() as patch:

        def die(version: str) -> None:
            raise Killed

        patch.setattr(house.registry, "promote", die)
        with pytest.raises(Killed):
            house.retrain(people)
    assert (house.registry.champion, len(house.registry.versions)) == ("", 1)
    outcome = house.retrain([])
    assert (outcome.status, outcome.version, house.registry.champion) == ("promoted", "1", "1")
    assert outcome.why == "version 1 had passed in a training that died; there is no new labelled group"
    house.registry.champion = ""  # rolled back by somebody
    assert house.retrain([]).status == "waiting"
    assert house.registry.champion == ""
    assert len(house.registry.versions) == 1


def test_a_second_training_is_judged_against_the_first_and_waits_for_new_groups(house: _House) -> None:
    people = _people(1300)
    outcome = house.retrain(people[:1100])
    assert outcome.status == "promoted", outcome.report and outcome.report.text()
    waiting = house.retrain([])
    assert (waiting.status, waiting.why) == ("waiting", "there is no new labelled group")
    few = house.retrain(people[1100:1150])
    assert few.status == "waiting"
    assert few.why.startswith("50 new labelled groups of 300, the oldest waits ")
    again = house.retrain(people[1150:], force=True)
    assert again.report is not None
    assert again.report.champion == Ranker.load_text(house.registry.texts["1"]).version


@pytest.mark.parametrize("until", [0.8, 1.0], ids=["what is trained on", "everything"])
def test_a_ranker_trained_on_flipped_labels_is_refused(house: _House, until: float) -> None:
    outcome = house.retrain(_people(700, flipped=1.0, until=until))
    assert outcome.status == "refused"
    assert house.registry.champion == ""
    assert outcome.report is not None
    failed = {condition.name for condition in outcome.report.conditions if not condition.passed}
    assert "later data, hit@1" in failed, outcome.report.text()
    assert house.registry.versions[0].gate["why"] == outcome.why  # kept, to be looked at


def test_a_ranker_that_is_better_by_chance_alone_is_refused(house: _House) -> None:
    outcome = house.retrain(_people(600, habit=0.0))  # people who do what was expected
    assert outcome.status == "refused"
    assert house.registry.champion == ""
    assert outcome.report is not None
    later = outcome.report.conditions[0]
    assert later.challenger is not None
    assert later.champion is not None
    assert later.challenger > later.champion  # with these people it is
    assert [condition.name for condition in outcome.report.conditions if not condition.passed] == [later.name]


def test_a_task_without_feedback_keeps_its_head(house: _House) -> None:
    outcome = house.retrain(_people(600))
    before = msgspec.json.decode(Path(house.settings.ranker.artifact).read_bytes())
    after = msgspec.json.decode(house.registry.texts[outcome.version])
    assert after["heads"]["prompt_only"] == before["heads"]["prompt_only"]
    assert after["heads"]["history_only"] != before["heads"]["history_only"]


def test_too_little_to_learn_from_waits_even_by_force(house: _House) -> None:
    assert house.retrain([], force=True).status == "waiting"
    few = house.retrain(_people(20), force=True)
    assert few.status == "waiting"
    assert "a head needs 20" in few.why


def test_two_trainings_do_not_meet(house: _House) -> None:
    def second(step: str, done: float, total: float | None = None, **_: Any) -> None:
        with pytest.raises(Conflict):
            retrain(house.folder / "retrain", house.settings, Stores(house.journal, house.registry))

    retrain(house.folder / "retrain", house.settings, Stores(house.journal, house.registry), tell=second)


def test_a_training_merges_the_journals_small_files_and_deletes_expired_days(house: _House) -> None:
    people = _people(60)
    for some in (people[:30], people[30:]):
        house.retrain(some)
    assert len(house.journal.files()) == 1
    over = house.settings.journal.model_copy(update={"retention_days": -40000})  # whatever today is, it is after
    house.journal = Journal.at(over, house.folder)
    house.retrain([])
    assert house.journal.files() == []


def test_hours_make_a_training_due(house: _House) -> None:
    people = _people(200)
    assert house.retrain(people).status == "waiting"
    limits = house.settings.train.model_copy(update={"hours": 24})  # which they have waited
    house.settings = house.settings.model_copy(update={"train": limits})
    assert house.retrain([]).status != "waiting"
