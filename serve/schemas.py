"""The wire format and its conversion to pipeline types.

Field names are what clients were promised; the older forms (`history`, `api_call`,
`max_predictions`) are read here and nowhere else. Bodies are parsed strictly by orjson (no NaN, no
lone surrogates) and validated in strict mode: an unknown field is refused with its name. Raises
only errors of `pipeline.errors`; called by the ingress and the CLI.
"""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

import orjson
import pydantic

from pipeline import guardrails
from pipeline.errors import BadRequest, TooLarge
from pipeline.ranking.table import FEATURES
from pipeline.settings import Settings
from pipeline.types import PROPOSITION_ID, SHOW, Answer, Call, Explanation, Feedback, Query, Source

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_ENDPOINT = re.compile(r"^([A-Za-z]{1,16})\s+(\S.*)$")
_ID = re.compile(PROPOSITION_ID)
_DEPTH_MAX = 32  # nesting of params and bodies; far above real calls, far below what recursion survives
_SAMPLE_ITEMS = 3  # of a list in a response sample: later items look like the first
_SAMPLE_KEYS = 64
_SAMPLE_TEXT = 256  # characters


class Wire(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class Response(Wire):
    status: Annotated[int, pydantic.Field(ge=100, le=599)]
    body: Any = None


class Event(Wire):
    """One past call."""

    ts: str | None = pydantic.Field(None, description="ISO 8601; UTC when it names no zone")
    endpoint: str = pydantic.Field(
        description="METHOD /path?query; of a catalog of propositions the id", examples=["GET /v1/charges/ch_123"]
    )
    params: dict[str, Any] = {}
    response: Response | None = None


class OlderEvent(Wire):
    """One past call as the older services wrote it."""

    api_call: str = pydantic.Field(description="/path or METHOD /path")
    method: str | None = None
    timestamp: str | None = None
    parameters: dict[str, Any] | None = None
    status: Annotated[int, pydantic.Field(ge=100, le=599)] | None = None


class PredictRequest(Wire):
    """What is asked of POST /predict."""

    model_config = pydantic.ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "example": {
                "user_id": "ana",
                "events": [{"endpoint": "GET /v1/charges/ch_123"}],
                "prompt": "refund the duplicate charge",
                "catalog": "billing",
                "k": 3,
            }
        },
    )

    user_id: Annotated[str, pydantic.Field(min_length=1, max_length=128)] | None = None
    events: list[Event] | None = None
    history: list[OlderEvent] | None = pydantic.Field(None, description="The older form of events.")
    prompt: str | None = None
    spec_url: Annotated[str, pydantic.Field(min_length=1, max_length=2048)] | None = None
    spec: dict[str, Any] | Annotated[list[dict[str, Any]], pydantic.Field(min_length=1)] | str | None = pydantic.Field(
        None, description="An inline OpenAPI document or list of propositions, up to 2 MiB."
    )
    catalog: Annotated[str, pydantic.Field(min_length=1, max_length=128)] | None = None
    k: int | None = None
    max_predictions: int | None = pydantic.Field(None, description="The older name of k.")
    temperature: Annotated[float, pydantic.Field(ge=0, le=2)] | None = None
    max_cost_usd: Annotated[float, pydantic.Field(ge=0)] | None = None
    deadline_ms: Annotated[int, pydantic.Field(ge=1, le=30000)] | None = None
    context: dict[Literal["device", "context_type"], Annotated[str, pydantic.Field(max_length=32)]] | None = None
    explain: bool = pydantic.Field(False, description="Tell what each prediction's score is made of.")


class OperatorRequest(Wire):
    """Nothing needs to be said."""


class TrainRequest(Wire):
    """What is asked of POST /train."""

    force: bool = pydantic.Field(False, description="Also when no training is due.")


class Chosen(Wire):
    endpoint: str
    params: dict[str, Any] = {}


