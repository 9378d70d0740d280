"""Arms stick to users, drafts are fair, exploration is rare and known, and reports say what the counts do."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import settings
from pipeline.errors import SettingsError
from pipeline.ranking.experiments import arm_of, compare, explore, is_shadowed, team_draft

LOADED = settings.load().experiments


def limits(**changes: object) -> settings.Experiments:
    return LOADED.model_copy(update=changes)


def arms_of(users: list[str], tenant: str = "local", **changes: object) -> list[str]:
    return [arm_of(limits(**changes), tenant, user) for user in users]


USERS = [f"user-{i}" for i in range(4000)]


def test_everybody_is_the_champions_by_default() -> None:
    plain = limits()
    assert {arm_of(plain, "local", user) for user in USERS} == {"champion"}
    assert not any(is_shadowed(plain, user) for user in USERS)


def test_users_stick_to_arms_of_the_wanted_size() -> None:
    some = limits(challenger_percent=20, interleave_percent=10)
    arms = [arm_of(some, "local", user) for user in USERS]
    assert arms == [arm_of(some, "local", user) for user in USERS]
    sizes = {arm: count / len(USERS) for arm, count in Counter(arms).items()}
    assert sizes == pytest.approx({"champion": 0.7, "challenger": 0.2, "interleaved": 0.1}, abs=0.02)


def test_raising_the_percentage_moves_nobody_out() -> None:
    before = arms_of(USERS, challenger_percent=10)
    after = arms_of(USERS, challenger_percent=30)
    assert all(now == "challenger" for then, now in zip(before, after, strict=True) if then == "challenger")


@pytest.mark.parametrize(("tenant", "changes"), [("other", {}), ("local", {"name": "second"})])
def test_another_tenant_or_experiment_draws_anew(tenant: str, changes: dict[str, str]) -> None:
    first = arms_of(USERS, challenger_percent=50)
    second = arms_of(USERS, tenant, challenger_percent=50, **changes)
    same = sum(a == b for a, b in zip(first, second, strict=True)) / len(USERS)
    assert same == pytest.approx(0.5, abs=0.05)


def test_all_or_none_can_be_the_challengers() -> None:
    assert set(arms_of(USERS, challenger_percent=100)) == {"challenger"}
    assert set(arms_of(USERS, interleave_percent=100)) == {"interleaved"}
    with pytest.raises(SettingsError, match="more than 100"):
        settings.load(experiments={"challenger_percent": 60, "interleave_percent": 60})


ORDERS = st.permutations(range(12))


@given(ORDERS, ORDERS, st.integers(1, 15), st.integers())
def test_a_draft_is_complete_and_balanced(first: list[int], second: list[int], k: int, seed: int) -> None:
    draft = team_draft(first, second, k, random.Random(seed))
    assert len(draft.shown) == len(set(draft.shown)) == len(draft.teams) == min(k, 12)
    for rank in range(len(draft.teams)):  # after each pair of picks both have as many
        assert abs(draft.teams[:rank].count("a") - draft.teams[:rank].count("b")) <= 1
    assert draft.shown[0] in (first[0], second[0])
    assert draft.propensity == (1.0 if first[0] == second[0] else 0.5)


def test_a_draft_takes_the_best_left_of_the_team_whose_turn_it_is() -> None:
    draft = team_draft([1, 2, 3, 4], [2, 1, 4, 3], 4, random.Random(0))
    left = {"a": [1, 2, 3, 4], "b": [2, 1, 4, 3]}
    for pick, team in zip(draft.shown, draft.teams, strict=True):
        assert pick == left[team][0]
        for order in left.values():
            order.remove(pick)


def test_a_draft_of_orders_of_unequal_length_goes_on_with_the_longer() -> None:
    draft = team_draft([1], [1, 2, 3], 5, random.Random(1))
    assert sorted(draft.shown) == [1, 2, 3]
    assert team_draft([], [], 5, random.Random(1)).shown == []


def test_equal_orders_win_equally_often_and_the_better_one_wins() -> None:
    rng = random.Random(4)
    wins: Counter[str] = Counter()
    for _ in range(4000):
        order = rng.sample(range(6), 6)
        draft = team_draft(order, order, 3, rng)
        wins[draft.teams[draft.shown.index(order[rng.choice([0, 0, 1])])]] += 1
    assert wins["a"] / 4000 == pytest.approx(0.5, abs=0.03)

    wins.clear()
    for _ in range(2000):
        draft = team_draft([0, 1, 2], [1, 2, 0], 2, rng)
        wins[draft.teams[draft.shown.index(0)] if 0 in draft.shown else ""] += 1
    assert wins["a"] > 0
    assert wins["b"] == 0


def test_nothing_is_explored_by_default_and_the_propensity_is_one() -> None:
    shown = [4, 5, 6]
    assert explore(shown, {4, 5, 6}, 0.0, random.Random(0)) == ([4, 5, 6], 1.0)
    assert explore([4], {4}, 50.0, random.Random(0)) == ([4], 1.0)
    assert explore(shown, set(), 50.0, random.Random(0)) == ([4, 5, 6], 1.0)


def test_exploration_raises_one_of_those_it_may_as_often_as_it_says() -> None:
    rng = random.Random(9)
    tops: Counter[int] = Counter()
    told: dict[int, float] = {}
    for _ in range(20_000):
        shown, propensity = explore([4, 5, 6, 7], {4, 5, 7}, 20.0, rng)
        assert sorted(shown) == [4, 5, 6, 7]
        assert sum(a != b for a, b in zip(shown, [4, 5, 6, 7], strict=True)) in (0, 2)
        tops[shown[0]] += 1
        told[shown[0]] = propensity
    assert set(tops) == {4, 5, 7}
    assert told == pytest.approx({4: 0.8, 5: 0.1, 7: 0.1})
    for top, count in tops.items():
        assert count / 20_000 == pytest.approx(told[top], abs=0.01)


def test_a_report_names_rates_differences_and_verdicts() -> None:
    counts = {
        "champion": {"answered": 1000, "accepted": 300, "observed": 2000, "hits": 800},
        "challenger": {"answered": 1000, "accepted": 420, "observed": 2000, "hits": 810},
        "interleaved": {"wins_champion": 40, "wins_challenger": 110},
        "shadow": {"observed": 500, "both": 200, "only_champion": 100, "only_challenger": 20},
    }
    report = compare(counts, 0.05)
    assert [(arm["arm"], arm["acceptance"], arm["hit@1"]) for arm in report["arms"]][:2] == [
        ("champion", 0.3, 0.4),
        ("challenger", 0.42, 0.405),
    ]
    low, high = report["arms"][0]["intervals"]["acceptance"]
    assert 0.2 < low < 0.3 < high < 0.4
    assert "ctr" not in report["arms"][0]["intervals"]
    told = {row["measure"]: row for row in report["differences"]}
    assert told["acceptance"]["verdict"] == "challenger"
    assert 0 < told["acceptance"]["low"] < told["acceptance"]["difference"] < told["acceptance"]["high"]
    assert told["hit@1"]["verdict"] == "undecided"
    assert (told["ctr"]["difference"], told["ctr"]["verdict"]) == (None, "undecided")
    assert report["interleaving"]["verdict"] == "challenger"
    assert (report["shadow"]["champion_hit@1"], report["shadow"]["challenger_hit@1"]) == (0.6, 0.44)
    assert report["shadow"]["only_one"]["verdict"] == "champion"


def test_nothing_counted_decides_nothing() -> None:
    report = compare({}, 0.05)
    assert report["arms"] == []
    assert {row["verdict"] for row in report["differences"]} == {"undecided"}
    assert report["interleaving"]["verdict"] == report["shadow"]["only_one"]["verdict"] == "undecided"
