"""The corpus: what may enter it, and that its sessions are possible, varied and repeatable."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.catalog.match import Matcher
from pipeline.catalog.parse import parse_spec
from pipeline.types import Catalog
from tests.train.conftest import spec
from train import corpus
from train.ground import Ground, entity
from train.walks import walk

LIMITS = settings.load().parse
PLAN = corpus.Plan(specs=50, sessions=6, per_provider=50)


def _catalog(*nouns: str) -> Catalog:
    return parse_spec(json.dumps(spec(*nouns)).encode(), LIMITS)


@pytest.mark.parametrize(
    "name",
    [
        "github.com.json",
        "github.com/ghes-3.0/1.1.4.json",
        "api.github.local.json",
        "themoviedb.org.json",
        "etmdb.com.json",
        "spotify.com/v1.json",
        "stripe.com.json",
        "gitea.io.json",
        "tau2_retail.json",
    ],
)
def test_families_of_evaluation_apis_never_enter(specs_folder: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(specs_folder, tmp_path / "specs")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(spec("star", "fork")))
    names = [s.name for s in corpus.choose(folder, PLAN)]
    assert len(names) == 12
    assert name not in names


def test_a_spec_that_shares_paths_with_an_excluded_one_stays_out(specs_folder: Path, tmp_path: Path) -> None:
    excluded = tmp_path / "excluded"
    excluded.mkdir()
    (excluded / "any.json").write_text(json.dumps(spec("plant", "bed")))
    names = {s.name for s in corpus.choose(specs_folder, PLAN, excluded)}
    assert "garden.example.json" not in names
    assert len(names) == 11


def test_near_copies_enter_once(specs_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(specs_folder, tmp_path / "specs")
    for version in ("v1", "v2", "v3"):
        (folder / "copy.example" / version).mkdir(parents=True)
        (folder / "copy.example" / version / "a.json").write_text(json.dumps(spec("wheel", "axle", "spoke")))
    assert len(corpus.choose(folder, PLAN)) == 13


def test_no_provider_floods_the_corpus(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / "one.example").mkdir(exist_ok=True)
        (tmp_path / "one.example" / f"{i}.json").write_text(json.dumps(spec(f"a{i}b", f"c{i}d")))
    assert len(corpus.choose(tmp_path, corpus.Plan(per_provider=5))) == 5


def test_a_provider_stands_in_one_split_and_all_splits_are_used() -> None:
    splits = [corpus.split_of(f"{i}.example", 7) for i in range(2000)]
    assert splits == [corpus.split_of(f"{i}.example", 7) for i in range(2000)]
    assert 0.8 < splits.count("train") / 2000 < 0.88
    assert 0.05 < splits.count("valid") / 2000 < 0.11
    assert 0.05 < splits.count("test") / 2000 < 0.11


def test_the_same_seed_gives_the_same_corpus_however_many_processes(specs_folder: Path) -> None:
    chosen = corpus.choose(specs_folder, PLAN)
    one = list(corpus.synthesize(specs_folder, chosen, PLAN, LIMITS, workers=1))
    assert one == list(corpus.synthesize(specs_folder, chosen, PLAN, LIMITS, workers=2))
    other = corpus.Plan(specs=50, sessions=6, per_provider=50, seed=8)
    assert one != list(corpus.synthesize(specs_folder, corpus.choose(specs_folder, other), other, LIMITS, workers=1))


def test_what_is_written_is_read_again(specs_folder: Path, tmp_path: Path) -> None:
    chosen = corpus.choose(specs_folder, PLAN)
    made = list(corpus.synthesize(specs_folder, chosen, PLAN, LIMITS, workers=1))
    assert corpus.write(made, tmp_path) == (12, sum(len(sessions) for _, _, sessions in made))
    assert list(corpus.read(tmp_path)) == [(catalog, sessions) for _, catalog, sessions in made]


def test_every_call_is_one_of_its_catalog_and_every_answer_a_call(specs_folder: Path) -> None:
    chosen = corpus.choose(specs_folder, PLAN)
    asked = 0
    for _, catalog, sessions in corpus.synthesize(specs_folder, chosen, PLAN, LIMITS, workers=1):
        matcher = Matcher(catalog)
        for session in sessions:
            assert session.prompt.strip()
            assert len(session.calls) == len(session.operations)
            for call, key in zip(session.calls, session.operations, strict=True):
                match = matcher.match(call.method, call.path)
                assert match is not None
                assert catalog.operations[match.index].key == key
            assert all(0 <= a < len(session.calls) for a in session.answers)
            asked += len(session.answers)
    assert asked > 100


def test_the_goal_is_not_always_last_nor_always_alone() -> None:
    ground = Ground(_catalog("ship", "berth", "cargo"))
    walks = [w for i in range(400) if (w := walk(ground, random.Random(i))) is not None]
    last = sum(w.operations[w.answers[-1]] == w.goal for w in walks) / len(walks)
    assert 0.1 < last < 0.9
    assert 0.2 < sum(w.operations[0] == w.goal for w in walks) / len(walks) < 0.8
    assert len({w.operations for w in walks}) > 200


def test_calls_that_follow_one_another_mostly_speak_of_the_same_things() -> None:
    ground = Ground(_catalog("ship", "berth"))
    same = other = 0
    for i in range(300):
        made = walk(ground, random.Random(i))
        ships = [c.path.split("/")[2] for c in made.calls if c.path.startswith("/ships/")] if made else []
        same += sum(a == b for a, b in itertools.pairwise(ships))
        other += sum(a != b for a, b in itertools.pairwise(ships))
    assert same > 2 * other > 0


def test_entities_are_what_identifiers_name() -> None:
    catalog = _catalog("ship", "berth")
    operation = next(o for o in catalog.operations if o.operation_id == "get_berth")
    assert [entity(p, operation.path) for p in operation.parameters] == ["ship", "berth"]


def test_features_see_less_than_the_generator() -> None:
    truth = _catalog("ship", "berth", "cargo")
    seen = [corpus.corrupt(truth, random.Random(i)) for i in range(300)]
    hidden = sum(not any(o.response_fields for o in c.operations) for c in seen) / len(seen)
    silent = sum(not any(o.description for o in c.operations) for c in seen) / len(seen)
    assert 0.2 < hidden < 0.4
    assert 0.08 < silent < 0.25
    assert all([o.key for o in c.operations] == [o.key for o in truth.operations] for c in seen)
    assert len({c.digest for c in seen} | {truth.digest}) > 200


def test_flattening_makes_paths_into_names_and_path_parameters_into_arguments() -> None:
    truth = _catalog("ship", "berth")
    flat = corpus.flatten(list(truth.operations), random.Random(3))
    assert len({o.key for o in flat}) == len(flat)
    assert {o.method for o in flat} <= {"GET", "POST"}
    assert not any("{" in o.path for o in flat)
    get = next(o for o in flat if o.summary == "Get one berth")
    assert {p.name for p in get.parameters if p.required} >= {"ship_id", "berth_id"}
    assert not [p for p in get.parameters if p.location == "path"]
    assert next(o for o in flat if o.summary == "Delete a berth").destructive == "delete"
