"""The asynchronous client, on asyncio or trio: the twin of `client.py`, method by method.

Requests are made by `wire.py`, repetitions decided by `retry.py`; this file sends. One client holds one pool of
connections and belongs to one event loop.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import anyio
import httpx2

from opensesame_client import wire
from opensesame_client.answers import Answer, Json, Prediction, Receipt, Recorded, Suggestion
from opensesame_client.client import endpoint_of, identity
from opensesame_client.retry import ATTEMPTS, Reply, Retry, address
from opensesame_client.session import AsyncSession

T = TypeVar("T")


class AsyncClient:
    """A way to one service; a context manager, which closes its connections."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        bearer: str | None = None,
        user_id: str | None = None,
        deadline_s: float = 30.0,
        attempts: int = ATTEMPTS,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """`deadline_s` is for a whole call with all its `attempts`; `user_id` is sent with each call that names none.

        `transport` replaces the network, as httpx2 has it: for tests and for applications mounted in process.

        Raises:
            WrongAddress: `url` is no http or https address.
        """
        self.url = address(url)
        self._deadline_s, self._attempts = deadline_s, attempts
        self._http = httpx2.AsyncClient(headers=identity(api_key, bearer, user_id), transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def predict(self, events: Sequence[wire.Event] = (), **options: Unpack[wire.PredictOptions]) -> Answer:
        """The next calls after `events` (oldest first); every method may raise what `errors.py` draws."""
        return await self.send(wire.predict(events, options))

    async def feedback(
        self,
        outcome: wire.Outcome,
        *,
        prediction_id: str | None = None,
        user_id: str | None = None,
        chosen: str | None = None,
        params: Json | None = None,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Say what the user did with a prediction; without an id the user's last one is meant."""
        return await self.send(
            wire.feedback(
                outcome,
                prediction_id=prediction_id,
                user_id=user_id,
                chosen=chosen,
                params=params,
                idempotency_key=idempotency_key,
            )
        )

    async def accept(self, answer: Answer, chosen: Prediction | str | None = None) -> Receipt:
        """The user took one of the shown calls; without `chosen` the first."""
        return await self.feedback("accept", prediction_id=answer.prediction_id, chosen=endpoint_of(chosen))

    async def override(self, answer: Answer, chosen: Prediction | str, params: Json | None = None) -> Receipt:
        """The user made another call instead: a lower one, or any of the catalog."""
        name = endpoint_of(chosen)
        return await self.feedback("override", prediction_id=answer.prediction_id, chosen=name, params=params)

    async def reject(self, answer: Answer) -> Receipt:
        """None was right."""
        return await self.feedback("reject", prediction_id=answer.prediction_id)

    async def events(
        self,
        made: Sequence[wire.Event],
        *,
        user_id: str | None = None,
        catalog: str | None = None,
        spec_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> Recorded:
        """Report calls that a user made: they answer the predictions before them."""
        return await self.send(
            wire.events(made, user_id=user_id, catalog=catalog, spec_url=spec_url, idempotency_key=idempotency_key)
        )

    async def suggest(self, context: str | Json | None = None, **options: Unpack[wire.SuggestOptions]) -> Suggestion:
        """The propositions that suit what the user looks for."""
        return await self.send(wire.suggest(context, options))

    async def log_event(
        self,
        event_type: str,
        proposition_id: str,
        *,
        user_id: str | None = None,
        suggestion_id: str | None = None,
        timestamp: datetime.datetime | str | None = None,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Say that a proposition was seen (`impression`), looked into (`click`) or gone through with (`conversion`).

        `timestamp` says when, as a datetime or ISO 8601 text; without it it is now.
        """
        return await self.send(
            wire.log_event(
                event_type,
                proposition_id,
                user_id=user_id,
                suggestion_id=suggestion_id,
                timestamp=timestamp,
                idempotency_key=idempotency_key,
            )
        )

    async def catalogs(self) -> Json:
        """The uploaded catalogs."""
        return await self.send(wire.get("catalogs"))

    async def catalog(self, name: str) -> Json:
        """One catalog with its operations and what of its spec could not be read."""
        return await self.send(wire.get("catalogs", name))

    async def put_catalog(self, name: str, document: bytes | str | Json | list[Json]) -> Json:
        """Upload a spec (JSON or YAML text, or parsed), or a list of propositions, under a name."""
        return await self.send(wire.put_catalog(name, document))

    async def delete_catalog(self, name: str) -> None:
        """Remove an uploaded catalog."""
        return await self.send(wire.delete_catalog(name))

    async def models(self) -> Json:
        """Every version of the ranker, and which serves."""
        return await self.send(wire.get("models"))

    async def model(self, version: str) -> Json:
        """A version with its figures and the report of the gate."""
        return await self.send(wire.get("models", version))

    async def compare_models(self, experiment: str | None = None) -> Json:
        """What users did with champion and challenger in `experiment`, else in the latest; all are named."""
        return await self.send(wire.get("models", "compare", experiment=experiment))

    async def challenge(self, version: str) -> Json:
        """Let a version challenge the champion, as the service's `experiments` say."""
        return await self.send(wire.operate({}, "models", version, "challenge"))

    async def end_challenge(self) -> Json:
        """Let nobody challenge the champion any more; what was counted stays."""
        return await self.send(wire.end_challenge())

    async def promote(self, version: str) -> Json:
        """Make a version the champion."""
        return await self.send(wire.operate({}, "models", version, "promote"))

    async def rollback(self) -> Json:
        """Go back to the champion before this one."""
        return await self.send(wire.operate({}, "models", "rollback"))

    async def train(self, *, force: bool = False) -> Json:
        """Start a training; `job_id` is what `training` takes."""
        return await self.send(wire.operate({"force": force}, "train"))

    async def training(self, job_id: str) -> Json:
        """How a training stands."""
        return await self.send(wire.get("train", job_id))

    async def cost_analytics(self) -> Json:
        """What language models cost today (UTC): spend and budget, by tier, and why they were asked or not."""
        return await self.send(wire.get("cost-analytics"))

    async def health(self) -> Json:
        """What each component says of itself."""
        return await self.send(wire.get("health"))

    async def ready(self) -> Json:
        """Returns once the service may have traffic: one that is starting is asked again, as by every method."""
        return await self.send(wire.get("ready"))

    def session(
        self, user_id: str | None = None, *, catalog: str | None = None, spec_url: str | None = None
    ) -> AsyncSession:
        """A session of one user on one catalog: records calls, asks for the next, says what became of it."""
        return AsyncSession(self, user_id, catalog=catalog, spec_url=spec_url)

    async def send(self, request: wire.Request[T]) -> T:
        """What a request of `wire.py` is answered with."""
        retry = Retry(self.url, deadline_s=self._deadline_s, attempts=self._attempts, is_safe=request.is_safe)
        while True:
            outcome = await self._attempt(request, retry)
            pause = retry.pause_s(outcome)
            if pause is None:
                return request.read(retry.answer(outcome))
            await anyio.sleep(pause)

    async def _attempt(self, request: wire.Request[T], retry: Retry) -> Reply | httpx2.TransportError:
        """What came of sending it once."""
        left = retry.left_s()
        try:
            with anyio.fail_after(left):
                response = await self._http.request(
                    request.method,
                    self.url + request.path,
                    content=request.content,
                    headers=request.headers,
                    timeout=left,
                )
                return Reply(response.status_code, response.headers, response.content)
        except TimeoutError:
            return httpx2.ReadTimeout(f"no answer within {left:.3g} s")
        except httpx2.TransportError as error:
            return error
