"""Labelled groups that wait for the journal: claimed in batches, acknowledged once they lie there.

A batch is claimed before it is read and stays the same until it is acknowledged, whoever died in
between: `journal.py` gives its file the name of the batch and so writes it once. How groups get in
is the business of `state.py` and `observed.py`.
"""

from __future__ import annotations

import dataclasses

from pipeline.stores import lua
from pipeline.stores.connection import Connection
from pipeline.stores.keys import key

INBOXES = key("inboxes")


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A batch of an inbox, and whose it is."""

    tenant: str
    first: str  # ids of the stream
    last: str
    entries: tuple[tuple[str, bytes], ...]  # (id, packed QueryGroup), oldest first; forgotten ones are not among them


class Inbox:
    """The inboxes of all tenants. Every method may raise StateUnavailable.

    Nobody waits for an answer while they are drained: a busy machine must not look like a Redis that is away.
    """

    def __init__(self, bulk: Connection) -> None:
        self._bulk = bulk

    async def tenants(self) -> list[str]:
        """The tenants for whom something waits."""
        return sorted(name.decode() for name in await self._bulk.run(lambda redis: redis.smembers(INBOXES)))

    async def length(self, tenant: str) -> int:
        """How many labelled groups wait to be drained."""
        return int(await self._bulk.run(lambda redis: redis.xlen(key("t", tenant, "inbox"))))

    async def oldest_ts(self, tenant: str) -> float:
        """When the group that waits longest came, by the server's clock; 0 when none waits."""
        name = key("t", tenant, "inbox")
        found = await self._bulk.run(lambda redis: redis.xrange(name, count=1))
        return int(found[0][0].split(b"-")[0]) / 1000 if found else 0.0

    async def claim(self, tenant: str, most: int) -> Claim | None:
        """The batch that was claimed and not acknowledged, else the `most` oldest groups; None when nothing waits."""
        found = await self._bulk.script(lua.CLAIM, [key("t", tenant, "inbox"), key("t", tenant, "claim")], [most])
        if not found:
            return None
        first, last = found[0].decode().split(" ")
        entries = tuple((id_.decode(), dict(zip(f[::2], f[1::2], strict=True))[b"group"]) for id_, f in found[1])
        return Claim(tenant, first, last, entries)

    async def acknowledge(self, claim: Claim, last: str = "") -> bool:
        """True when the claimed groups up to `last`, all by default, are gone from the inbox now."""
        tenant = claim.tenant
        keys = [key("t", tenant, "inbox"), key("t", tenant, "claim"), INBOXES]
        done = await self._bulk.script(
            lua.ACKNOWLEDGE, keys, [f"{claim.first} {claim.last}", last or claim.last, tenant]
        )
        return bool(done)
