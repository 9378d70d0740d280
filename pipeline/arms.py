"""Which ranker orders a prediction, and what chance may change: experiments, as `predict.py` tells them.

A user's arm says who scores. An interleaved user sees a draft of both rankers, a little exploration swaps rank 1 with
a lower one, and the challenger may order a prediction of the champion once it is answered, unseen. Without a
challenger, or without the state that would keep it, everything is the champion's and nothing counts. How chance is
drawn is the business of `ranking/experiments.py`, what is counted that of `stores/arms.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Protocol

import msgspec

from pipeline import settings
from pipeline.errors import OpenSesameError
from pipeline.ranking.experiments import Arm, arm_of, explore, is_shadowed, team_draft
from pipeline.stores.counts import ANONYMOUS
from pipeline.types import Impression, Query, Scores

Score = Callable[[str], Awaitable[Scores]]  # "champion" or "challenger" -> scores; the champion's without a challenger

_SHADOWS_MAX = 64  # of a process at once; beyond, predictions are not shadowed
_shadows: set[asyncio.Task[None]] = set()


class Amended(Protocol):
    async def amend(self, impression: Impression) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Arranged:
    """What is shown, and how it came about; the fields of an Impression."""

    shown: list[int]
    arm: str
    experiment: str = ""
    teams: str = ""
    propensity: float = 1.0
    explored: bool = False


def assigned(query: Query, limits: settings.Experiments) -> Arm:
    """The arm of the query's user; many people are anonymous, and they are the champion's."""
    return "champion" if query.user == ANONYMOUS else arm_of(limits, query.tenant, query.user)


async def scored(arm: Arm, score: Score) -> tuple[Scores, Scores | None]:
    """The scores that the answer rests on, and for a draft the challenger's, when both know each other."""
    if arm != "interleaved":
        return await score(arm), None
    first, second = await asyncio.gather(score("champion"), score("challenger"), return_exceptions=True)
    if isinstance(first, BaseException):
        raise first
    if isinstance(second, OpenSesameError):
        return first, None
    if isinstance(second, BaseException):
        raise second
    return first, second if second.arm == "challenger" and second.rivals == first.rivals else None


def arranged(
    query: Query,
    limits: settings.Experiments,
    scores: Scores,
    order: Sequence[int],
    rival_order: Sequence[int] | None,
    harmless: Container[int],
    prediction_id: str,
) -> Arranged:
    """The k shown of `order`, the candidates that may be shown, best first; `rival_order` is the challenger's.

    Chance hangs on the prediction's id; without one there is none. Only `harmless` ones are raised to rank 1 by it.
    """
    shown = list(order[: query.k])
    if not prediction_id:
        return Arranged(shown, scores.arm)
    chance = random.Random(prediction_id)
    is_on = limits.challenger_percent or limits.interleave_percent or limits.shadow_percent
    experiment = ""
    if is_on and scores.rivals and query.user != ANONYMOUS:
        experiment = " ".join((limits.name, *scores.rivals))
    if rival_order is not None:
        draft = team_draft(order, rival_order, query.k, chance)
        return Arranged(draft.shown, "interleaved", experiment, draft.teams, draft.propensity)
    explored, propensity = explore(shown, harmless, limits.explore_percent, chance)
    return Arranged(explored, scores.arm, experiment, "", propensity, explored != shown)


def shadow(
    limits: settings.Experiments,
    impression: Impression,
    score: Score,
    challengers: Callable[[Scores], tuple[str, ...]],
    memory: Amended,
) -> None:
    """Begin to order a kept impression of the champion by the challenger too, if it is its turn; waits for nothing.

    `challengers` makes of its scores the operations it would have shown. What fails leaves no shadow.
    """
    if impression.arm != "champion" or not impression.experiment or not is_shadowed(limits, impression.id):
        return
    if len(_shadows) >= _SHADOWS_MAX:
        return

    async def keep() -> None:
        with contextlib.suppress(OpenSesameError):
            scores = await score("challenger")
            if scores.arm == "challenger" and impression.experiment.endswith(" ".join(("", *scores.rivals))):
                await memory.amend(msgspec.structs.replace(impression, shadow=challengers(scores)))

    task = asyncio.create_task(keep())
    _shadows.add(task)
    task.add_done_callback(_shadows.discard)
