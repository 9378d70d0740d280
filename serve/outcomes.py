"""The wire format of what users were seen to do: POST /events and POST /log_event.

Read like the bodies of `serve/schemas.py`, strictly and with the place of every mistake. What an outcome is worth is
the business of `pipeline/feedback.py`. Called by the ingress.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import pydantic

from pipeline.catalog.fetch import canonical_url
from pipeline.errors import BadRequest
from pipeline.settings import Settings
from pipeline.types import Call, Exposure, Observation, Source
from serve import schemas
from serve.calls import Event, Wire, read_call, read_time

_KEY_MAX = 255  # characters of an Idempotency-Key


class EventsRequest(Wire):
    """Calls that a user has made, in the order of their times."""

    model_config = pydantic.ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "example": {
                "user_id": "ana",
                "catalog": "billing",
                "events": [{"ts": "2026-01-31T12:00:00Z", "endpoint": "POST /v1/refunds"}],
            }
        },
    )

    user_id: schemas.UserId = None
    spec_url: schemas.Address | None = pydantic.Field(None, description="Address of the spec they belong to.")
    catalog: schemas.Name | None = pydantic.Field(
        None, description="Or the name of its catalog; without both the configured one."
    )
    events: Annotated[list[Event], pydantic.Field(min_length=1, max_length=1000)] = pydantic.Field(
        description="Each with its ts, by which a repetition is known; without one only under an Idempotency-Key."
    )


class LogEventRequest(Wire):
    """What happened to a proposition that was suggested."""

    model_config = pydantic.ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"example": {"event_type": "click", "user_id": "ana", "proposition_id": "travel-insurance"}},
    )

    event_type: Literal["impression", "click", "conversion"]
    user_id: schemas.UserId = None
    proposition_id: Annotated[str, pydantic.Field(min_length=1, max_length=128)]
    suggestion_id: Annotated[str, pydantic.Field(min_length=1, max_length=64)] | None = pydantic.Field(
        None, description="Of the answer that showed it; without one the user's last."
    )
    timestamp: str | None = pydantic.Field(None, description="ISO 8601; UTC when it names no zone")


@dataclasses.dataclass(frozen=True, slots=True)
class Reported:
    """What a request of POST /events says; its calls are not matched yet."""

    user: str
    source: Source
    calls: tuple[tuple[str, str, dict[str, Any]], ...]  # method, path, params
    unmatched: tuple[Observation, ...]

    def observations(self, operations: Sequence[str]) -> list[Observation]:
        """The calls as those of these operations."""
        return [
            msgspec.structs.replace(observation, operation=operation)
            for observation, operation in zip(self.unmatched, operations, strict=True)
        ]


def read_events(request: EventsRequest, settings: Settings, header_user: str, idempotency_key: str) -> Reported:
    """What is reported.

    Raises:
        BadRequest: no user, two users, two catalogs, an endpoint or a time that is none, or an event that could not be
            told from its repetition.
    """
    user, key, now = _user(request.user_id, header_user), _key(idempotency_key), time.time()
    if not user:
        raise BadRequest("Name the user whose calls these are: user_id or the header X-User-ID.")
    source = schemas.read_source(request, settings)
    if source.url:
        source = Source(url=canonical_url(source.url))
    calls, observations = [], []
    for i, event in enumerate(request.events):
        call = read_call(event, f"events.{i}")
        if call.ts is None and not key:
            raise BadRequest(
                f"events.{i}.ts is missing: a call is told from its repetition by its time, or by an Idempotency-Key."
            )
        once = f"{key} {i} {call.endpoint}" if call.ts is None else ""
        ts = now + i * 1e-6 if call.ts is None else call.ts  # a call without a time was just made, in this order
        calls.append((call.method, call.path, call.params))
        observations.append(Observation(ts, call.endpoint, "", once, _written(call)))
    return Reported(user, source, tuple(calls), tuple(observations))


def read_exposure(request: LogEventRequest, tenant: str, header_user: str, idempotency_key: str) -> Exposure:
    """The exposure a request tells of; raises BadRequest for two users or a time that is none."""
    read_time(request.timestamp, "timestamp")
    return Exposure(
        event=request.event_type,
        proposition=request.proposition_id,
        suggestion_id=request.suggestion_id or "",
        user=_user(request.user_id, header_user) or "anonymous",
        tenant=tenant,
        idempotency_key=_key(idempotency_key),
    )


def _written(call: Call) -> str:
    """The params of a call as one text, however they were ordered and wherever they stood; "" without any."""
    params = {name: value if isinstance(value, dict | list) else str(value) for name, value in call.params.items()}
    return json.dumps(params, sort_keys=True) if params else ""


def _user(named: str | None, header: str) -> str:
    if named is not None and header and header != named:
        raise BadRequest("user_id and the header X-User-ID name different users.")
    return named or header


def _key(key: str) -> str:
    if len(key) > _KEY_MAX:
        raise BadRequest(f"Idempotency-Key is longer than {_KEY_MAX} characters.")
    return key