class FeedbackRequest(Wire):
    """What the user did with a prediction."""

    model_config = pydantic.ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"example": {"user_id": "ana", "feedback": "accept"}}
    )

    prediction_id: Annotated[str, pydantic.Field(min_length=1, max_length=64)] | None = None
    user_id: Annotated[str, pydantic.Field(min_length=1, max_length=128)] | None = None
    feedback: Literal["accept", "override", "reject"]
    chosen: Chosen | None = None


def read_json(body: bytes, model: type[Wire]) -> Any:
    """The body as `model`.

    Raises:
        BadRequest: no JSON, or not of the model's form; the detail names the place.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None
    return read_value(value, model)


def read_value(value: Any, model: type[Wire]) -> Any:
    """`value`, parsed JSON, as `model`; raises BadRequest like `read_json`."""
    if not isinstance(value, dict):
        raise BadRequest(f"The body must be a JSON object, not {_kind(value)}.")
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        shown = "; ".join(f"{_place(p['loc'])}: {_say(p)}" for p in problems[:5])
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise BadRequest(shown + more) from None


def to_query(request: PredictRequest, settings: Settings, *, tenant: str, header_user: str = "") -> Query:
    """The query a request asks for.

    Raises:
        BadRequest: fields that exclude each other, k or deadline out of range, an endpoint that is none.
        TooLarge: the inline spec is over its limit.
    """
    limits = settings.predict
    if request.events is not None and request.history is not None:
        raise BadRequest("Send events or history, not both: history is the older form of events.")
    if request.k is not None and request.max_predictions is not None:
        raise BadRequest("Send k or max_predictions, not both: max_predictions is the older name of k.")
    k = request.k if request.k is not None else request.max_predictions
    if k is None:
        k = limits.k_default
    elif not 1 <= k <= limits.k_max:
        raise BadRequest(f"k must be between 1 and {limits.k_max}; it is {k}.")
    if request.user_id is not None and header_user and header_user != request.user_id:
        raise BadRequest("user_id and the header X-User-ID name different users.")
    if request.prompt is not None and len(request.prompt) > limits.prompt_max:
        raise BadRequest(f"prompt has {len(request.prompt)} characters; at most {limits.prompt_max} are read.")
    deadline_s = limits.deadline_default_s if request.deadline_ms is None else request.deadline_ms / 1000
    if request.history is not None:
        calls = tuple(_older_call(event, f"history.{i}") for i, event in _last(request.history, limits.history_max))
    else:
        calls = tuple(read_call(event, f"events.{i}") for i, event in _last(request.events or [], limits.history_max))
    return Query(
        source=read_source(request, settings),
        calls=calls,
        prompt=request.prompt or "",
        k=k,
        user=request.user_id or header_user or "anonymous",
        tenant=tenant,
        deadline_s=min(deadline_s, limits.deadline_max_s),
        temperature=request.temperature or 0.0,
        max_cost_usd=request.max_cost_usd,
        context={str(key): value for key, value in (request.context or {}).items()},
        explain=request.explain,
        today=datetime.datetime.now(datetime.UTC).date(),
    )


def to_feedback(request: FeedbackRequest, *, tenant: str, header_user: str = "", idempotency_key: str = "") -> Feedback:
    """The feedback a request gives; raises BadRequest for a chosen endpoint that is none."""
    chosen = ""
    if request.chosen is not None:
        method, path, _ = split_endpoint(request.chosen.endpoint, "chosen.endpoint")
        chosen = f"{method} {path}"
    if len(idempotency_key) > 255:
        raise BadRequest("Idempotency-Key is longer than 255 characters.")
    return Feedback(
        outcome=request.feedback,
        chosen=chosen,
        prediction_id=request.prediction_id or "",
        user=request.user_id or header_user or "anonymous",
        tenant=tenant,
        idempotency_key=idempotency_key,
    )


def answer_json(answer: Answer) -> dict[str, Any]:
    """The answer as POST /predict sends it."""
    grounded, proposal = answer.grounded, answer.proposal
    predictions = []
    for p in answer.predictions:
        c = p.candidate
        offer = c.is_proposition
        predictions.append(
            {
                "rank": p.rank,
                **({"id": c.operation_id, "title": c.summary} if offer else {}),
                "endpoint": c.endpoint,
                "method": None if offer else c.method,
                "path": None if offer else c.path,
                "operation_id": None if offer else c.operation_id or None,
                "summary": c.summary,
                "params": c.params,
                "missing_params": list(c.missing_params),
                "confidence": round(p.confidence, 4),
                "score": round(p.score, 4),
                "reason": c.reason,
                "sources": list(c.sources),
                "is_destructive": bool(c.destructive),
                "flags": list(guardrails.suspicions(c)),
                **({"explanation": _explanation(p.explanation)} if p.explanation else {}),
            }
        )
    metadata: dict[str, Any] = {
        "catalog": grounded.digest,
        "operations": grounded.operations,
        "model_version": answer.model_version,
        "served_by": "generator+ranker" if proposal else "ranker",
        "cold_start": not grounded.previous,
        "degraded": list(answer.degraded),
        "unmatched": list(grounded.unmatched),
        "flags": list(answer.flags),
        "experiment": {"arm": answer.arm},
        "route": {
            "tier": answer.route.tier,
            "reason": answer.route.reason,
            "gain": round(answer.route.gain, 4),
            "cost_usd": round(answer.route.cost_usd, 9),
        },
    }
    if proposal is not None:
        metadata["generator"] = {
            "model": proposal.model,
            "tier": proposal.tier,
            "tokens_in": proposal.tokens_in,
            "tokens_cached": proposal.tokens_cached,
            "tokens_out": proposal.tokens_out,
            "cost_usd": round(proposal.cost_usd, 9),
        }
    metadata["timings_ms"] = {name: round(value * 1000, 2) for name, value in answer.timings_s.items()}
    return {"prediction_id": answer.prediction_id, "predictions": predictions, "metadata": metadata}


def _explanation(told: Explanation) -> dict[str, Any]:
    parts = []
    for column, value, part in told.parts:
        name, meaning, group, *_ = FEATURES[column]
        told_value = round(value, 4)  # NaN, which becomes null, where there was nothing to look at
        parts.append({"feature": name, "group": group, "meaning": meaning, "value": told_value, "part": round(part, 4)})
    rest = told.above - sum(part for _, _, part in told.parts)
    return {"parts": parts, "rest": round(rest, 4), "ranker_confidence": round(told.ranker, 4)}


def dump(value: Any) -> bytes:
    """JSON; what cannot be said in JSON (a huge integer of a client's params) becomes text."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except (orjson.JSONEncodeError, TypeError):
        return orjson.dumps(_jsonable(value))


def split_endpoint(endpoint: str, place: str) -> tuple[str, str, dict[str, str]]:
    """Method in upper case, path without query, and the query's parameters, of `METHOD /path?query`.

    The id of a proposition stands for SHOW /id; whether the catalog holds any is seen once it is there.

    Raises:
        BadRequest: no method, a method that HTTP does not have, or no path.
    """
    found = _ENDPOINT.match(endpoint.strip()) if len(endpoint) <= 8192 else None
    if found is None:
        if _ID.fullmatch(endpoint.strip()):
            return SHOW, f"/{endpoint.strip()}", {}
        if len(endpoint) > 8192:
            raise BadRequest(f"{place} is longer than 8192 characters.")
        raise BadRequest(f"{place} must be 'METHOD /path', such as 'GET /v1/charges/ch_123'; it is {endpoint[:80]!r}.")
    method = found[1].upper()
    if method not in METHODS:
        raise BadRequest(f"{place}: {found[1]!r} is no HTTP method; use one of {', '.join(METHODS)}.")
    target = found[2].split("#", 1)[0]
    path, _, query = target.partition("?")
    if not path.startswith(("/", "http://", "https://")):
        raise BadRequest(f"{place}: the path must start with '/'; it is {path[:80]!r}.")
    try:
        params = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=200))
    except ValueError:
        raise BadRequest(f"{place}: the query string has more than 200 fields.") from None
    return method, path, params


