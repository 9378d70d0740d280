"""A session: the calls one user makes, in order, and what is asked in between.

`Session` speaks through a `Client`, `AsyncSession` through an `AsyncClient`. Both report the recorded calls to the
service before they ask, so that each call answers the prediction before it, and learning needs no further word.
Reporting needs a user: without one the calls are history of this session alone.
"""

from __future__ import annotations

import contextlib
import datetime
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from opensesame_client import wire
from opensesame_client.answers import Answer, Json, Prediction, Receipt
from opensesame_client.errors import OpenSesameError, Unavailable, Unreachable

if TYPE_CHECKING:
    from opensesame_client.aio import AsyncClient
    from opensesame_client.client import Client

_HISTORY = 100  # calls; the service reads no more
_WAITING = 1000  # calls not reported yet; the service takes so many at once


class _Calls:
    """What a session remembers."""

    def __init__(self, user_id: str | None, catalog: str | None, spec_url: str | None) -> None:
        self.calls: deque[Json] = deque(maxlen=_HISTORY)
        self.unreported: deque[Json] = deque(maxlen=_WAITING)  # recorded while the service could not take them
        self.answer: Answer | None = None
        self._user_id = user_id
        self._source: Any = {"catalog": catalog, "spec_url": spec_url}
        self._last = datetime.datetime.min.replace(tzinfo=datetime.UTC)

    def record(
        self,
        endpoint: str,
        *,
        params: Json | None = None,
        status: int | None = None,
        body: Any = None,
        ts: datetime.datetime | None = None,
    ) -> None:
        """A call that was just made, or at `ts`; a sample of the answer's `body` buys better arguments."""
        now = datetime.datetime.now(datetime.UTC)
        if ts is None:  # two calls of one instant keep their order
            ts = self._last = max(now, self._last + datetime.timedelta(microseconds=1))
        made = wire.event(endpoint, params=params, status=status, body=body, ts=ts)
        self.calls.append(made)
        if self._user_id is not None:
            self.unreported.append(made)

    def _query(self, options: wire.PredictOptions) -> wire.PredictOptions:
        user: Any = {} if self._user_id is None else {"user_id": self._user_id}
        query: wire.PredictOptions = {**self._source, **user, **options}
        return query

    def _report(self) -> tuple[list[Json], Any]:
        return list(self.unreported), {"user_id": self._user_id, **self._source}

    def _reported(self, made: list[Json]) -> None:
        for _ in made:
            self.unreported.popleft()

    def _answered(self) -> Answer:
        if self.answer is None:
            raise OpenSesameError("Nothing was asked in this session yet: call next() first.")
        if self.answer.prediction_id is None:
            raise OpenSesameError(
                "The prediction has no id, for the service's state was away: nothing can be said of it."
            )
        return self.answer

    def _shown(self, chosen: int | Prediction | str) -> Prediction | str:
        if not isinstance(chosen, int):
            return chosen
        shown = self._answered().predictions
        if not 1 <= chosen <= len(shown):
            raise OpenSesameError(f"There is no rank {chosen}: {len(shown)} were shown.")
        return shown[chosen - 1]


class Session(_Calls):
    """A session through a blocking client; as a context manager it reports what is left."""

    def __init__(
        self, client: Client, user_id: str | None = None, *, catalog: str | None = None, spec_url: str | None = None
    ) -> None:
        super().__init__(user_id, catalog, spec_url)
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.flush()

    def next(self, **options: Unpack[wire.PredictOptions]) -> Answer:
        """What the user is likely to call next; a prompt and k are the options mostly wanted."""
        with contextlib.suppress(Unavailable, Unreachable):  # they stay in `unreported` until the next time
            self.flush()
        self.answer = self._client.predict(list(self.calls), **self._query(options))
        return self.answer

    def flush(self) -> None:
        """Report what was recorded since the last time."""
        made, where = self._report()
        if made:
            self._client.events(made, **where)
            self._reported(made)

    def accept(self, chosen: int | Prediction | str = 1) -> Receipt:
        """The user took the shown call of that rank."""
        return self._client.accept(self._answered(), self._shown(chosen))

    def override(self, chosen: int | Prediction | str, params: Json | None = None) -> Receipt:
        """The user made another call instead."""
        return self._client.override(self._answered(), self._shown(chosen), params)

    def reject(self) -> Receipt:
        """None was right."""
        return self._client.reject(self._answered())


class AsyncSession(_Calls):
    """A session through an asynchronous client; as a context manager it reports what is left."""

    def __init__(
        self,
        client: AsyncClient,
        user_id: str | None = None,
        *,
        catalog: str | None = None,
        spec_url: str | None = None,
    ) -> None:
        super().__init__(user_id, catalog, spec_url)
        self._client = client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if kind is None:
            await self.flush()

    async def next(self, **options: Unpack[wire.PredictOptions]) -> Answer:
        """What the user is likely to call next; a prompt and k are the options mostly wanted."""
        with contextlib.suppress(Unavailable, Unreachable):  # they stay in `unreported` until the next time
            await self.flush()
        self.answer = await self._client.predict(list(self.calls), **self._query(options))
        return self.answer

    async def flush(self) -> None:
        """Report what was recorded since the last time."""
        made, where = self._report()
        if made:
            await self._client.events(made, **where)
            self._reported(made)

    async def accept(self, chosen: int | Prediction | str = 1) -> Receipt:
        """The user took the shown call of that rank."""
        return await self._client.accept(self._answered(), self._shown(chosen))

    async def override(self, chosen: int | Prediction | str, params: Json | None = None) -> Receipt:
        """The user made another call instead."""
        return await self._client.override(self._answered(), self._shown(chosen), params)

    async def reject(self) -> Receipt:
        """None was right."""
        return await self._client.reject(self._answered())
