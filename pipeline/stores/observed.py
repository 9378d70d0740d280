"""Calls that users were seen to make, and what happened to propositions that were suggested.

Both are read, decided upon by `pipeline/feedback.py` and kept in a second round trip, which answers
`moved` when another request was faster: then everything is read again. What follows what is moved by
the same scripts that keep the groups. Of one impression several may tell: `Joined` is what all of them
have told, so that one act counts once. Held by `State.observed`; every method may raise StateUnavailable.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from pipeline import settings
from pipeline.errors import Overloaded
from pipeline.stores import arms, lua
from pipeline.stores.connection import Connection
from pipeline.stores.counts import (
    ANONYMOUS,
    contexts,
    count_sets,
    following,
    learning,
    own,
    owner_hash,
    pack_remembered,
)
from pipeline.stores.encoding import pack_group, unpack_impression
from pipeline.stores.inbox import INBOXES
from pipeline.stores.keys import key
from pipeline.types import Exposure, Impression, Observation, QueryGroup, Remembered

_SEEN_MAX = 10_000  # observed calls of a user in a lineage that are told apart
_FULL_RETRY_S = 30.0  # the inbox is drained by a job, not by a request
_HASH = 32  # characters


class Tail(msgspec.Struct, frozen=True, array_like=True):
    """Where a user's observed calls ended."""

    ts: float = 0.0  # by the client's clock, where that is not ahead of ours
    operations: tuple[str, ...] = ()  # the last two, oldest first
    nonce: str = ""  # so that each edition differs


@dataclasses.dataclass(frozen=True, slots=True)
class Joined:
    """The impression that is spoken of, as far as it is there, and what was told of it before."""

    id: str = ""  # "" when none was named and the user has none
    impression: Impression | None = None
    said: str = ""  # hash of what was said under the Idempotency-Key before, "" for nothing
    said_of: str = ""  # the impression it was said of
    statement: str = ""  # hash of the outcome kept of it, "" for none
    chosen: str = ""  # by that outcome, as `following` writes it
    marks: Mapping[str, str] = dataclasses.field(default_factory=dict)  # operation -> what happened, as kept
    edition: str = ""  # of the marks

    def has_chosen(self, operation: str) -> bool:
        """Somebody told before that the operation was chosen."""
        events = self.marks.get(operation, "").split(",")
        return following(operation) == self.chosen or not {*events} <= {"", "impression"}