def read_call(event: Event, place: str) -> Call:
    """The call an event tells of; raises BadRequest with its place."""
    method, path, params = split_endpoint(event.endpoint, f"{place}.endpoint")
    check_depth(event.params, f"{place}.params")
    response = event.response
    return Call(
        method=method,
        path=path,
        params={**params, **event.params},
        ts=read_time(event.ts, f"{place}.ts"),
        status=response.status if response else None,
        body=_sample(response.body, f"{place}.response.body") if response else None,
    )


def _older_call(event: OlderEvent, place: str) -> Call:
    text = event.api_call.strip()
    has_method = bool(re.match(r"^[A-Za-z]+\s", text))
    if event.method is not None and has_method and text.split(None, 1)[0].upper() != event.method.upper():
        raise BadRequest(f"{place}: api_call and method name different methods.")
    endpoint = text if has_method else f"{event.method or 'GET'} {text}"
    method, path, params = split_endpoint(endpoint, f"{place}.api_call")
    check_depth(event.parameters, f"{place}.parameters")
    return Call(
        method=method,
        path=path,
        params={**params, **(event.parameters or {})},
        ts=read_time(event.timestamp, f"{place}.timestamp"),
        status=event.status,
    )


def read_source(request: Any, settings: Settings) -> Source:
    """The one catalog a request names, the default one when it names none.

    Raises:
        BadRequest: it names two, or none and there is no default.
        TooLarge: the inline spec is over its limit.
    """
    spec = getattr(request, "spec", None)
    named = [name for name in ("spec_url", "spec", "catalog") if getattr(request, name, None) is not None]
    if len(named) > 1:
        raise BadRequest(f"Name one catalog: {' and '.join(named)} exclude each other.")
    if spec is not None:
        data = spec.encode() if isinstance(spec, str) else dump(spec)
        limit = settings.parse.inline_limit_bytes
        if len(data) > limit:
            raise TooLarge(
                f"spec has {len(data)} bytes; inline at most {limit}: upload it with PUT /catalogs/{{name}}."
            )
        return Source(data=data)
    if request.spec_url is not None:
        return Source(url=request.spec_url)
    name = request.catalog or settings.server.default_catalog
    if not name:
        raise BadRequest("Name a catalog: spec_url, spec or catalog.")
    return Source(name=name)


