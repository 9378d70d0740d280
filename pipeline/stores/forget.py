"""A user's data leaves Redis: impressions, what waits in the inbox, counts, prompt memories, marks of requests, limits.

Predictions go first, so that feedback on its way finds nothing to join. What was counted together
with others is taken out of the common counts. What is deleted stands in Redis' append-only file until
that is written anew: see `rewrite`. The journal's files are `journal.py`'s business, which calls this.
What belongs to nobody in particular stays: compiled catalogs, and tallies of propositions.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from pipeline.errors import BadRequest
from pipeline.stores import lua
from pipeline.stores.connection import Connection
from pipeline.stores.counts import ANONYMOUS, owner_hash
from pipeline.stores.encoding import unpack_group, unpack_impression
from pipeline.stores.keys import key, pattern

_CHUNK = 500
_REWRITE_S = 60.0  # for Redis to rewrite its append-only file: seconds for a gigabyte


async def forget_user(connection: Connection, tenant: str, user: str) -> dict[str, int]:
    """How much of what went: impressions, groups of the inbox, entries of prompt memories, other keys.

    Raises:
        BadRequest: anonymous is nobody's data.
        StateUnavailable: it is not all gone; do it again.
    """
    if user == ANONYMOUS:
        raise BadRequest("Nothing is kept that tells one anonymous user from another: name a user.")
    gone = {"impressions": await _forget_impressions(connection, tenant, user)}
    gone["groups"] = await _forget_groups(connection, tenant, user)
    keys = [key("t", tenant, "last", user), key("t", tenant, "suggested", user)]
    async for chunk in _scan(connection, pattern("t", tenant, "once", user)):
        keys += chunk
    for what in ("rate", "refusals", "block"):
        async for chunk in _scan(connection, pattern("t", tenant, what)):
            keys += [name for name in chunk if name.split(":")[4:] == [key(user)]]
    async for chunk in _scan(connection, pattern("t", tenant, "user", user)):
        for name in chunk:
            lineage, what, *shape = name.split(":")[4:]
            if what == "follow":  # the parts of a key are quoted already
                common = ":".join((key("t", tenant, "follow"), lineage, *shape))
                await connection.script(lua.SUBTRACT, [name, common], [])
        keys += chunk
    gone["prompts"] = 0
    async for chunk in _scan(connection, pattern("t", tenant, "prompts")):
        for name in chunk:
            gone["prompts"] += int(await connection.script(lua.DISOWN, [name], [owner_hash(tenant, user)]))
    gone["keys"] = await _delete(connection, keys)
    return gone


async def rewrite(connection: Connection) -> None:
    """Have Redis write its append-only file anew, without what was deleted, and wait until it has.

    One that is being written already may have begun before. Where this is not permitted, or takes longer, Redis does
    it when the file has grown.

    Raises:
        StateUnavailable: it is away.
    """
    until, is_asked = time.monotonic() + _REWRITE_S, False
    while time.monotonic() < until:
        told = await connection.run(lambda redis: redis.info("persistence"))
        if not told["aof_enabled"]:
            return
        if not (told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"]):
            if is_asked or not await connection.run(_ask_to_rewrite):
                return
            is_asked = True
        await asyncio.sleep(0.02)


async def _ask_to_rewrite(redis: Redis) -> bool:
    """False when it is not permitted."""
    try:
        await redis.bgrewriteaof()
    except ResponseError as error:
        return "in progress" in str(error)  # begun since nothing was: it is as good
    return True


async def _forget_impressions(connection: Connection, tenant: str, user: str) -> int:
    gone = 0
    async for chunk in _scan(connection, pattern("t", tenant, "impression")):
        found = await _ask(connection, "mget", chunk)
        for name, data in zip(chunk, found, strict=True):
            if data is not None and unpack_impression(data).user == user:
                id_ = name.rsplit(":", 1)[1]
                gone += 1
                await _delete(connection, [name, key("t", tenant, "once", id_), key("t", tenant, "marks", id_)])
    return gone


async def _forget_groups(connection: Connection, tenant: str, user: str) -> int:
    inbox, start, gone = key("t", tenant, "inbox"), "-", 0
    while True:
        entries = await _ask(connection, "xrange", inbox, start, "+", _CHUNK)
        if not entries:
            return gone
        ids = [id_ for id_, fields in entries if _is_of(fields[b"group"], user)]
        if ids:
            gone += int(await _ask(connection, "xdel", inbox, *ids))
        start = "(" + entries[-1][0].decode()


def _is_of(data: bytes, user: str) -> bool:
    try:
        return unpack_group(data).impression.user == user
    except (msgspec.DecodeError, zlib.error):
        return False  # it cannot be read by anybody


async def _scan(connection: Connection, names: str) -> AsyncIterator[list[str]]:
    """Chunks of the keys that match a pattern."""
    cursor = 0
    while True:
        cursor, found = await _ask(connection, "scan", cursor, names, 1000)
        if found:
            yield [name.decode() for name in dict.fromkeys(found)]
        if not cursor:
            return


async def _delete(connection: Connection, keys: Iterable[str]) -> int:
    names = list(dict.fromkeys(keys))
    chunks = [names[i : i + _CHUNK] for i in range(0, len(names), _CHUNK)]
    return sum([int(await _ask(connection, "delete", *chunk)) for chunk in chunks])


async def _ask(connection: Connection, command: str, *arguments: Any) -> Any:
    return await connection.run(lambda redis: getattr(redis, command)(*arguments))
