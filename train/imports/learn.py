"""Recorded sessions are lived through again: each call is foretold from those before it, then told.

So what was recorded becomes what a service learns from people: labelled query groups for the next training, counts and
prompt memories at once, through the very stories that serve. Each session is a user of its own, named by its content;
told again, it changes nothing. `opensesame import --learn` calls this, in this process or through a service.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from opensesame_client import AsyncClient
from opensesame_client.wire import event
from pipeline.catalog.library import lineage
from pipeline.errors import BadRequest, Unavailable
from pipeline.local import LocalService
from pipeline.settings import Settings
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.pseudonym import pseudonym, secret_of
from pipeline.stores.state import State
from pipeline.types import Call, Catalog, Observation, Query, Source
from train import corpus, recorded

Made = Sequence[tuple[corpus.Spec, Catalog, list[corpus.Session]]]  # of `recorded.gather`
SourceOf = Callable[[str, str], Source]  # name and digest of a spec -> what a service knows it by

_LATER = re.compile(r"#\d+\+\d+$")  # id of a long session's piece that is not its first
_K = 5  # predictions asked for each call
_TENANT = "local"
_WAITS_S = (0.2, 1.0, 3.0)  # before a call that could not be kept is told again


@dataclasses.dataclass(slots=True)
class Learnt:
    """What came of it, and how well the calls were foretold before they were told."""

    sessions: int = 0
    calls: int = 0  # told
    known: int = 0  # of them told before: nothing changed
    ranks: list[int] = dataclasses.field(default_factory=list)  # of each call that answered a prediction; 0 for none

    def hit(self, k: int, part: slice = slice(None)) -> float | None:
        """Share of the calls that stood among the first `k`; None without any."""
        ranks = self.ranks[part]
        return sum(0 < rank <= k for rank in ranks) / len(ranks) if ranks else None

    def add(self, other: Learnt) -> None:
        """Count what came of more sessions."""
        self.sessions += other.sessions
        self.calls += other.calls
        self.known += other.known
        self.ranks += other.ranks

    def json(self) -> dict[str, Any]:
        """As `--json` prints it; the last quarter shows what the first three have taught."""
        last = slice(len(self.ranks) * 3 // 4, None)
        rates = {"hit@1": self.hit(1), "hit@5": self.hit(5), "hit@1_last_quarter": self.hit(1, last)}
        told = {"sessions": self.sessions, "calls": self.calls, "known": self.known, "foretold": len(self.ranks)}
        return {**told, **{name: None if rate is None else round(rate, 4) for name, rate in rates.items()}}


class Place(Protocol):
    """Where sessions are lived through."""

    async def foretell(self, user: str, prompt: str, calls: Sequence[Call]) -> list[str]:
        """Operations foretold, best first, as `METHOD /template`."""
        ...

    async def tell(self, user: str, number: int, call: Call, operation: str) -> bool:
        """Keep the call, the `number`th of its user; False when it was known."""
        ...


class Here:
    """In this process, over the state that `service` has; users go by the names that a service of `secret` gives."""

    def __init__(self, service: LocalService, source: Source, digest: str, secret: str) -> None:
        self._service, self._source, self._lineage = service, source, lineage(source, digest)
        self._secret = secret

    async def foretell(self, user: str, prompt: str, calls: Sequence[Call]) -> list[str]:
        query = Query(self._source, tuple(calls), prompt, _K, self._name(user), _TENANT)
        return [p.candidate.operation for p in (await self._service.predict(query)).predictions]

    async def tell(self, user: str, number: int, call: Call, operation: str) -> bool:
        # Known again by its number: a recording may lack times, and an old one would answer no prediction of today.
        made = Observation(time.time(), call.endpoint, operation, f"{user} {number} {call.endpoint}")
        for wait_s in _WAITS_S:
            with contextlib.suppress(Unavailable):  # a machine that is busy for a moment; told twice it counts once
                return bool((await self._service.observe(_TENANT, self._name(user), self._lineage, [made])).recorded)
            await asyncio.sleep(wait_s)
        return bool((await self._service.observe(_TENANT, self._name(user), self._lineage, [made])).recorded)

    def _name(self, user: str) -> str:
        return pseudonym(self._secret, _TENANT, user)


class There:
    """Through a running service; `where` is `{catalog}` or `{spec_url}`."""

    def __init__(self, client: AsyncClient, where: dict[str, Any]) -> None:
        self._client, self._where = client, where

    async def foretell(self, user: str, prompt: str, calls: Sequence[Call]) -> list[str]:
        history = [event(c.endpoint, params=c.params, status=c.status, body=c.body) for c in calls]
        answer = await self._client.predict(history, prompt=prompt or None, user_id=user, k=_K, **self._where)
        return [p.endpoint for p in answer]

    async def tell(self, user: str, number: int, call: Call, operation: str) -> bool:
        told = [event(call.endpoint, params=call.params)]
        kept = await self._client.events(told, user_id=user, idempotency_key=f"{user} {number}", **self._where)
        return bool(kept.recorded)


async def learn(
    sessions: Iterable[corpus.Session], place: Place, tell: Callable[[int], None] = lambda done: None
) -> Learnt:
    """What came of living through `sessions`, the earliest first; `tell` hears of each call that is done.

    Raises:
        OpenSesameError: of `pipeline.errors` or of the client; what was told until then is kept.
    """
    found = Learnt()
    for session in sorted(sessions, key=lambda s: (s.calls[0].ts or 0.0, s.id)):
        told = (session.id, session.catalog, session.prompt, session.calls[0].endpoint, session.calls[0].ts)
        user = "recorded-" + hashlib.sha256(repr(told).encode()).hexdigest()[:16]
        begun = recorded.OVERLAP if _LATER.search(session.id) else 0  # what the piece before has told
        found.sessions += not begun
        for i in range(begun, len(session.calls)):
            call, operation = session.calls[i], session.operations[i]
            foretold = None
            if i in session.answers:
                foretold = await place.foretell(user, session.prompt, session.calls[:i])
            if not await place.tell(user, i, call, operation):
                found.known += 1
            elif foretold is not None:
                found.ranks.append(foretold.index(operation) + 1 if operation in foretold else 0)
            found.calls += 1
            tell(1)
    return found


def here(made: Made, settings: Settings, source_of: SourceOf, var: Path, tell: Callable[[int], None]) -> Learnt:
    """Lives through the sessions of each spec in this process, over the state under `var` or the configured one.

    `source_of` says what a service knows the spec of a name and digest by.
    """

    async def run(url: str) -> Learnt:
        state = State(settings.state, url)
        try:
            async with LocalService(settings, state, meaning=True) as service:
                found, secret = Learnt(), secret_of(settings.privacy, var)
                for spec, catalog, sessions in made:
                    service.stages.keep(catalog)
                    source = msgspec.structs.replace(
                        source_of(spec.name, catalog.digest), data=b"", digest=catalog.digest
                    )
                    found.add(await learn(sessions, Here(service, source, catalog.digest, secret), tell))
                return found
        finally:
            await state.close()

    with contextlib.ExitStack() as stack:
        url = settings.state.url
        if url == "embedded":
            url = stack.enter_context(EmbeddedRedis(var, settings.state.redis_server)).url
        return asyncio.run(run(url))


def there(made: Made, url: str, api_key: str, source_of: SourceOf, tell: Callable[[int], None]) -> Learnt:
    """Lives through the sessions of each spec through the service at `url`.

    Raises:
        BadRequest: a spec that the service knows by nothing but its content.
    """

    async def run() -> Learnt:
        async with AsyncClient(url, api_key=api_key or None, deadline_s=60) as client:
            found = Learnt()
            for spec, catalog, sessions in made:
                source = source_of(spec.name, catalog.digest)
                where = {"catalog": source.name} if source.name else {"spec_url": source.url}
                if not any(where.values()):
                    raise BadRequest(
                        f"The service does not know {spec.name}: upload it with 'opensesame catalogs NAME --put"
                        " FILE', then say --catalog NAME."
                    )
                found.add(await learn(sessions, There(client, where), tell))
            return found

    return asyncio.run(run())
