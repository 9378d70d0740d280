"""What followed what: how it lies in Redis, and how it is read.

One sorted set per lineage and shape of the last call, and one more per user (`keys.py`). Its members
are what a prediction's context was and what came next, parts divided by U+001F; its scores are counts:

    last ␟ next             how often `next` came after `last`; "" as `last` is the start of a session
    prev2 ␟ last ␟ next     how often it came after the two; "" as `prev2`: `last` opened the session
    last ␟                  total of the first kind, and
    prev2 ␟ last ␟          of the second, also of what is no longer kept

Counts age: each observation in a context first multiplies what is known of that context, total
included, by `state.habit_decay`, so that a habit given up is outweighed after a dozen observations.
A set keeps its `COUNTS_MAX` largest members, and a prediction reads the `COUNTS_READ` largest, totals
first. Moved by the scripts of `lua.py` in the transaction that keeps the feedback; read in
`State.recall`, within its one round trip.

With c = counts.after(last).get(op, 0) and n = counts.total(last), P(op | last) = (c + 4 p0) / (n + 4) backs off to
p0; the same with (prev2, last) backs off to that.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from pipeline import settings
from pipeline.stores.keys import key, shape
from pipeline.types import Remembered

ANONYMOUS = "anonymous"  # a user that many people share: nothing is kept about it

SEPARATOR = "\x1f"
COUNTS_MAX = 512  # members of one set
COUNTS_READ = 192  # of them that a prediction looks at
LOSSES_MAX = 128  # of a lineage, that tell how far each expert is to be trusted

_NOTHING: Mapping[str, float] = MappingProxyType({})


class Followed:
    """What followed the last call, as one prediction sees it: for everybody of a tenant, or for one user.

    `sets` as the sorted sets are read: member, count, member, count ... of each.
    """

    def __init__(self, sets: Iterable[Sequence[bytes]] = ()) -> None:
        self._after: dict[tuple[str, ...], dict[str, float]] = {}
        self._total: dict[tuple[str, ...], float] = {}
        for members in sets:
            for member, count in zip(members[::2], members[1::2], strict=True):
                context, following = _member(member)
                if following:
                    self._after.setdefault(context, {})[following] = float(count)
                else:
                    self._total[context] = float(count)

    def after(self, *context: str) -> Mapping[str, float]:
        """Counts of the operations that came after `last`, or after `prev2, last`; the most frequent ones."""
        return self._after.get(context, _NOTHING)

    def total(self, *context: str) -> float:
        """How often anything came after the context: at least the sum of `after`."""
        return max(self._total.get(context, 0.0), sum(self.after(*context).values()))

    def contexts(self) -> Iterable[tuple[str, ...]]:
        return self._after.keys()

    def __bool__(self) -> bool:
        return bool(self._after)


def contexts(history: Sequence[str]) -> tuple[str, str]:
    """The contexts that an operation counts in which came after `history`: `last` and `prev2 ␟ last`.

    The second is "" at the start of a session, where nothing came before.
    """
    if not history:
        return "", ""
    last = _part(history[-1])
    before = _part(history[-2]) if len(history) > 1 else ""
    return last, before + SEPARATOR + last


def following(operation: str) -> str:
    """The operation as the last part of a member."""
    return _part(operation)


def pack_remembered(entry: Remembered) -> bytes:
    return msgspec.msgpack.encode(entry)


def unpack_remembered(entries: Iterable[bytes]) -> tuple[Remembered, ...]:
    """The prompt memory, newest first."""
    return tuple(map(_REMEMBERED.decode, entries))


def owner_hash(tenant: str, user: str) -> str:
    """16 characters that stand for a user wherever the name itself is not needed; "" for anonymous."""
    if user == ANONYMOUS:
        return ""
    return hashlib.sha256(f"{len(tenant)}:{tenant}{user}".encode("utf-8", "replace")).hexdigest()[:16]


def own(tenant: str, user: str, lineage: str, *what: str) -> str:
    """The key of what is kept of one user in a lineage, "" for anonymous."""
    return "" if user == ANONYMOUS else key("t", tenant, "user", user, lineage, *what)


def count_sets(tenant: str, user: str, lineage: str, last: str) -> list[str]:
    """The sorted sets that an observation after `last` counts in: the lineage's, then the user's unless anonymous."""
    sets = [key("t", tenant, "follow", lineage, shape(last))]
    if user != ANONYMOUS:
        sets.append(own(tenant, user, lineage, "follow", shape(last)))
    return sets


def learning(limits: settings.State) -> dict[str, Any]:
    """What the scripts that move what is learnt want to know."""
    return {
        "told": [limits.habit_decay, COUNTS_MAX, limits.habit_ttl_s],
        "prompts_max": limits.prompts_max,
        "prompts_user_max": limits.prompts_user_max,
        "losses_max": LOSSES_MAX,
        "cap": limits.inbox_max,
        "once_s": max(limits.once_ttl_s, limits.join_window_s),
        "join_s": limits.join_window_s,
    }


@functools.lru_cache(maxsize=16384)
def _member(member: bytes) -> tuple[tuple[str, ...], str]:
    """Context and what came next: kept in each replica, as most members come again with the next prediction."""
    *context, following = member.decode().split(SEPARATOR)
    return tuple(context), following


_REMEMBERED = msgspec.msgpack.Decoder(Remembered)


def _part(operation: str) -> str:
    return operation.replace(SEPARATOR, "")
