"""The wire format and its conversion to pipeline types.

Field names are what clients were promised; the older forms (`history`, `max_predictions`) are read here
and nowhere else, calls in `serve.calls`. Bodies are parsed strictly by orjson (no NaN, no
lone surrogates) and validated in strict mode: an unknown field is refused with its name. Raises
only errors of `pipeline.errors`; called by the ingress and the CLI.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

import orjson
import pydantic

from pipeline import guardrails
from pipeline.errors import BadRequest, SpecInvalid, TooLarge
from pipeline.ranking.table import FEATURES
from pipeline.settings import Settings
from pipeline.types import Answer, Explanation, Feedback, Prediction, Query, Source
from serve import documents
from serve.calls import Event, OlderEvent, Wire, read_call, read_older_call, split_endpoint

UserId = Annotated[
    Annotated[str, pydantic.Field(min_length=1, max_length=128)] | None,
    pydantic.Field(description="Whose it is; the header X-User-ID says it too."),
]
Name = Annotated[str, pydantic.Field(min_length=1, max_length=128)]  # of a catalog
Address = Annotated[str, pydantic.Field(min_length=1, max_length=2048)]


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

    user_id: UserId = None
    events: list[Event] | None = pydantic.Field(None, description="Past calls, oldest first; the last 100 are read.")
    history: list[OlderEvent] | None = pydantic.Field(None, description="The older form of events.")
    prompt: str | None = pydantic.Field(None, description="A sentence of intent, at most 4096 characters.")
    spec_url: Address | None = pydantic.Field(None, description="Address of a spec: public, http or https.")
    spec: dict[str, Any] | Annotated[list[dict[str, Any]], pydantic.Field(min_length=1)] | str | None = pydantic.Field(
        None, description="An inline OpenAPI document or list of propositions, up to 2 MiB."
    )
    catalog: Name | None = pydantic.Field(
        None, description="Name of an uploaded or packaged catalog; without one, spec or spec_url the configured one."
    )
    k: int | None = pydantic.Field(None, description="How many, 1 to 50; 5 when it is left out.")
    max_predictions: int | None = pydantic.Field(None, description="The older name of k.")
    temperature: Annotated[float, pydantic.Field(ge=0, le=2)] | None = pydantic.Field(
        None, description="Of a language model; 0 when it is left out."
    )
    max_cost_usd: Annotated[float, pydantic.Field(ge=0)] | None = pydantic.Field(
        None, description="The most that a language model may cost here; 0 is none that has a price."
    )
    deadline_ms: Annotated[int, pydantic.Field(ge=1, le=30000)] | None = pydantic.Field(
        None, description="Until when an answer is worth something; 1000 when it is left out."
    )
    context: dict[Literal["device", "context_type"], Annotated[str, pydantic.Field(max_length=32)]] | None = (
        pydantic.Field(None, description="Checked, not used.")
    )
    explain: bool = pydantic.Field(False, description="Tell what each prediction's score is made of.")


class OperatorRequest(Wire):
    """Nothing needs to be said."""


class TrainRequest(Wire):
    """What is asked of POST /train."""

    force: bool = pydantic.Field(default=False, description="Also when no training is due.")


class Chosen(Wire):
    """The call that was made: of override another one, of accept one that was shown."""

    endpoint: str = pydantic.Field(description="METHOD /path; of a catalog of propositions the id")
    params: dict[str, Any] = pydantic.Field({}, description="Its arguments.")


class FeedbackRequest(Wire):
    """What the user did with a prediction."""

    model_config = pydantic.ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"example": {"user_id": "ana", "feedback": "accept"}}
    )

    prediction_id: Annotated[str, pydantic.Field(min_length=1, max_length=64)] | None = pydantic.Field(
        None, description="Which prediction; without one the user's last."
    )
    user_id: UserId = None
    feedback: Literal["accept", "override", "reject"] = pydantic.Field(
        description="override: another call was made; reject: none was right."
    )
    chosen: Chosen | None = pydantic.Field(None, description="override needs it; accept means rank 1 without.")


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
        calls = tuple(read_older_call(event, f"history.{i}") for i, event in _last(request.history, limits.history_max))
    else:
        calls = tuple(read_call(event, f"events.{i}") for i, event in _last(request.events or [], limits.history_max))
    return Query(
        source=read_source(request, settings),
        calls=calls,
        unread=len(request.history or request.events or []) - len(calls),
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
    metadata: documents.Metadata = {
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
        "timings_ms": {name: round(value * 1000, 2) for name, value in answer.timings_s.items()},
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
    predictions = [_prediction(p) for p in answer.predictions]
    return {"prediction_id": answer.prediction_id, "predictions": predictions, "metadata": metadata}


def _prediction(p: Prediction) -> documents.PredictionOut:
    c = p.candidate
    offer = c.is_proposition
    told: documents.PredictionOut = {
        "rank": p.rank,
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
    }
    if offer:
        told["id"], told["title"] = c.operation_id, c.summary
    if p.explanation:
        told["explanation"] = _explanation(p.explanation)
    return told


def _explanation(told: Explanation) -> documents.Explanation:
    parts: list[documents.Part] = []
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


def read_source(request: Any, settings: Settings) -> Source:
    """The one catalog a request names, the default one when it names none.

    Raises:
        BadRequest: it names two, or none and there is no default.
        TooLarge: the inline spec is over its limit.
        SpecInvalid: it is nested too deep.
    """
    spec = getattr(request, "spec", None)
    named = [name for name in ("spec_url", "spec", "catalog") if getattr(request, name, None) is not None]
    if len(named) > 1:
        raise BadRequest(f"Name one catalog: {' and '.join(named)} exclude each other.")
    if spec is not None:
        try:
            data = spec.encode() if isinstance(spec, str) else dump(spec)
        except TypeError:  # orjson's limit of nesting
            raise SpecInvalid("The spec is nested too deep: no more than 100 levels are read.") from None
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
