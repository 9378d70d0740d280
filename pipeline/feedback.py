"""STORY 2: what a user did becomes a labelled query group.

Told three times, from top to bottom: `record` for what a user says of a prediction, `observe` for the calls he was
seen to make, `expose` for what happened to a suggested proposition. Each finds the impressions that are meant, finds
the operation that was chosen, labels what was shown and what else was scored, and keeps the group, once, before
anything is answered. Nothing is fitted here: the group waits in the inbox for the training job, only what followed
what moves at once. SCALE is the one table of what each outcome is worth.

An operation chosen that was neither shown nor scored leaves the labels all 0: training, which learns an order among
the rows of a group, has no use for such a group and drops it; but it is named in the group's `chosen` (coverage and
off-policy measures count it as a miss) and moves the counts and the prompt memory like any other.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from pipeline import guardrails
from pipeline.errors import BadRequest, Conflict, Gone, Overloaded, UnknownPrediction
from pipeline.stores.counts import ANONYMOUS
from pipeline.stores.observed import Joined, Sight, Sighted
from pipeline.stores.state import id_time
from pipeline.types import SHOW, Exposure, Feedback, Impression, Observation, QueryGroup


class Grade(NamedTuple):
    """What an outcome is worth."""

    label: int  # of the operation chosen, 0-3: LightGBM's relevance; every other one of the group has 0
    weight: float  # of the group in training and in the prompt memory: how far the outcome is to be trusted
    amount: float  # what it adds to what followed what
    meaning: str


# Strongest first: full information, then choices against what was shown, then those that what was shown invited.
SCALE: dict[str, Grade] = {
    "observed": Grade(3, 1.0, 1.0, "the next call the user was seen to make, shown or not"),
    "override": Grade(3, 0.9, 1.0, "the call the user names instead: at a lower rank, scored, or any of the catalog"),
    "accept": Grade(2, 0.8, 1.0, "the shown call the user took; rank 1 when none is named"),
    "conversion": Grade(2, 0.6, 1.0, "the shown proposition that the user went through with"),
    "click": Grade(1, 0.4, 0.5, "the shown proposition that the user only looked into"),
    "impression": Grade(0, 0.2, 0.0, "a proposition was seen, and nothing followed"),
    "reject": Grade(0, 0.2, 0.0, "none was right: every label is 0, nothing counts as chosen"),
}

_TRIES = 8  # of a request that others overtake
_CALLS_MAX = 1000  # observed calls of one request
_SKEW_S = 60.0  # by which the clocks of our own machines may differ
_AHEAD_S = 86400.0  # by which a client's clock may be ahead: a call of a later time tells nothing of it, and no order

# (impression, method, path) of a call -> key of its operation in the impression's catalog, None when there is none.
Match = Callable[[Impression, str, str], Awaitable[str | None]]


class Memory(Protocol):
    """The state, as this story needs it: one round trip to find, one to keep; `moved`: another request was faster."""

    join_window_s: int  # how long feedback can name a prediction

    async def join(self, feedback: Feedback) -> Joined: ...

    async def record(
        self,
        feedback: Feedback,
        group: QueryGroup,
        request: str,
        statement: str,
        before: Joined,
        seen: str,
        amount: float,
    ) -> Literal["recorded", "duplicate", "conflict", "gone", "moved"]: ...


class Watch(Protocol):
    """What was seen of users, as this story needs it; `moved` means that another request was faster."""

    async def sight(self, tenant: str, user: str, lineage: str, calls: Sequence[Observation]) -> Sight: ...

    async def witness(
        self,
        tenant: str,
        user: str,
        lineage: str,
        sight: Sight,
        sighted: Sequence[Sighted],
        tail: tuple[float, tuple[str, ...]],
    ) -> tuple[Literal["kept", "moved"], int, tuple[str, ...]]: ...

    async def find(self, exposure: Exposure) -> Joined: ...

    async def mark(
        self,
        exposure: Exposure,
        found: Joined,
        group: QueryGroup,
        *,
        request: str,
        mark: str,
        amount: float,
        deliver: bool,
    ) -> Literal["recorded", "duplicate", "conflict", "gone", "moved"]: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt:
    """What was done with feedback that is durable now."""

    prediction_id: str
    status: Literal["recorded", "duplicate"]
    group: QueryGroup | None = None  # what was kept; None when the same request was answered before


@dataclasses.dataclass(frozen=True, slots=True)
class Witnessed:
    """What was done with observed calls that are durable now."""

    recorded: int
    duplicates: int
    closed: tuple[str, ...]  # ids of the predictions they answered
    groups: tuple[QueryGroup, ...] = dataclasses.field(default=(), compare=False)  # of these


async def record(feedback: Feedback, memory: Memory, match: Match) -> Receipt:
    """The receipt of feedback that will not be lost; the same feedback again gives the same receipt.

    Raises:
        BadRequest: it cannot be understood, or `chosen` is no operation of the catalog.
        UnknownPrediction, Gone: there is no such prediction of this user, or the time to join it is over.
        Conflict: something else was said of this prediction, or under this Idempotency-Key, or what is rejected
            was clicked.
        Overloaded, StateUnavailable: it is not kept; try again.
    """
    _check(feedback)
    request = _hash(feedback.prediction_id, feedback.outcome, feedback.chosen)
    outcome = feedback.outcome
    for _ in range(_TRIES):
        joined = await memory.join(feedback)
        if (again := _again(joined, request)) is not None:
            return again
        impression = _own_impression(feedback.prediction_id, feedback.user, joined.impression, memory.join_window_s)
        chosen = await _chosen_operation(feedback, impression, match)
        if outcome == "reject" and any(map(joined.has_chosen, joined.marks)):
            raise Conflict("A proposition of this suggestion was clicked or converted: it cannot be rejected as well.")
        group = _group(impression, outcome, chosen, joined.marks)
        # The call that was observed next and is then accepted too says nothing new, and nothing else.
        seen = _hash("observed", chosen) if chosen else ""
        amount = _amount(outcome, joined.marks.get(chosen, ""))
        status = await memory.record(feedback, group, request, _hash(outcome, chosen), joined, seen, amount)
        match status:
            case "gone":
                raise _gone(memory.join_window_s)
            case "conflict":
                raise Conflict(
                    "Something else was said of this prediction, or under this Idempotency-Key: "
                    "each prediction takes one outcome."
                )
            case "recorded" | "duplicate":
                return Receipt(impression.id, status, group)
        await asyncio.sleep(random.uniform(0.0, 0.02))
    raise Overloaded("What came of this prediction is being told from many places at once; try again.")


async def observe(
    tenant: str, user: str, lineage: str, calls: Sequence[Observation], watch: Watch, join_window_s: int
) -> Witnessed:
    """Keep the calls a user was seen to make; each answers the user's open predictions that were made before it.

    A prediction is before a call when the last call it knew is, by the client's clock; where the client told no
    time, when it was made before, by ours. Calls are taken in the order of their times, one of a time to come as made
    when it came; a call longer than the join window after the one before it opens a session. Calls kept before, by
    time, endpoint and params, count as duplicates.

    Raises:
        BadRequest: no user, or too many calls.
        Overloaded, StateUnavailable: nothing is kept; try again.
    """
    guardrails.printable("user_id", user, guardrails.URI_MAX)
    if user == ANONYMOUS:
        raise BadRequest("Observed calls need a user_id: those of many people, taken together, follow nobody's order.")
    if len(calls) > _CALLS_MAX:
        raise BadRequest(f"events has {len(calls)} calls; {_CALLS_MAX} are the most in one request.")
    for call in calls:
        guardrails.printable("endpoint", call.endpoint, guardrails.URI_MAX)
    ordered = sorted(calls, key=lambda call: call.ts)
    for _ in range(_TRIES):
        sight = await watch.sight(tenant, user, lineage, ordered)
        sighted, tail = _settle(sight, ordered, join_window_s)
        if not sighted:
            return Witnessed(0, len(calls), ())
        status, kept, closed = await watch.witness(tenant, user, lineage, sight, sighted, tail)
        if status == "kept":
            groups = tuple(group for one in sighted for group, _, _ in one.closes if group.impression.id in closed)
            return Witnessed(kept, len(calls) - kept, closed, groups)
        await asyncio.sleep(random.uniform(0.0, 0.02))
    raise Overloaded("Calls of this user are being reported from many places at once; try again.")


async def expose(exposure: Exposure, watch: Watch, join_window_s: int) -> Receipt:
    """The receipt of an impression, click or conversion that will not be lost; the same again gives the same receipt.

    The group kept has the labels of all that happened in this suggestion so far: the latest one replaces those before.

    Raises:
        BadRequest: it cannot be understood, or the proposition was no part of the suggestion.
        UnknownPrediction, Gone: there is no such suggestion of this user, or the time to join it is over.
        Conflict: something else was said under this Idempotency-Key, or the suggestion was rejected.
        Overloaded, StateUnavailable: it is not kept; try again.
    """
    for name, text in (("user_id", exposure.user), ("proposition_id", exposure.proposition)):
        guardrails.printable(name, text, guardrails.URI_MAX)
    guardrails.printable("Idempotency-Key", exposure.idempotency_key, guardrails.URI_MAX)
    if exposure.suggestion_id and id_time(exposure.suggestion_id) is None:
        raise UnknownPrediction("There is no such suggestion of this user.")
    if not exposure.suggestion_id and exposure.user == ANONYMOUS:
        raise BadRequest("An event without a suggestion_id needs a user_id: it then means that user's last suggestion.")
    request = _hash(exposure.suggestion_id, exposure.event, exposure.proposition)
    for _ in range(_TRIES):
        found = await watch.find(exposure)
        if (again := _again(found, request)) is not None:
            return again
        impression = _own_impression(
            exposure.suggestion_id, exposure.user, found.impression, join_window_s, "suggestion"
        )
        operation = _proposition(exposure.proposition, impression)
        said, happened = _said(found), _happened(found)
        if said == "reject" and exposure.event != "impression":
            raise Conflict("This suggestion was rejected: nothing of it can be clicked or converted as well.")
        before = happened.get(operation, "")
        status = await watch.mark(
            exposure,
            found,
            group := _group(impression, exposure.event, operation, happened),
            request=request,
            mark=",".join(sorted({*found.marks.get(operation, "").split(","), exposure.event} - {""})),
            amount=_amount(exposure.event, before),
            deliver=not happened or SCALE[exposure.event] > _strongest(before),
        )
        match status:
            case "gone":
                raise _gone(join_window_s, "suggestion")
            case "conflict":
                raise Conflict("This Idempotency-Key was used for another request: take a new one.")
            case "recorded" | "duplicate":
                return Receipt(impression.id, status, group)
        await asyncio.sleep(random.uniform(0.0, 0.02))
    raise Overloaded("Events of this suggestion are being logged from many places at once; try again.")


def label(impression: Impression, happened: Mapping[str, str]) -> tuple[int, ...]:
    """The label (0-3) of each operation of `shown` and `others`, by SCALE.

    `happened` tells what came of each operation: outcomes divided by commas, of which the strongest is taken.
    """
    return tuple(_strongest(happened.get(row, "")).label for row in impression.shown + impression.others)


def _group(impression: Impression, outcome: str, chosen: str, before: Mapping[str, str]) -> QueryGroup:
    """The group of an outcome, with all that happened in the impression before."""
    happened = {**before, chosen: f"{before.get(chosen, '')},{outcome}"}
    weight = max(_strongest(outcomes).weight for outcomes in happened.values())
    return QueryGroup(impression, label(impression, happened), outcome, chosen, time.time(), weight)


def _strongest(outcomes: str) -> Grade:
    """The strongest of what happened to an operation."""
    return max((SCALE[outcome] for outcome in outcomes.split(",") if outcome in SCALE), default=SCALE["impression"])


def _amount(outcome: str, before: str) -> float:
    """What an outcome of an operation counts beyond what it counted before."""
    return max(0.0, SCALE[outcome].amount - _strongest(before).amount)


def _again(joined: Joined, request: str) -> Receipt | None:
    """The receipt of a request that was answered under its Idempotency-Key before; None where nothing was.

    Raises:
        Conflict: another request was answered under it.
    """
    if joined.said and joined.said != request:
        raise Conflict("This Idempotency-Key was used for another request: take a new one.")
    return Receipt(joined.said_of, "duplicate") if joined.said else None


def _said(joined: Joined) -> str:
    """The outcome that was said of an impression, or observed; "" for none."""
    outcomes = (outcome for outcome in SCALE if _hash(outcome, joined.chosen) == joined.statement)
    return next(outcomes, "accept" if joined.statement else "")


def _happened(joined: Joined) -> dict[str, str]:
    """What came of each operation of an impression, whoever told it."""
    if not joined.statement:
        return dict(joined.marks)
    return {**joined.marks, joined.chosen: f"{joined.marks.get(joined.chosen, '')},{_said(joined)}"}


# Observed calls


def _settle(
    sight: Sight, calls: Sequence[Observation], join_window_s: int
) -> tuple[list[Sighted], tuple[float, tuple[str, ...]]]:
    """The calls that are new, with what came before each and which predictions it answers; where they end."""
    now = time.time()
    ends, before = min(sight.tail.ts, now), sight.tail.operations
    if sight.tail.ts > now + _SKEW_S:  # that has not been yet: nobody knows when it was
        ends, before = 0.0, ()
    told_at = (call.ts for call in calls if not call.once and call.ts <= now + _AHEAD_S)
    ahead_s = max(0.0, max(told_at, default=0.0) - now)
    waiting = list(sight.open)
    told: set[tuple[float, str, str] | str] = set()
    sighted = []
    for call, is_known in zip(calls, sight.seen, strict=True):
        name = call.once or (call.ts, call.endpoint, call.params)
        if is_known or name in told:
            continue
        told.add(name)
        if not call.operation:  # it stays in between, unnamed, as it does in the history of a prediction
            sighted.append(Sighted(call, None))
            continue
        made = min(call.ts, now)  # a clock that is ahead does not make the calls after it older
        if made - ends > join_window_s:
            before = ()
        history: tuple[str, ...] | None = before if made >= ends else None
        is_of_now = bool(call.once) or call.ts <= now + _AHEAD_S
        answered = [one for one in waiting if is_of_now and _is_before(one[0], call, ahead_s)]
        waiting = [one for one in waiting if one not in answered]
        statement = _hash("observed", call.operation)
        closes = tuple(
            (_group(impression, "observed", call.operation, joined.marks), statement, joined)
            for impression, joined in answered
        )
        for impression, _ in answered:
            if impression.history and impression.history[-1:] != (history or ())[-1:]:
                history = impression.history[-2:]  # it knew calls that nobody reported
        before_it = [_happened(joined).get(call.operation, "") for _, joined in answered]
        amount = min((_amount("observed", told_before) for told_before in before_it), default=SCALE["observed"].amount)
        sighted.append(Sighted(call, history if amount else None, amount, closes))
        if made >= ends:
            ends, before = made, (*before, call.operation)[-2:]
    return sighted, (ends, before)


def _is_before(impression: Impression, call: Observation, ahead_s: float) -> bool:
    """A prediction was made before a call; `ahead_s` is how far the client's clock is at least ahead of ours."""
    if call.once:  # told without a time: it has just been made
        return True
    if impression.last_ts is None:
        return call.ts - ahead_s >= impression.ts
    is_its_last = impression.history[-1:] == (call.operation,)
    return call.ts > impression.last_ts or (call.ts == impression.last_ts and not is_its_last)


