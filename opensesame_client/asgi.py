"""An ASGI middleware: the calls an application serves are recorded, and each user's next one is foretold.

    app.add_middleware(NextCall, client=AsyncClient("http://127.0.0.1:8000"), catalog="my-api")

The application never waits and never fails for it. What is to be told goes into a bounded queue; where the queue is
full, or the service away, it is dropped and counted (`counts`). The prediction is asked while the application works on
the request, and stands in the response's header `X-Next-Call` when it is there in time; later it is what `latest` says
and what `on_next` is called with. Only who is known by `user` is followed: calls of many people are nobody's session.
Its queue and its workers are asyncio's: the application runs on asyncio.
"""

from __future__ import annotations

import asyncio
import datetime
import inspect
import logging
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from opensesame_client import wire
from opensesame_client.aio import AsyncClient
from opensesame_client.answers import Answer, Json
from opensesame_client.errors import OpenSesameError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("opensesame.asgi")

_HISTORY = 20  # calls of a user that a prediction sees
_USERS = 10_000  # whose calls are held; the longest silent goes first
_FLUSH_S = 1.0  # that the queue may take to empty when the application ends
_SECRET = re.compile(r"([?&][^=&]*(?:key|token|secret|password|signature|auth|code)[^=&]*=)[^&]*", re.IGNORECASE)


def header_user(scope: Scope) -> str | None:
    """The user that header X-User-ID names, None without one."""
    found = next((value for name, value in scope["headers"] if name == b"x-user-id"), b"")
    return found.decode("latin-1")[:128] or None


class _Told:
    """One request as it goes by: its prediction, once it is there."""

    __slots__ = ("answer", "event", "user")

    def __init__(self, user: str, event: Json) -> None:
        self.user, self.event = user, event
        self.answer: Answer | None = None


class NextCall:
    """The middleware; `aclose` ends its work where no lifespan does."""

    def __init__(
        self,
        app: App,
        *,
        client: AsyncClient,
        catalog: str | None = None,
        spec_url: str | None = None,
        user: Callable[[Scope], str | None] = header_user,
        on_next: Callable[[str, Answer], Awaitable[None] | None] | None = None,
        header: str = "x-next-call",
        k: int = 3,
        queue: int = 1000,
        workers: int = 4,
    ) -> None:
        """`user` says who calls, None for whoever is not to be followed; `on_next(user, answer)` is told each answer.

        `queue` bounds what waits, `workers` the requests under way to the service. No `header` is set when it is "".
        """
        self.counts: Counter[str] = Counter()  # recorded, predicted, dropped, failed
        self.app, self._client, self._user, self._on_next = app, client, user, on_next
        self._source: Any = {"catalog": catalog, "spec_url": spec_url}
        self._header, self._k, self._size, self._workers = header.lower().encode(), k, queue, workers
        self._history: OrderedDict[str, deque[Json]] = OrderedDict()
        self._latest: OrderedDict[str, Answer] = OrderedDict()
        self._queue: asyncio.Queue[Callable[[], Awaitable[None]]] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def latest(self, user: str) -> Answer | None:
        """The last prediction for a user."""
        return self._latest.get(user)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                await self.app(scope, receive, send)
            finally:
                await self.aclose()
            return
        told = self._begin(scope) if scope["type"] == "http" else None
        if told is None:
            await self.app(scope, receive, send)
            return

        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                told.event["response"] = {"status": message["status"]}
                if told.answer is not None and told.answer.top is not None and self._header:
                    endpoint = quote(told.answer.top.endpoint, safe="/{}: ").encode()
                    message["headers"] = [*message.get("headers", ()), (self._header, endpoint)]
            await send(message)

        try:
            await self.app(scope, receive, send_with_header)
        finally:
            if "response" in told.event:
                self._put(lambda: self._record(told))

    async def aclose(self) -> None:
        """Tell what waits, for a second at most, and end."""
        if self._queue is not None:
            try:
                await asyncio.wait_for(self._queue.join(), _FLUSH_S)
            except TimeoutError:
                self.counts["dropped"] += self._queue.qsize()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks, self._queue = [], None

    def _begin(self, scope: Scope) -> _Told | None:
        """The request as it begins, its prediction asked for; None when nobody is to be followed."""
        try:
            user = self._user(scope)
            if user is None:
                return None
            told = _Told(user, wire.event(_endpoint(scope), ts=datetime.datetime.now(datetime.UTC)))
        except Exception as error:  # of the application's own function: its response must not depend on it
            self._failed(error)
            return None
        history = self._history.setdefault(user, deque(maxlen=_HISTORY))
        self._history.move_to_end(user)
        history.append(told.event)
        while len(self._history) > _USERS:
            self._history.popitem(last=False)
        calls = list(history)
        self._put(lambda: self._predict(told, calls))
        return told

    def _put(self, job: Callable[[], Awaitable[None]]) -> None:
        if self._queue is None:
            self._queue = asyncio.Queue(self._size)
            self._tasks = [asyncio.create_task(self._work(self._queue)) for _ in range(self._workers)]
        try:
            self._queue.put_nowait(job)
        except asyncio.QueueFull:
            self.counts["dropped"] += 1

    async def _work(self, queue: asyncio.Queue[Callable[[], Awaitable[None]]]) -> None:
        while True:
            job = await queue.get()
            try:
                await job()
            except Exception as error:  # whatever it is, the application goes on
                self._failed(error)
            finally:
                queue.task_done()

    async def _predict(self, told: _Told, calls: list[Json]) -> None:
        answer = await self._client.predict(calls, user_id=told.user, k=self._k, **self._source)
        told.answer = self._latest[told.user] = answer
        self._latest.move_to_end(told.user)
        while len(self._latest) > _USERS:
            self._latest.popitem(last=False)
        self.counts["predicted"] += 1
        if self._on_next is not None:
            done = self._on_next(told.user, answer)
            if inspect.isawaitable(done):
                await done

    async def _record(self, told: _Told) -> None:
        await self._client.events([told.event], user_id=told.user, **self._source)
        self.counts["recorded"] += 1

    def _failed(self, error: Exception) -> None:
        self.counts["failed"] += 1
        level = logging.DEBUG if isinstance(error, OpenSesameError) else logging.WARNING
        _log.log(level, "not told: %s: %s", type(error).__name__, error)


def _endpoint(scope: Scope) -> str:
    """METHOD /path?query of a request, without the values of what looks like a credential."""
    query = scope.get("query_string", b"").decode("latin-1")
    path = quote(scope["path"], safe="/:@!$&'()*+,;=~-._") + (f"?{query}" if query else "")
    return f"{scope['method']} {_SECRET.sub(lambda found: found[1], path)}"[:8000]
