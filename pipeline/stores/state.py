"""What every replica shares, in Redis: impressions, feedback until it is drained, what followed what.

The request path costs two round trips: `recall` before a prediction and `remember` after it;
feedback costs two more, `join` and `record`. Scripts lie in `lua.py`, names of keys in `keys.py`,
catalogs are kept by `State.catalogs`; what feedback means is the business of
`pipeline/feedback.py`. Every method may raise StateUnavailable.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from redis.asyncio import Redis

from pipeline import settings
from pipeline.errors import Overloaded
from pipeline.stores import lua
from pipeline.stores.catalogs import CatalogStore, decode_spec, decode_upload
from pipeline.stores.connection import Connection
from pipeline.stores.encoding import pack_group, pack_impression, unpack_impression
from pipeline.stores.keys import key, may_be, shape, shapes_of_call
from pipeline.types import Feedback, Impression, Query, QueryGroup, SpecRecord

ANONYMOUS = "anonymous"  # a user that many people share: nothing is kept about it

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_LENGTH = 26  # ULID: 48 bits of milliseconds, 80 bits of chance (github.com/ulid/spec)
_COUNTS_MAX = 256  # members of one set of counts, or of accepted operations; the rarest go
_COUNTS_READ = 64  # of them that a prediction looks at
_FULL_RETRY_S = 30.0  # the inbox is drained by a job, not by a request


@dataclasses.dataclass(slots=True)
class Recall:
    """What the state knows before a query is grounded."""

    digest: str = ""  # of the catalog the source names, "" when it is not known yet
    accepted: Collection[str] = frozenset()  # operations this user accepted in this lineage
    habit: Mapping[str, float] = dataclasses.field(default_factory=dict)  # operation -> how often it followed here
    spec: SpecRecord | None = None  # what is known of the source's URL


@dataclasses.dataclass(frozen=True, slots=True)
class Joined:
    """The impression that feedback speaks of, as far as it is there."""

    prediction_id: str  # "" when none was named and the user has none
    impression: Impression | None
    said: str  # hash of what was said under the Idempotency-Key before, "" for nothing
    said_of: str  # the prediction it was said of


class State:
    """The state behind one Redis URL. Opens nothing before its first use."""

    def __init__(self, limits: settings.State, url: str) -> None:
        self._limits = limits
        self.join_window_s = limits.join_window_s
        self._quick = Connection(url, limits, limits.timeout_s)
        self._bulk = Connection(url, limits, limits.bulk_timeout_s)
        self.catalogs = CatalogStore(self._quick, self._bulk, limits)

    async def verify(self) -> None:
        """Return when the server is one that can hold the state; for start-up.

        Raises:
            SettingsError: it is too old, or would evict what must be kept.
        """
        await self._quick.verify()

    async def ping(self) -> None:
        """Return when Redis answers."""
        await self._quick.run(lambda redis: redis.ping())

    async def close(self) -> None:
        """Close every socket. The state can be used again afterwards."""
        await self._quick.close()
        await self._bulk.close()

    def new_id(self) -> str:
        """An id that sorts by time and cannot be guessed."""
        return new_id()

    async def recall(self, query: Query) -> Recall:
        """What is known before the query is grounded, in one round trip.

        `habit` tells what followed the last call (without calls: what sessions began with), for all
        users of the tenant and once more for this one. A source's URL is taken as it is written.
        """
        source, lineage, user = query.source, _lineage(query), query.user
        follow, own = ("t", query.tenant, "follow", lineage), ("t", query.tenant, "user", user, lineage)
        last = query.calls[-1] if query.calls else None
        counts = []
        for end in shapes_of_call(last.method, last.path) if last else ("",):
            counts.append(key(*follow, end))
            if user != ANONYMOUS:
                counts.append(key(*own, "follow", end))

        async def read(redis: Redis) -> list[Any]:
            pipe = redis.pipeline(transaction=False)
            pipe.hget(key("t", query.tenant, "name"), source.name)
            pipe.mget(key("spec", source.url), key("t", query.tenant, "spec", source.url))
            pipe.smembers(key(*own, "accepted"))
            for name in counts:
                pipe.zrange(name, 0, _COUNTS_READ - 1, desc=True, withscores=True)
            return await pipe.execute()

        upload_data, spec_data, accepted, *followers = await self._quick.run(read)
        upload = decode_upload(upload_data)
        spec = decode_spec(spec_data[0]) or decode_spec(spec_data[1])
        habit: dict[str, float] = {}
        for operation, weight in _followers(followers, last.method if last else "", last.path if last else ""):
            habit[operation] = habit.get(operation, 0.0) + weight
        return Recall(
            digest=upload.digest if upload else spec.digest if spec else source.digest,
            accepted=frozenset(operation.decode() for operation in accepted),
            habit=habit,
            spec=spec,
        )

    async def remember(self, impression: Impression) -> None:
        """Keep an impression for the join window, as its user's last one, in one round trip."""
        data = pack_impression(impression, self._limits.impression_limit_bytes)

        async def write(redis: Redis) -> None:
            pipe = redis.pipeline(transaction=False)
            name = key("t", impression.tenant, "impression", impression.id)
            pipe.set(name, data, ex=self._limits.join_window_s)
            if impression.user != ANONYMOUS:
                last = key("t", impression.tenant, "last", impression.user)
                pipe.set(last, impression.id, ex=self._limits.join_window_s)
            await pipe.execute()

        await self._quick.run(write)

    async def join(self, feedback: Feedback) -> Joined:
        """What feedback speaks of: the impression it names, else its user's last one."""
        tenant = feedback.tenant
        last = "" if feedback.user == ANONYMOUS else key("t", tenant, "last", feedback.user)
        prefix = key("t", tenant, "impression") + ":"
        said, prediction_id, data = await self._quick.script(
            lua.JOIN, [_once_key(feedback), last], [prefix, feedback.prediction_id]
        )
        said = (said or b"").decode()
        return Joined(
            prediction_id=(prediction_id or b"").decode(),
            impression=None if data is None else unpack_impression(data),
            said=said[:32],
            said_of=said[32:],
        )

    async def record(
        self, feedback: Feedback, group: QueryGroup, request: str, statement: str
    ) -> Literal["recorded", "duplicate", "conflict"]:
        """Append a labelled group to the inbox, once, and move the counts; all of it or nothing.

        `request` is the hash (32 characters) of what was asked under the Idempotency-Key,
        `statement` that of what is said of the prediction: a conflict is another one of either.

        Raises:
            Overloaded: the inbox is full.
        """
        impression, limits = group.impression, self._limits
        tenant = impression.tenant
        own = None if impression.user == ANONYMOUS else ("t", tenant, "user", impression.user, impression.lineage)
        accepted = group.chosen if group.outcome == "accept" and own else ""
        counts, followed = [], ""
        if group.chosen:
            previous = impression.history[-1] if impression.history else ""
            followed = f"{previous}\n{group.chosen}"
            counts.append(key("t", tenant, "follow", impression.lineage, shape(previous)))
            if own:
                counts.append(key(*own, "follow", shape(previous)))
        answer = await self._quick.script(
            lua.RECORD,
            [
                _once_key(feedback),
                key("t", tenant, "once", impression.id),
                key("t", tenant, "inbox"),
                key(*own, "accepted") if own else "",
                *counts,
            ],
            [
                request + impression.id,
                statement,
                pack_group(group),
                limits.inbox_max,
                max(limits.once_ttl_s, limits.join_window_s),
                limits.join_window_s,
                limits.habit_ttl_s,
                _COUNTS_MAX,
                accepted,
                followed,
            ],
        )
        outcome = answer.decode()
        if outcome == "full":
            raise Overloaded(
                f"{limits.inbox_max} labelled groups wait to be drained, which is the most.", _FULL_RETRY_S
            )
        return outcome

    async def inbox_length(self, tenant: str) -> int:
        """How many labelled groups wait to be drained."""
        return int(await self._quick.run(lambda redis: redis.xlen(key("t", tenant, "inbox"))))


def new_id() -> str:
    """A ULID of this moment."""
    number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def id_time(prediction_id: str) -> float | None:
    """When an id was made, in seconds since the epoch; None when it is no id of ours."""
    if len(prediction_id) != _ID_LENGTH or any(letter not in _CROCKFORD for letter in prediction_id):
        return None
    milliseconds = 0
    for letter in prediction_id[:10]:
        milliseconds = milliseconds * 32 + _CROCKFORD.index(letter)
    return milliseconds / 1000


def _lineage(query: Query) -> str:
    """What everything learnt is keyed by: the catalog's name, else its URL, else its digest."""
    return query.source.name or query.source.url or query.source.digest


def _once_key(feedback: Feedback) -> str:
    if not feedback.idempotency_key:
        return ""
    return key("t", feedback.tenant, "once", feedback.user, feedback.idempotency_key)


def _followers(sets: list[list[tuple[bytes, float]]], method: str, path: str) -> Iterator[tuple[str, float]]:
    """The operations, with counts, that followed an operation which the last call may be a call of."""
    for members in sets:
        for member, count in members:
            previous, _, operation = member.decode().partition("\n")
            if (not previous and not method) or may_be(previous, method, path):
                yield operation, count