# Propositions


def _proposition(id_: str, impression: Impression) -> str:
    """The key of the proposition a client names, as the suggestion has it."""
    for operation in (f"{SHOW} /{id_}", id_):
        if impression.mentions(operation):
            return operation
    raise BadRequest(f"The proposition {id_[:80]!r} was no part of this suggestion.")


# What was said of a prediction


def _check(feedback: Feedback) -> None:
    guardrails.printable("user_id", feedback.user, guardrails.URI_MAX)
    guardrails.printable("chosen", feedback.chosen, guardrails.URI_MAX)
    guardrails.printable("Idempotency-Key", feedback.idempotency_key, guardrails.URI_MAX)
    if feedback.prediction_id and id_time(feedback.prediction_id) is None:
        raise UnknownPrediction("There is no such prediction of this user.")
    if not feedback.prediction_id and feedback.user == ANONYMOUS:
        raise BadRequest("Feedback without a prediction_id needs a user_id: it then means that user's last prediction.")
    if feedback.outcome == "override" and not feedback.chosen:
        raise BadRequest("override needs 'chosen': the call that was made instead, as 'METHOD /path'.")
    if feedback.outcome == "reject" and feedback.chosen:
        raise BadRequest("reject chooses nothing: say override when another call was made instead.")


def _own_impression(
    id_: str, user: str, impression: Impression | None, join_window_s: int, what: str = "prediction"
) -> Impression:
    """The impression, when it is there and this user's; an id is secret enough for those who give no user."""
    if impression is not None:
        if len({user, impression.user} - {ANONYMOUS}) <= 1:
            return impression
    elif id_:
        made = id_time(id_)
        if made is not None and time.time() - made > join_window_s:
            raise _gone(join_window_s, what)
    if not id_:
        raise UnknownPrediction(f"This user has no {what} of the last {join_window_s} s.")
    raise UnknownPrediction(f"There is no such {what} of this user.")


