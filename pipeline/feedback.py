"""STORY 2: what a user did becomes a labelled query group.

Told from top to bottom by `record`: find the impression that the feedback speaks of, find the
operation that was chosen, label what was shown and what else was scored, keep the group, once,
before anything is answered. Nothing is fitted here: the group waits in the inbox for the training
job, only the counts of what followed what move at once. Called by the ingress and by the CLI.

The label scale, of the journal and of training; the later rows are what other routes observe:

    label   for the operation that                                     outcome
    3       the user chose instead, was seen to call, or converted on  override
    2       the user accepted as shown                                 accept
    1       the user only clicked
    0       every other one shown or scored                            accept, override, reject

An operation chosen that was neither shown nor scored leaves the labels all 0, and is named in the
group's `chosen`. `accept` without a choice means rank 1, and accepts what was shown, nothing else;
`override` names the choice: shown at a lower rank, scored but not shown, or any other operation
of the catalog; `reject` says that none was right and chooses nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

from pipeline import guardrails
from pipeline.errors import BadRequest, Conflict, Gone, UnknownPrediction
from pipeline.stores.state import ANONYMOUS, Joined, id_time
from pipeline.types import Feedback, Impression, QueryGroup

ACCEPTED, CHOSEN = 2, 3

# (impression, method, path) of a call -> key of its operation in the impression's catalog, None when there is none.
Match = Callable[[Impression, str, str], Awaitable[str | None]]


class Memory(Protocol):
    """The state, as this story needs it: one round trip to find, one to keep."""

    join_window_s: int  # how long feedback can name a prediction

    async def join(self, feedback: Feedback) -> Joined: ...

    async def record(
        self, feedback: Feedback, group: QueryGroup, request: str, statement: str
    ) -> Literal["recorded", "duplicate", "conflict"]: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt:
    """What was done with feedback that is durable now."""

    prediction_id: str
    status: Literal["recorded", "duplicate"]
    group: QueryGroup | None = None  # what was kept; None when the same request was answered before


async def record(feedback: Feedback, memory: Memory, match: Match) -> Receipt:
    """The receipt of feedback that will not be lost; the same feedback again gives the same receipt.

    Raises:
        BadRequest: it cannot be understood, or `chosen` is no operation of the catalog.
        UnknownPrediction, Gone: there is no such prediction of this user, or the time to join it is over.
        Conflict: something else was said of this prediction, or under this Idempotency-Key.
        Overloaded, StateUnavailable: it is not kept; try again.
    """
    _check(feedback)
    request = _hash(feedback.prediction_id, feedback.outcome, feedback.chosen)
    joined = await memory.join(feedback)
    if joined.said:
        if joined.said != request:
            raise Conflict("This Idempotency-Key was used for another request: take a new one.")
        return Receipt(joined.said_of, "duplicate")
    impression = _own_impression(feedback, joined, memory.join_window_s)
    chosen = await _chosen_operation(feedback, impression, match)
    group = QueryGroup(
        impression=impression,
        labels=label(impression, feedback.outcome, chosen),
        outcome=feedback.outcome,
        chosen=chosen,
        ts=time.time(),
    )
    status = await memory.record(feedback, group, request, statement=_hash(feedback.outcome, chosen))
    if status == "conflict":
        raise Conflict(
            "Something else was said of this prediction, or under this Idempotency-Key: "
            "each prediction takes one outcome."
        )
    return Receipt(impression.id, status, group)


def label(impression: Impression, outcome: str, chosen: str) -> tuple[int, ...]:
    """The label (0-3) of each operation of `shown` and `others`, by the table above."""
    grade = {"accept": ACCEPTED, "override": CHOSEN, "reject": 0}[outcome]
    return tuple(grade if operation == chosen else 0 for operation in impression.shown + impression.others)


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


def _own_impression(feedback: Feedback, joined: Joined, join_window_s: int) -> Impression:
    """The impression, when it is there and this user's; an id is secret enough for those who give no user."""
    if joined.impression is not None:
        users = {feedback.user, joined.impression.user} - {ANONYMOUS}
        if len(users) <= 1:
            return joined.impression
    elif feedback.prediction_id:
        made = id_time(feedback.prediction_id)
        if made is not None and time.time() - made > join_window_s:
            raise Gone(f"Feedback can name a prediction for {join_window_s} s; this one is older.")
    if not feedback.prediction_id:
        raise UnknownPrediction(f"This user has no prediction of the last {join_window_s} s.")
    raise UnknownPrediction("There is no such prediction of this user.")


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