@dataclasses.dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a user in a lineage before observed calls are told apart."""

    tail: Tail
    tail_data: bytes  # as it was read
    seen: tuple[bool, ...]  # for each call asked about
    open: tuple[tuple[Impression, Joined], ...]  # that wait for the next call, oldest first


@dataclasses.dataclass(frozen=True, slots=True)
class Sighted:
    """An observed call that is to be kept, and what it means."""

    call: Observation
    history: tuple[str, ...] | None  # operations before it, at most two; None when they are not known: nothing counts
    amount: float = 0.0  # what it counts
    closes: tuple[tuple[QueryGroup, str, Joined], ...] = ()  # groups of what it answers, hash of what is said


class Observed:
    """What was seen of users, behind one connection."""

    def __init__(self, connection: Connection, limits: settings.State) -> None:
        self._connection = connection
        self._limits = limits

    async def sight(self, tenant: str, user: str, lineage: str, calls: Sequence[Observation]) -> Sight:
        """What is known before `calls` are kept, in one round trip."""
        tail, seen, waiting = await self._connection.script(
            lua.SIGHT, _own_keys(tenant, user, lineage), [*prefixes(tenant), *map(_call_id, calls)]
        )
        found = [joined(id_, kept) for id_, kept in waiting]
        return Sight(
            tail=msgspec.msgpack.decode(tail, type=Tail) if tail else Tail(),
            tail_data=tail or b"",
            seen=tuple(score is not None for score in (*seen, *[None] * (len(calls) - len(seen)))),
            open=tuple((one.impression, one) for one in found if one.impression is not None),
        )

    async def witness(
        self,
        tenant: str,
        user: str,
        lineage: str,
        sight: Sight,
        sighted: Sequence[Sighted],
        tail: tuple[float, tuple[str, ...]],
    ) -> tuple[Literal["kept", "moved"], int, tuple[str, ...]]:
        """Keep observed calls, each once, close what they answer and move what is learnt; all of it or nothing.

        `tail` is where the calls end. Answers how many were new, and which predictions they closed;
        `moved` when `sight` is no longer true: nothing was kept.

        Raises:
            Overloaded: the inbox is full.
        """
        keys = [*_own_keys(tenant, user, lineage), key("t", tenant, "inbox"), INBOXES]
        keys += [key("t", tenant, "prompts", lineage), own(tenant, user, lineage, "prompts")]
        keys.append(key("t", tenant, "losses", lineage))
        data: list[bytes] = []
        calls: list[Any] = []
        for one in sighted:
            closings = []
            for position, (group, statement, before) in enumerate(one.closes):
                data.append(pack_group(group))
                number, entry_number = 3 + len(data), 0
                # Predictions asked for side by side wait for the same call: the prompt of the last one is remembered.
                entry = remembered(group) if position == len(one.closes) - 1 and one.amount > 0 else None
                if entry is not None:
                    data.append(pack_remembered(entry))
                    entry_number = 3 + len(data)
                losses_number = 0
                if one.amount > 0 and (lost := losses(group)):
                    data.append(lost)
                    losses_number = 3 + len(data)
                once = statement + following(group.chosen)
                counted = arms.of_outcome(group, before.has_chosen(group.chosen))
                moves = arms.moves(group.impression, counted, self._limits)
                closings.append([group.impression.id, once, number, entry_number, losses_number, moves, before.edition])
            set_number, last, two = 0, "", ""
            if one.call.operation and one.history is not None:
                last, two = contexts(one.history)
                set_number = len(keys) + 1
                keys += count_sets(tenant, user, lineage, one.history[-1] if one.history else "")
            operation = following(one.call.operation)
            calls.append([_call_id(one.call), operation, set_number, last, two, closings, one.amount])
        told = learning(self._limits) | {
            "now": time.time(),
            "seen_max": _SEEN_MAX,
            "tenant": tenant,
            **dict(zip(("impression", "once", "marks"), prefixes(tenant), strict=True)),
            "calls": calls,
        }
        new_tail = msgspec.msgpack.encode(Tail(tail[0], tail[1][-2:], secrets.token_hex(4)))
        answer, kept, closed = await self._connection.script(
            lua.WITNESS, keys, [sight.tail_data, new_tail, msgspec.msgpack.encode(told), *data]
        )
        if answer == b"full":
            raise inbox_full(self._limits)
        return answer.decode(), kept, tuple(id_.decode() for id_ in closed)

    async def find(self, exposure: Exposure) -> Joined:
        """The suggestion an exposure names, else the last one of its user."""
        last = "" if exposure.user == ANONYMOUS else key("t", exposure.tenant, "suggested", exposure.user)
        arguments = [*prefixes(exposure.tenant), exposure.suggestion_id]
        said, id_, kept = await self._connection.script(lua.JOIN, [_exposure_key(exposure), last], arguments)
        return joined(id_, kept, said)

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
    ) -> Literal["recorded", "duplicate", "conflict", "gone", "moved"]:
        """Mark the proposition `group.chosen` with what happened to it, once; all of it or nothing.

        The group goes to the inbox when `deliver`; `amount` is what the choice counts beyond what it counted before.

        Raises:
            Overloaded: the inbox is full.
        """
        impression = group.impression
        tenant, user, lineage = impression.tenant, impression.user, impression.lineage
        last, two = contexts(impression.history)
        entry = remembered(group) if amount > 0 else None
        is_seen = bool(found.marks.get(group.chosen))
        counted = arms.of_exposure(group, exposure.event, is_seen, found.has_chosen(group.chosen))
        told = learning(self._limits) | {
            "request": request + impression.id,
            "proposition": group.chosen,
            "operation": following(group.chosen),
            "event": exposure.event,
            "edition": found.edition,
            "statement": found.statement,
            "after": mark,
            "tenant": tenant,
            "last": last,
            "two": two,
            "amount": amount,
            "arms": arms.moves(impression, counted, self._limits),
        }
        answer = await self._connection.script(
            lua.MARK,
            [
                _exposure_key(exposure),
                key("t", tenant, "marks", impression.id),
                key("t", tenant, "inbox"),
                INBOXES,
                key("t", tenant, "impression", impression.id),
                key("t", tenant, "tally", lineage),
                key("t", tenant, "prompts", lineage),
                own(tenant, user, lineage, "prompts"),
                key("t", tenant, "losses", lineage),
                key("t", tenant, "once", impression.id),
                *count_sets(tenant, user, lineage, impression.history[-1] if impression.history else ""),
            ],
            [
                pack_group(group) if deliver else b"",
                msgspec.msgpack.encode(told),
                pack_remembered(entry) if entry else b"",
                losses(group) if amount > 0 else b"",
            ],
        )
        if answer == b"full":
            raise inbox_full(self._limits)
        return answer.decode()

    async def tally(self, tenant: str, lineage: str) -> dict[tuple[str, str], int]:
        """How often each (event, operation of a proposition) was logged in a lineage."""
        found = await self._connection.run(lambda redis: redis.hgetall(key("t", tenant, "tally", lineage)))
        return {tuple(name.decode().split("\x1f", 1)): int(count) for name, count in found.items()}  # type: ignore[misc]


def prefixes(tenant: str) -> list[str]:
    """Of the keys of impressions, of what was said of them, and of their marks, as the scripts take them."""
    return [key("t", tenant, what) + ":" for what in ("impression", "once", "marks")]


def joined(id_: bytes | None, kept: Sequence[Any], said: bytes | None = None) -> Joined:
    """What `lua.JOIN` answers; in `lua.SIGHT`, without what was said under a key."""
    data, once, marks = kept
    pairs = [part.decode() for part in marks]
    by_operation = dict(zip(pairs[::2], pairs[1::2], strict=True))
    told, statement = (said or b"").decode(), (once or b"").decode()
    return Joined(
        id=(id_ or b"").decode(),
        impression=None if data is None else unpack_impression(data),
        said=told[:_HASH],
        said_of=told[_HASH:],
        statement=statement[:_HASH],
        chosen=statement[_HASH:],
        edition=by_operation.pop("", ""),
        marks=by_operation,
    )


def remembered(group: QueryGroup) -> Remembered | None:
    """The entry of the prompt memory that a labelled group makes; None without a prompt or a choice."""
    impression = group.impression
    if not impression.terms or not group.chosen:
        return None
    return Remembered(
        terms=impression.terms,
        last=impression.history[-1] if impression.history else "",
        chosen=group.chosen,
        weight=group.weight,
        owner=owner_hash(impression.tenant, impression.user),
        ts=group.ts,
    )


def losses(group: QueryGroup) -> bytes:
    """What the experts of `ranking/adapt.py` lost by what was chosen; empty when it was not scored, or all agreed."""
    impression = group.impression
    rows = impression.shown + impression.others
    if not impression.losses or group.chosen not in rows:
        return b""
    return impression.losses[rows.index(group.chosen)]


def inbox_full(limits: settings.State) -> Overloaded:
    return Overloaded(f"{limits.inbox_max} labelled groups wait to be drained, which is the most.", _FULL_RETRY_S)


def _own_keys(tenant: str, user: str, lineage: str) -> list[str]:
    return [own(tenant, user, lineage, what) for what in ("tail", "seen", "open")]


def _call_id(call: Observation) -> str:
    """32 characters that tell an observed call from the user's others."""
    told = f"once {call.once}" if call.once else f"{call.ts!r} {call.endpoint} {call.params}".rstrip()
    return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:32]


def _exposure_key(exposure: Exposure) -> str:
    if not exposure.idempotency_key:
        return ""
    return key("t", exposure.tenant, "once", exposure.user, exposure.idempotency_key)