def _gone(join_window_s: int, what: str = "prediction") -> Gone:
    return Gone(f"Feedback can name a {what} for {join_window_s} s; this one is older.")


async def _chosen_operation(feedback: Feedback, impression: Impression, match: Match) -> str:
    """The key of the operation that was chosen; "" when none was."""
    if feedback.outcome == "reject":
        return ""
    if not feedback.chosen:
        if not impression.shown:
            raise BadRequest("Nothing was shown that could be accepted: say override, with 'chosen'.")
        return impression.shown[0]
    chosen = feedback.chosen.strip()
    method, _, path = chosen.partition(" ")
    method, path = method.upper(), path.strip().split("?", 1)[0].split("#", 1)[0]
    scored = impression.shown + impression.others
    operation: str | None = next((key for key in (chosen, f"{method} {path}") if key in scored), None)
    if operation is None:
        if method not in guardrails.METHODS or not path.startswith(("/", "http://", "https://")):
            raise BadRequest("'chosen' must be a call: write it as 'METHOD /path'.")
        operation = await match(impression, method, path)
    if operation is None:
        raise BadRequest(f"'chosen' is no operation of the catalog: {chosen[:200]}")
    if feedback.outcome == "accept" and operation not in impression.shown:
        raise BadRequest("accept names an operation that was not shown: say override when it was called instead.")
    return operation


def _hash(*parts: str) -> str:
    """32 characters that stand for the parts."""
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode()).hexdigest()[:32]
