"""Every request of the service as a value: what is sent, whether it may be repeated, how its answer is read.

Nothing is sent here: `client.py` and `aio.py` send, `retry.py` decides about repetitions. What moves something carries
an Idempotency-Key, so that a repetition after a broken connection counts once.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote, urlencode

from opensesame_client.answers import Answer, Json, Receipt, Recorded, Suggestion

T = TypeVar("T")
Event = str | Mapping[str, Any]  # "METHOD /path", or {endpoint, params?, ts?, response?: {status, body?}}
Outcome = Literal["accept", "override", "reject"]

_SAMPLE_ITEMS = 3  # of a list in a body: later ones look like the first; the service keeps no more
_SAMPLE_TEXT = 256  # characters


class PredictOptions(TypedDict, total=False):
    """Fields of POST /predict beside the calls; catalog, spec_url and spec exclude each other."""

    prompt: str | None
    catalog: str
    spec_url: str
    spec: Json | str
    k: int
    user_id: str
    temperature: float
    max_cost_usd: float
    deadline_ms: int
    context: dict[str, str]
    explain: bool  # each prediction then says what its score is made of


class SuggestOptions(TypedDict, total=False):
    """Fields of POST /suggest."""

    user_id: str
    context_type: str
    device: str
    limit: int
    catalog: str


@dataclasses.dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One request; `is_safe` when repeating it after a broken connection changes nothing more."""

    method: str
    path: str
    read: Callable[[Any], T]
    content: bytes | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    is_safe: bool = True


def event(
    endpoint: str, *, params: Json | None = None, status: int | None = None, body: Any = None, ts: Any = None
) -> Json:
    """One past call as the wire has it; `ts` is a datetime, an ISO 8601 text or None. Of a body a sample is kept."""
    found: Json = {"endpoint": endpoint}
    if params:
        found["params"] = params
    if ts is not None:
        found["ts"] = _time(ts)
    if status is not None:
        found["response"] = {"status": status} | ({"body": sample(body)} if body is not None else {})
    return found


def sample(value: Any, depth: int = 8) -> Any:
    """The first items of lists and the beginning of texts, as deep as the service looks."""
    match value:
        case str():
            return value[:_SAMPLE_TEXT]
        case dict():
            return {str(k): sample(v, depth - 1) for k, v in list(value.items())[:64]} if depth else None
        case list() | tuple():
            return [sample(v, depth - 1) for v in value[:_SAMPLE_ITEMS]] if depth else None
    return value


def predict(events: Sequence[Event], options: PredictOptions) -> Request[Answer]:
    body = {"events": _events(events)} | {k: v for k, v in options.items() if v is not None}
    return _post("/predict", body, Answer.read)


def feedback(
    outcome: Outcome,
    *,
    prediction_id: str | None,
    user_id: str | None,
    chosen: str | None,
    params: Json | None,
    idempotency_key: str | None,
) -> Request[Receipt]:
    body: Json = {"feedback": outcome, "prediction_id": prediction_id, "user_id": user_id}
    if chosen:
        body["chosen"] = {"endpoint": chosen} | ({"params": params} if params else {})
    return _post("/feedback", _given(body), Receipt.read, idempotency_key)


def events(
    made: Sequence[Event],
    *,
    user_id: str | None,
    catalog: str | None,
    spec_url: str | None,
    idempotency_key: str | None,
) -> Request[Recorded]:
    body = {"user_id": user_id, "catalog": catalog, "spec_url": spec_url, "events": _events(made)}
    return _post("/events", _given(body), Recorded.read, idempotency_key)


def suggest(context: str | Json | None, options: SuggestOptions) -> Request[Suggestion]:
    return _post("/suggest", _given({"context": context, **options}), Suggestion.read)


def log_event(
    event_type: str,
    proposition_id: str,
    *,
    user_id: str | None,
    suggestion_id: str | None,
    timestamp: datetime.datetime | str | None,
    idempotency_key: str | None,
) -> Request[Receipt]:
    body = {
        "event_type": event_type,
        "proposition_id": proposition_id,
        "user_id": user_id,
        "suggestion_id": suggestion_id,
        "timestamp": None if timestamp is None else _time(timestamp),
    }
    return _post("/log_event", _given(body), Receipt.read, idempotency_key)


def get(*path: str, **query: str | None) -> Request[Json]:
    given = urlencode(_given(query))
    return Request("GET", _path(*path) + (f"?{given}" if given else ""), dict)


def put_catalog(name: str, document: bytes | str | Json | list[Json]) -> Request[Json]:
    data = document.encode() if isinstance(document, str) else document
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Request("PUT", _path("catalogs", name), dict, content, {"content-type": "application/octet-stream"})


def delete_catalog(name: str) -> Request[None]:
    return Request("DELETE", _path("catalogs", name), lambda found: None)


def end_challenge() -> Request[Json]:
    return Request("DELETE", _path("models", "challenger"), dict)


def operate(body: Json, *path: str) -> Request[Json]:
    """A request that must not happen twice: it is repeated only when it did not reach the service."""
    return dataclasses.replace(_post(_path(*path), body, dict), is_safe=False)


def _post(path: str, body: Json, read: Callable[[Any], T], key: str | None = None) -> Request[T]:
    headers = {"content-type": "application/json"}
    if path not in ("/predict", "/suggest"):  # those move nothing
        headers["idempotency-key"] = key or uuid.uuid4().hex
    return Request("POST", path, read, json.dumps(body, allow_nan=False).encode(), headers)


def _time(moment: datetime.datetime | str) -> str:
    return moment.astimezone(datetime.UTC).isoformat() if isinstance(moment, datetime.datetime) else moment


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _given(body: Json) -> Json:
    return {name: value for name, value in body.items() if value is not None}


def _events(made: Sequence[Event]) -> list[Mapping[str, Any]]:
    return [{"endpoint": one} if isinstance(one, str) else one for one in made]
