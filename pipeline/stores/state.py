"""What every replica shares, in Redis: impressions, feedback until it is drained, what followed what.

The request path costs two round trips: `recall` before a prediction and `remember` after it;
feedback costs two more, `join` and `record`. Scripts lie in `lua.py`, names of keys in `keys.py`,
counts in `counts.py`; catalogs are kept by `State.catalogs`, observed calls and suggestions by
`State.observed`, API keys by `State.apikeys`, the way to the journal is `State.inbox`, how trainings
ended `State.trainings`. What feedback means is the business of `pipeline/feedback.py`. Every method may
raise StateUnavailable.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import msgspec

from pipeline import settings
from pipeline.errors import StateUnavailable
from pipeline.stores import arms, lua
from pipeline.stores.apikeys import ApiKeys
from pipeline.stores.catalogs import CatalogStore, decode_spec, decode_upload
from pipeline.stores.connection import Connection
from pipeline.stores.counts import (
    ANONYMOUS,
    COUNTS_READ,
    LOSSES_MAX,
    Followed,
    contexts,
    count_sets,
    following,
    learning,
    own,
    pack_remembered,
    unpack_remembered,
)
from pipeline.stores.encoding import pack_group, pack_impression
from pipeline.stores.inbox import INBOXES, Inbox
from pipeline.stores.keys import key, may_be, shapes_of_call
from pipeline.stores.limits import Limiter
from pipeline.stores.observed import Joined, Observed, inbox_full, joined, losses, prefixes, remembered
from pipeline.stores.spend import Spend
from pipeline.stores.trainings import Trainings
from pipeline.types import SHOW, Feedback, Impression, Query, QueryGroup, Remembered, SpecRecord

_log = logging.getLogger("opensesame.state")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_LENGTH = 26  # ULID: 48 bits of milliseconds, 80 bits of chance (github.com/ulid/spec)
_OPEN_MAX = 16  # predictions of a user in a lineage that an observed call may close, the latest ones


@dataclasses.dataclass(slots=True)
class Recall:
    """What the state knows before a query is grounded."""

    digest: str = ""  # of the catalog the source names, "" when it is not known yet
    accepted: Collection[str] = frozenset()  # operations this user accepted in this lineage
    habit: Mapping[str, float] = dataclasses.field(default_factory=dict)  # operation -> how often it followed here
    spec: SpecRecord | None = None  # what is known of the source's URL
    # What followed the last call, with its totals, for all users of the tenant and for this one: see `counts.py`.
    followed: Followed = dataclasses.field(default_factory=Followed)
    own_followed: Followed = dataclasses.field(default_factory=Followed)
    # What was chosen for prompts, newest first; read when the query has one.
    prompts: Sequence[Remembered] = ()
    own_prompts: Sequence[Remembered] = ()
    losses: Sequence[bytes] = ()  # what the experts of `ranking/adapt.py` lost in this lineage, newest first


class State:
    """The state behind one Redis URL. Opens nothing before its first use."""

    def __init__(self, limits: settings.State, url: str) -> None:
        self._limits = limits
        self._is_shared = not url.startswith("unix:")  # where the embedded one is
        self.join_window_s = limits.join_window_s
        self._quick = Connection(url, limits, limits.timeout_s)
        self._told = Connection(url, limits, limits.feedback_timeout_s)
        self._bulk = Connection(url, limits, limits.bulk_timeout_s)
        self.catalogs = CatalogStore(self._quick, self._bulk, limits)
        self.observed = Observed(self._told, limits)
        self.arms = arms.Arms(self._quick)
        self.inbox = Inbox(self._bulk)
        self.trainings = Trainings(self._bulk)
        self.apikeys = ApiKeys(self._quick)
        self.spend = Spend(self._quick)

    def limiter(self, limits: settings.Limits) -> Limiter:
        """The buckets of keys and users, by these rates."""
        return Limiter(self._quick, limits)

    @property
    def connection(self) -> Connection:
        """The way to Redis for what takes its time: forgetting a user."""
        return self._bulk

    async def verify(self) -> None:
        """Return when the server is one that can hold the state; for start-up.

        A shared one that may lose what was acknowledged is warned of in the log.

        Raises:
            SettingsError: it is too old, or would evict what must be kept.
        """
        await self._quick.verify()
        if self._is_shared and (lost := await self._lossy()):
            _log.warning("state.url: %s", lost)

    async def _lossy(self) -> str:
        """How this Redis may lose acknowledged feedback; "" where it does not, or will not say: many managed ones."""
        try:
            told = await self._quick.run(lambda redis: redis.config_get("append*"))
        except StateUnavailable:  # refused
            return ""
        mend = "set appendonly yes and appendfsync always"
        if told.get("appendonly") == "no":
            return f"a restart of this Redis loses acknowledged feedback (appendonly no): {mend}."
        if (flushed := told.get("appendfsync", "always")) != "always":
            return f"a crash of this Redis may lose acknowledged feedback (appendfsync {flushed}): {mend}."
        return ""

    async def ping(self) -> None:
        """Return when Redis answers."""
        await self._quick.run(lambda redis: redis.ping())

    async def close(self) -> None:
        """Close every socket. The state can be used again afterwards."""
        await self._quick.close()
        await self._told.close()
        await self._bulk.close()

    def new_id(self) -> str:
        """An id that sorts by time and cannot be guessed."""
        return new_id()

    async def recall(self, query: Query) -> Recall:
        """What is known before the query is grounded, in one round trip.

        `habit` tells what followed the last call (without calls: what sessions began with), for all
        users of the tenant and once more for this one; `followed` and `own_followed` tell the same in full,
        `prompts` and `own_prompts` what was chosen for which words, `losses` how well each expert foretold it.
        A source's URL is taken as it is written.
        """
        source, lineage, tenant, user = query.source, _lineage(query), query.tenant, query.user
        is_known = user != ANONYMOUS
        last = query.calls[-1] if query.calls else None
        method, path = (last.method, last.path) if last else ("", "")
        ends = shapes_of_call(method, path) if last else ("",)

        prompts = key("t", tenant, "prompts", lineage) if query.prompt else ""
        own_prompts = own(tenant, user, lineage, "prompts") if query.prompt else ""
        sets = [key("t", tenant, "follow", lineage, end) for end in ends]
        own_sets = [own(tenant, user, lineage, "follow", end) for end in ends] if is_known else []
        upload_data, spec_data, own_spec_data, accepted, lost, said, own_said, *counted = await self._quick.script(
            lua.RECALL,
            [
                key("t", tenant, "name"),
                key("spec", source.url),
                key("t", tenant, "spec", source.url),
                key("t", tenant, "user", user, lineage, "accepted"),
                key("t", tenant, "losses", lineage),
                prompts,
                own_prompts,
                *sets,
                *own_sets,
            ],
            [source.name, LOSSES_MAX, self._limits.prompts_max, self._limits.prompts_user_max, COUNTS_READ],
        )
        followed, own_followed = Followed(counted[: len(sets)]), Followed(counted[len(sets) :])
        habit: dict[str, float] = {}
        for counts in (followed, own_followed):
            for context in counts.contexts():
                if len(context) == 1 and (may_be(context[0], method, path) if last else not context[0]):
                    for operation, count in counts.after(*context).items():
                        habit[operation] = habit.get(operation, 0.0) + count
        upload = decode_upload(upload_data)
        spec = decode_spec(spec_data) or decode_spec(own_spec_data)
        return Recall(
            digest=upload.digest if upload else spec.digest if spec else source.digest,
            accepted=frozenset(operation.decode() for operation in accepted),
            habit=habit,
            spec=spec,
            followed=followed,
            own_followed=own_followed,
            prompts=unpack_remembered(said),
            own_prompts=unpack_remembered(own_said),
            losses=lost,
        )

    async def remember(self, impression: Impression) -> None:
        """Keep an impression for the join window, as its user's last one and as one that waits for the next call."""
        data = pack_impression(impression, self._limits.impression_limit_bytes)

        tenant, user = impression.tenant, impression.user
        is_known = user != ANONYMOUS
        is_suggestion = bool(impression.shown) and impression.shown[0].startswith(f"{SHOW} ")
        experiment_keys, experiment = arms.shown(impression, self._limits)
        await self._quick.script(
            lua.REMEMBER,
            [
                key("t", tenant, "impression", impression.id),
                key("t", tenant, "last", user) if is_known else "",
                key("t", tenant, "suggested", user) if is_known and is_suggestion else "",
                own(tenant, user, impression.lineage, "open"),
                *experiment_keys,
            ],
            [data, impression.id, impression.ts, self._limits.join_window_s, _OPEN_MAX, *experiment],
        )

    async def amend(self, impression: Impression) -> None:
        """Keep more about an impression that is there; nothing happens when it no longer is."""
        data = pack_impression(impression, self._limits.impression_limit_bytes)
        name = key("t", impression.tenant, "impression", impression.id)
        await self._quick.run(lambda redis: redis.set(name, data, xx=True, keepttl=True))

    async def join(self, feedback: Feedback) -> Joined:
        """What feedback speaks of: the impression it names, else its user's last one."""
        last = "" if feedback.user == ANONYMOUS else key("t", feedback.tenant, "last", feedback.user)
        arguments = [*prefixes(feedback.tenant), feedback.prediction_id]
        said, id_, kept = await self._told.script(lua.JOIN, [_once_key(feedback), last], arguments)
        return joined(id_, kept, said)

    async def record(
        self,
        feedback: Feedback,
        group: QueryGroup,
        request: str,
        statement: str,
        before: Joined = Joined(),
        seen: str = "",
        amount: float = 1.0,
    ) -> Literal["recorded", "duplicate", "conflict", "gone", "moved"]:
        """Append a labelled group to the inbox, once, and move what is learnt; all of it or nothing.

        `request` is the hash (32 characters) of what was asked under the Idempotency-Key, `statement`
        that of what is said of the prediction, `seen` that of the same choice when it was observed: a
        conflict is another one of any. `before` is what was told of the prediction by then, `amount` what the choice
        counts beyond what that counted. Gone: the impression is no longer there; moved: `before` is no longer true.

        Raises:
            Overloaded: the inbox is full.
        """
        impression, chosen = group.impression, group.chosen
        tenant, user, lineage = impression.tenant, impression.user, impression.lineage
        last, two = contexts(impression.history)
        entry = remembered(group) if amount > 0 else None
        accepted = chosen if group.outcome == "accept" and user != ANONYMOUS else ""
        told = learning(self._limits) | {
            "request": request + impression.id,
            "statement": statement,
            "seen": seen or statement,
            "edition": before.edition,
            "chosen": following(chosen),
            "accepted": accepted,
            "tenant": tenant,
            "last": last,
            "two": two,
            "amount": amount,
            "arms": arms.moves(impression, arms.of_outcome(group, before.has_chosen(chosen)), self._limits),
        }
        answer = await self._told.script(
            lua.RECORD,
            [
                _once_key(feedback),
                key("t", tenant, "once", impression.id),
                key("t", tenant, "inbox"),
                INBOXES,
                key("t", tenant, "impression", impression.id),
                own(tenant, user, lineage, "accepted"),
                key("t", tenant, "prompts", lineage),
                own(tenant, user, lineage, "prompts"),
                key("t", tenant, "losses", lineage),
                key("t", tenant, "marks", impression.id),
                *count_sets(tenant, user, lineage, impression.history[-1] if impression.history else ""),
            ],
            [
                pack_group(group),
                msgspec.msgpack.encode(told),
                pack_remembered(entry) if entry else b"",
                losses(group) if amount > 0 else b"",
            ],
        )
        outcome = answer.decode()
        if outcome == "full":
            raise inbox_full(self._limits)
        return outcome


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
