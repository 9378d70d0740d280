"""Baselines go by what they have, and by nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline import settings
from tests.train.conftest import spec
from train.baselines import Baselines, Markov, expected_random, path_overlap
from train.cases import Case, Event
from train.predictors import Specs


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Specs:
    folder = tmp_path_factory.mktemp("specs")
    (folder / "ships.json").write_text(json.dumps(spec("ship", "berth", "cargo")))
    return Specs(settings.load(), folder, meaning=False)


def test_a_random_order_reaches_what_it_must() -> None:
    rng = np.random.default_rng(0)
    ranks = rng.integers(1, 21, size=200_000)
    expected = expected_random(20, (1, 3, 5, 10))
    gains = np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)
    hits = [np.mean(ranks <= k) for k in (1, 3, 5, 10)]
    assert expected == pytest.approx([*hits, np.mean(1 / ranks), np.mean(gains)], abs=0.005)


def test_words_vectors_and_places_are_told_apart(specs: Specs) -> None:
    catalog = specs.compiled("ships.json").catalog
    index = {o.operation_id: i for i, o in enumerate(catalog.operations)}
    vectors = np.eye(len(catalog.operations), dtype=np.float32)
    scores = Baselines(catalog, vectors).scores("search cargos", vectors[3], index["get_ship"])
    assert int(np.argmax(scores["bm25"])) == index["search_cargos"]
    assert int(np.argmax(scores["minilm"])) == 3
    near = path_overlap(catalog.operations, index["get_ship"])
    assert near[index["list_berths"]] > near[index["search_ships"]]
    nothing = Baselines(catalog, None).scores("zzz", None, None)
    assert all(np.ptp(one) == 0 for one in nothing.values())


def _case(group: str, number: int, answer: str, *before: str) -> Case:
    events = tuple(Event(endpoint=e) for e in before)
    variant = "history_only" if before else "prompt_only"
    return Case("ships", f"{group}#{number}", variant, "ships.json", answer, events=events, group=group)


def test_markov_learns_from_other_groups_only(specs: Specs) -> None:
    first, then = "GET /ships", "GET /ships/{ship_id}"
    cases = [_case("a", 0, first), _case("a", 1, then, first), _case("b", 0, first), _case("b", 1, then, first)]
    n = len(specs.compiled("ships.json").catalog.operations)
    both = Markov(cases, specs).scores(cases[1], n)
    assert int(np.argmax(both)) == specs.index(cases[1])
    assert both.sum() == pytest.approx(1.0)
    alone = Markov(cases[:2], specs).scores(cases[1], n)
    assert np.ptp(alone) == 0  # its own group tells it nothing
    assert Markov(cases, specs).followers(cases[1]) == {specs.index(cases[1]): 1.0}


def test_markov_backs_off_to_what_is_called_often(specs: Specs) -> None:
    often, rare = "GET /ships", "POST /ships"
    cases = [_case(f"g{i}", 0, often if i else rare) for i in range(4)]
    asked = _case("x", 1, often, "GET /search/cargos")  # nobody has called that before
    n = len(specs.compiled("ships.json").catalog.operations)
    scores = Markov([*cases, asked], specs).scores(asked, n)
    assert np.argsort(-scores)[:2].tolist() == [specs.index(cases[1]), specs.index(cases[0])]


def test_variants_of_one_position_are_one_transition(specs: Specs) -> None:
    first, then = "GET /ships", "GET /ships/{ship_id}"
    once = _case("a", 1, then, first)
    other = _case("b", 1, then, first)
    assert Markov([once, once, other], specs).followers(other) == {specs.index(once): 1.0}
