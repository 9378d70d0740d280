"""What an experiment counts, by arm: shown, answered, accepted, observed, clicked, won.

One hash an experiment; `of_outcome` and `of_exposure` say what a labelled group counts, and the scripts of `lua.py`
move it in the transaction that keeps the group, so that nothing counts twice. An experiment is named by its setting
and the versions of champion and challenger: with another challenger all begins at nothing. What the counts mean is
the business of `ranking/experiments.py`.

    predictions                          shown, moved by `State.remember`
    answered, accepted                   of those users said something about; took the proposed call
    observed, hits                       of those whose next call was seen; it stood at rank 1
    impressions, clicks, conversions     propositions seen, and what followed; who clicks has seen it
    wins_champion, wins_challenger       interleaved ones, by whose pick was chosen
    observed, both, only_champion, only_challenger     (arm `shadow`) whose rank 1 was the observed call
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline import settings
from pipeline.stores.connection import Connection
from pipeline.stores.counts import SEPARATOR
from pipeline.stores.keys import key
from pipeline.types import Impression, QueryGroup

Counted = dict[tuple[str, str], int]  # (arm, what) -> how often

_KEPT = 50  # experiments of a tenant, the latest ones


def of_outcome(group: QueryGroup, is_known: bool = False) -> Counted:
    """What a group counts that says what a user did with a prediction; `is_known`: its choice was told before."""
    impression, chosen = group.impression, group.chosen
    if not impression.experiment or not impression.shown:
        return {}
    counted: Counted = {}
    if group.outcome == "observed":
        hit = chosen == impression.shown[0]
        counted |= {(impression.arm, "observed"): 1, (impression.arm, "hits"): int(hit)}
        if impression.shadow and not impression.explored:
            shadow_hit = chosen == impression.shadow[0]
            counted["shadow", "observed"] = 1
            if hit or shadow_hit:
                whose = "both" if hit and shadow_hit else "only_champion" if hit else "only_challenger"
                counted["shadow", whose] = 1
    else:
        counted |= {(impression.arm, "answered"): 1, (impression.arm, "accepted"): int(group.outcome == "accept")}
    return counted if is_known else counted | _win(impression, chosen)


def of_exposure(group: QueryGroup, event: str, is_seen: bool, is_known: bool) -> Counted:
    """What an event of a proposition counts; it was marked as seen before, or told before as chosen."""
    impression = group.impression
    if not impression.experiment:
        return {}
    counted: Counted = {(impression.arm, "impressions"): int(not is_seen)}
    if event != "impression":
        counted[impression.arm, f"{event}s"] = 1
        if not is_known:
            counted |= _win(impression, group.chosen)
    return counted


def moves(impression: Impression, counted: Counted, limits: settings.State) -> list[Any]:
    """The counts as the scripts of `lua.py` take them."""
    told = [part for (arm, what), amount in counted.items() if amount for part in (arm + SEPARATOR + what, amount)]
    return [_hash(impression), limits.habit_ttl_s, *told] if told else []


def shown(impression: Impression, limits: settings.State) -> tuple[list[str], list[Any]]:
    """Keys and arguments of the count of an impression that is being kept, as `lua.REMEMBER` takes them."""
    if not impression.experiment:
        return ["", ""], []
    known = key("t", impression.tenant, "experiments")
    counted = impression.arm + SEPARATOR + "predictions"
    return [_hash(impression), known], [impression.experiment, counted, limits.habit_ttl_s, _KEPT]


class Arms:
    """The counts behind one connection. Every method may raise StateUnavailable."""

    def __init__(self, quick: Connection) -> None:
        self._quick = quick

    async def experiments(self, tenant: str) -> list[tuple[str, float]]:
        """Experiments and when something was last shown in them, the latest first."""
        name = key("t", tenant, "experiments")
        found = await self._quick.run(lambda redis: redis.zrange(name, 0, -1, desc=True, withscores=True))
        return [(experiment.decode(), ts) for experiment, ts in found]

    async def read(self, tenant: str, experiment: str) -> Mapping[str, Mapping[str, int]]:
        """Arm -> what -> how often."""
        found = await self._quick.run(lambda redis: redis.hgetall(key("t", tenant, "arms", experiment)))
        counts: dict[str, dict[str, int]] = {}
        for field, amount in found.items():
            arm, what = field.decode().split(SEPARATOR)
            counts.setdefault(arm, {})[what] = int(amount)
        return counts


def _win(impression: Impression, chosen: str) -> Counted:
    """Credit of an interleaved impression: to who picked what was chosen."""
    if not impression.teams or chosen not in impression.shown:
        return {}
    team = impression.teams[impression.shown.index(chosen)]
    return {(impression.arm, "wins_champion" if team == "a" else "wins_challenger"): 1}


def _hash(impression: Impression) -> str:
    return key("t", impression.tenant, "arms", impression.experiment)
