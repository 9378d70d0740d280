"""Champion against challenger: who gets which, what is shown, and what the counts say.

Pure. A user's arm is a hash, so it holds without being kept; `team_draft` and `explore` decide what is shown where
chance has a say, and log with which probability; `compare` reads the counts that feedback has moved. Which ranker
scores is `predict.py`'s, where counts lie `stores/arms.py`'s.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Container, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pipeline import settings
from pipeline.ranking.sequential import (
    Proportion,
    difference_interval,
    difference_p_value,
    rate_interval,
    rate_p_value,
)

Arm = Literal["champion", "challenger", "interleaved"]
ARMS: tuple[Arm, ...] = ("champion", "challenger", "interleaved")

Counts = Mapping[str, Mapping[str, int]]  # arm (or "shadow") -> what was counted -> how often

# measure -> (successes, trials), as `stores/arms.py` counts them; each success is one of its trials.
MEASURES: dict[str, tuple[str, str]] = {
    "acceptance": ("accepted", "answered"),
    "hit@1": ("hits", "observed"),
    "ctr": ("clicks", "impressions"),
    "conversion": ("conversions", "impressions"),
}


class Draft(NamedTuple):
    """What is shown when two rankers take turns."""

    shown: list[int]
    teams: str  # of each of `shown` whose pick it was: "a" or "b"
    propensity: float  # that this one, and no other, stands at rank 1


def share(*parts: str) -> float:
    """A number in [0, 100) that is always the same for these parts, and evenly spread over all others."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 * 100.0


def arm_of(limits: settings.Experiments, tenant: str, user: str) -> Arm:
    """The arm of a user: the same in every replica and after every restart, while name and percentages stay.

    A percentage that is raised moves users into the challenger's arm and none out of it.
    """
    where = share(limits.name, tenant, user)
    if where < limits.challenger_percent:
        return "challenger"
    return "interleaved" if where >= 100.0 - limits.interleave_percent else "champion"


def is_shadowed(limits: settings.Experiments, prediction_id: str) -> bool:
    """The challenger orders this prediction of the champion too, unseen."""
    return limits.shadow_percent > 0 and share("shadow", prediction_id) < limits.shadow_percent


def team_draft(first: Sequence[int], second: Sequence[int], k: int, chance: random.Random) -> Draft:
    """At most k of both orders, drafted in turn; team "a" is `first`.

    Team-draft interleaving (Radlinski, Kurup and Joachims 2008, "How does clickthrough data reflect retrieval
    quality?"): the team with fewer picks goes next, a coin decides between equals, and each takes the best of its
    order that is left. What the user then chooses is a win for the team that picked it: two equal orders win
    equally often.
    """
    shown: list[int] = []
    teams: list[str] = []
    taken: set[int] = set()
    while len(shown) < k:
        behind = teams.count("a") - teams.count("b")
        team = "a" if behind < 0 or (behind == 0 and chance.random() < 0.5) else "b"
        pick = next((one for one in (first if team == "a" else second) if one not in taken), None)
        if pick is None:  # this order has no more: the other one fills up
            team = "b" if team == "a" else "a"
            pick = next((one for one in (first if team == "a" else second) if one not in taken), None)
        if pick is None:
            break
        taken.add(pick)
        shown.append(pick)
        teams.append(team)
    same_start = bool(first) and bool(second) and first[0] == second[0]
    return Draft(shown, "".join(teams), 1.0 if same_start or not (first and second) else 0.5)


def explore(
    shown: list[int], raisable: Container[int], percent: float, chance: random.Random
) -> tuple[list[int], float]:
    """`shown`, in `percent` of all cases with rank 1 and a lower one of `raisable` swapped, and the propensity.

    The propensity is the probability that what stands at rank 1 stands there: without exploration 1. The lower one is
    drawn evenly, so that whatever of these another ranker would have put first has a chance to be seen there.
    """
    lower = [place for place in range(1, len(shown)) if shown[place] in raisable]
    rate = percent / 100.0
    if not lower or rate <= 0.0:
        return shown, 1.0
    if chance.random() >= rate:
        return shown, 1.0 - rate
    place = chance.choice(lower)
    swapped = list(shown)
    swapped[0], swapped[place] = shown[place], shown[0]
    return swapped, rate / len(lower)


def compare(counts: Counts, alpha: float) -> dict[str, Any]:
    """What the counts say: rates by arm, differences with always-valid intervals, wins, the shadow's hits.

    A verdict is `challenger`, `champion` or `undecided`; each errs in at most `alpha` of all experiments, however
    often one looks. Four measures are four questions: decide on one of them beforehand.
    """
    return {
        "alpha": alpha,
        "arms": [{"arm": arm, **_rates(counts, arm, alpha)} for arm in ARMS if counts.get(arm)],
        "differences": [
            _difference(measure, _proportion(counts, "champion", *of), _proportion(counts, "challenger", *of), alpha)
            for measure, of in MEASURES.items()
        ],
        "interleaving": _wins(
            counts.get("interleaved", {}).get("wins_champion", 0),
            counts.get("interleaved", {}).get("wins_challenger", 0),
            alpha,
        ),
        "shadow": _shadow(counts.get("shadow", {}), alpha),
    }


def _rates(counts: Counts, arm: str, alpha: float) -> dict[str, Any]:
    """Each measure of an arm: how often, and between what the true rate lies."""
    found = {name: _proportion(counts, arm, *of) for name, of in MEASURES.items()}
    rates = {name: one.rate for name, one in found.items()}
    intervals = {name: list(rate_interval(one, alpha)) for name, one in found.items() if one.trials}
    return {"counts": dict(sorted(counts[arm].items())), **rates, "intervals": intervals}


def _proportion(counts: Counts, arm: str, successes: str, trials: str) -> Proportion:
    counted = counts.get(arm, {})
    return Proportion(min(counted.get(successes, 0), counted.get(trials, 0)), counted.get(trials, 0))


def _difference(measure: str, champion: Proportion, challenger: Proportion, alpha: float) -> dict[str, Any]:
    low, high = difference_interval(champion, challenger, alpha)
    rates = champion.rate, challenger.rate
    return {
        "measure": measure,
        "difference": None if rates[0] is None or rates[1] is None else rates[1] - rates[0],
        "low": low,
        "high": high,
        "p_value": difference_p_value(champion, challenger),
        "verdict": _verdict(low, high, 0.0),
    }


def _wins(champion: int, challenger: int, alpha: float) -> dict[str, Any]:
    """The challenger's share of the cases that one of both has won."""
    won = Proportion(challenger, champion + challenger)
    low, high = rate_interval(won, alpha)
    return {
        "champion": champion,
        "challenger": challenger,
        "challenger_share": won.rate,
        "low": low,
        "high": high,
        "p_value": rate_p_value(won),
        "verdict": _verdict(low, high, 0.5),
    }


def _shadow(counted: Mapping[str, int], alpha: float) -> dict[str, Any]:
    """hit@1 of both on the same observed calls; only those tell that one of both knew (as in McNemar's test)."""
    observed, both = counted.get("observed", 0), counted.get("both", 0)
    champion, challenger = counted.get("only_champion", 0), counted.get("only_challenger", 0)
    return {
        "observed": observed,
        "champion_hit@1": Proportion(both + champion, observed).rate,
        "challenger_hit@1": Proportion(both + challenger, observed).rate,
        "only_one": _wins(champion, challenger, alpha),
    }


def _verdict(low: float, high: float, equal: float) -> Literal["champion", "challenger", "undecided"]:
    return "challenger" if low > equal else "champion" if high < equal else "undecided"