def _last(events: list[Any], limit: int) -> list[tuple[int, Any]]:
    start = max(0, len(events) - limit)
    return list(enumerate(events[start:], start))


def read_time(text: str | None, place: str) -> float | None:
    """Seconds since the epoch of an ISO 8601 time, None of None; raises BadRequest with its place."""
    if text is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise BadRequest(
            f"{place} must be an ISO 8601 time, such as 2026-01-31T12:00:00Z; it is {text[:40]!r}."
        ) from None


def check_depth(value: Any, place: str) -> None:
    """Return when the value is nested no deeper than is read; raises BadRequest with its place."""
    level = [value]
    for _ in range(_DEPTH_MAX):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise BadRequest(f"{place} is nested deeper than {_DEPTH_MAX} levels.")


def _sample(value: Any, place: str) -> Any:
    check_depth(value, place)
    return _shorten(value)


def _shorten(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[:_SAMPLE_TEXT]: _shorten(value[key]) for key in list(value)[:_SAMPLE_KEYS]}
    if isinstance(value, list):
        return [_shorten(item) for item in value[:_SAMPLE_ITEMS]]
    return value[:_SAMPLE_TEXT] if isinstance(value, str) else value


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:64] for part in location) or "the body"


def _say(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return "there is no such field"
    if problem["type"] in ("model_type", "model_attributes_type"):
        return "it must be a JSON object: see /docs for its fields"
    return problem["msg"][0].lower() + problem["msg"][1:]


def _kind(value: Any) -> str:
    return {list: "a list", str: "a string", type(None): "null"}.get(type(value), f"a {type(value).__name__}")
