"""The OpenAPI document of the service: what each route takes, answers and refuses.

Bodies are read by hand, so FastAPI cannot know them. TOLD says of each route which form reads its body, which one its
answer has and which errors it raises; statuses, scopes and titles are those of `serve.envelope` and `serve.identity`.
Used by `serve.ingress`; people read it at /docs (`serve/reference.py`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
import pydantic

from pipeline import errors
from pipeline.errors import OpenSesameError
from pipeline.stores.registry import Version
from serve import documents, outcomes, schemas
from serve.compare import CompareResponse
from serve.costs import CostsResponse
from serve.envelope import TITLES, problem_json, status_of
from serve.identity import SECURITY, SERVE_USERS, Door, Handler
from serve.jobs import Training, TrainResponse
from serve.registered import Aliases, ModelsResponse
from serve.suggest import SuggestRequest, SuggestResponse

Json = dict[str, Any]
Kind = type[OpenSesameError]


class Told(NamedTuple):
    """What is told of a route, beside what all have."""

    answer: Any = None  # the form of what it answers; None is nothing at all, `str` a text
    problems: tuple[Kind, ...] = ()
    body: Any = None  # the form of the JSON it takes, `bytes` a document to upload
    status: int = 200
    parameters: tuple[str, ...] = ()  # of PARAMETERS, beside those of the path
    headers: tuple[str, ...] = ()  # of HEADERS, beside those that all have


_OF_BODY = (errors.BadRequest, errors.TooLarge, errors.UnsupportedMedia)
_OF_CATALOG = (
    errors.UnknownCatalog,
    errors.SpecInvalid,
    errors.CatalogPreparing,
    errors.StateUnavailable,
    errors.Unavailable,
)
_OF_RECORD = (errors.UnknownPrediction, errors.Conflict, errors.Gone, errors.StateUnavailable)
_OF_REGISTRY = (errors.RegistryUnavailable,)
_OF_JOBS = (errors.Unavailable, errors.RegistryUnavailable)

TOLD: dict[tuple[str, str], Told] = {
    ("POST", "/predict"): Told(
        documents.PredictResponse,
        (errors.GuardrailRefused, errors.SpecUnavailable, *_OF_CATALOG),
        schemas.PredictRequest,
        headers=("Server-Timing",),
    ),
    ("POST", "/suggest"): Told(SuggestResponse, (errors.GuardrailRefused, *_OF_CATALOG), SuggestRequest),
    ("POST", "/feedback"): Told(
        documents.FeedbackResponse,
        (*_OF_RECORD, *_OF_CATALOG),
        schemas.FeedbackRequest,
        202,
        ("Idempotency-Key",),
    ),
    ("POST", "/events"): Told(
        documents.EventsResponse,
        (errors.SpecUnavailable, *_OF_CATALOG),
        outcomes.EventsRequest,
        202,
        ("Idempotency-Key",),
    ),
    ("POST", "/log_event"): Told(
        documents.LogEventResponse, _OF_RECORD, outcomes.LogEventRequest, 202, ("Idempotency-Key",)
    ),
    ("GET", "/catalogs"): Told(documents.CatalogsResponse, (errors.StateUnavailable,)),
    ("PUT", "/catalogs/{name}"): Told(
        documents.CatalogSummary, (errors.SpecInvalid, errors.Unavailable, errors.StateUnavailable), bytes
    ),
    ("GET", "/catalogs/{name}"): Told(documents.CatalogResponse, (errors.BadRequest, *_OF_CATALOG)),
    ("DELETE", "/catalogs/{name}"): Told(
        None, (errors.BadRequest, errors.UnknownCatalog, errors.StateUnavailable), status=204
    ),
    ("GET", "/models"): Told(ModelsResponse, _OF_REGISTRY),
    ("GET", "/models/compare"): Told(
        CompareResponse, (errors.NotFound, errors.StateUnavailable), parameters=("experiment",)
    ),
    ("POST", "/models/rollback"): Told(Aliases, (errors.Conflict, *_OF_REGISTRY), schemas.OperatorRequest),
    ("GET", "/models/{version}"): Told(Version, (errors.UnknownModel, *_OF_REGISTRY)),
    ("POST", "/models/{version}/promote"): Told(
        Aliases, (errors.UnknownModel, errors.Conflict, *_OF_REGISTRY), schemas.OperatorRequest
    ),
    ("POST", "/models/{version}/challenge"): Told(
        Aliases, (errors.UnknownModel, errors.Conflict, *_OF_REGISTRY), schemas.OperatorRequest
    ),
    ("DELETE", "/models/challenger"): Told(Aliases, _OF_REGISTRY),
    ("POST", "/train"): Told(TrainResponse, (errors.Conflict, *_OF_JOBS), schemas.TrainRequest, 202),
    ("GET", "/train/{job_id}"): Told(Training, (errors.NotFound, *_OF_JOBS)),
    ("GET", "/cost-analytics"): Told(CostsResponse, (errors.BadRequest, errors.StateUnavailable), parameters=("day",)),
    ("GET", "/health"): Told(documents.HealthResponse),
    ("GET", "/ready"): Told(documents.ReadyResponse, (errors.Unavailable,)),
    ("GET", "/metrics"): Told(str),
}

_NAME = "Letters, digits, dots, hyphens and underscores, beginning with a letter or digit."
PARAMETERS: dict[str, Json] = {
    name: {"name": name, "in": where, "required": where == "path", "description": description, "schema": schema}
    for name, where, description, schema in (
        ("name", "path", _NAME, {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}),
        ("version", "path", "A ranker's version, as GET /models names it.", {"type": "string"}),
        ("job_id", "path", "As POST /train answered it.", {"type": "string"}),
        ("experiment", "query", "One of `experiments`; the latest without.", {"type": "string"}),
        ("day", "query", "YYYY-MM-DD (UTC), of the last weeks; today without.", {"type": "string", "format": "date"}),
        ("X-User-ID", "header", "Instead of `user_id` in the body.", {"type": "string", "maxLength": 128}),
        (
            "Idempotency-Key",
            "header",
            "The same request again under the same key changes nothing.",
            {"type": "string", "maxLength": 255},
        ),
        (
            "X-Request-ID",
            "header",
            "What the answer and the log call this request, when it is a plain token.",
            {"type": "string", "maxLength": 128},
        ),
    )
}
HEADERS: dict[str, Json] = {
    name: {"description": description, "schema": {"type": kind}}
    for name, description, kind in (
        ("X-Request-ID", "What this request is called, in problems and in the log.", "string"),
        ("Server-Timing", "Milliseconds by stage.", "string"),
        ("RateLimit", "What is left for now.", "string"),
        ("RateLimit-Policy", "How often one may ask.", "string"),
        ("Retry-After", "Seconds until it is worth asking again.", "integer"),
        ("WWW-Authenticate", "What to send.", "string"),
    )
}


_ABOUT = """Predicts the next API call from an OpenAPI spec, the calls just made and a sentence of intent.

Every route stands under `/v1` too. Errors are problem documents (RFC 9457)."""


def document(door: Door, handlers: Mapping[tuple[str, str], Handler]) -> Json:
    """The document of the routes in `handlers`, by method and path; `door` knows who may use them."""
    paths: dict[str, Json] = {}
    for (method, path), handler in handlers.items():
        told = TOLD[method, path]
        scopes = door.scopes(method, path)
        paths.setdefault(path, {})[method.lower()] = {
            "operationId": handler.__name__,
            "summary": handler.__name__.replace("_", " ").capitalize(),
            "description": handler.__doc__,
            "tags": [scopes[0] if scopes else "open"],
            "parameters": _parameters(path, told),
            **({"requestBody": _request(told.body)} if told.body is not None else {}),
            "responses": _answers(told, door.is_limited and bool(scopes)) | _problems(_raised(door, scopes, told)),
            **({} if door.is_open else {"security": [{scheme: [scope]} for scope in scopes for scheme in SECURITY]}),
        }
    components = {"schemas": _schemas(), "parameters": PARAMETERS, "headers": HEADERS, "examples": _examples()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "OpenSesame", "description": _ABOUT, "version": "1"},
        "paths": paths,
        "components": components if door.is_open else components | {"securitySchemes": SECURITY},
    }


def _parameters(path: str, told: Told) -> list[Json]:
    header = ("X-User-ID",) if path in SERVE_USERS else ()
    names = (*re.findall(r"{(\w+)}", path), *told.parameters, *header, "X-Request-ID")
    return [_reference("parameters", name) for name in names]


def _request(body: Any) -> Json:
    if body is not bytes:
        # Nothing said of a training is {}.
        return {"required": body is not schemas.TrainRequest, "content": {"application/json": {"schema": _form(body)}}}
    openapi = {"type": "object", "description": "An OpenAPI document.", "required": ["paths"]}
    offers = {"type": "array", "minItems": 1, "items": _reference("schemas", "Proposition")}
    read = {"schema": {"anyOf": [openapi, _reference("schemas", "Propositions"), offers]}}
    raw = {"schema": {"type": "string", "format": "binary"}}
    content = {"application/json": read, "application/yaml": read, "application/octet-stream": raw}
    return {"required": True, "content": content}


def _answers(told: Told, is_limited: bool) -> Json:
    limits = ("RateLimit", "RateLimit-Policy") if is_limited else ()
    answer: Json = {"headers": _named_headers(("X-Request-ID", *told.headers, *limits))}
    if told.answer is None:
        answer["description"] = "It is done."
    elif told.answer is str:
        answer["description"] = "Prometheus text, version 0.0.4."
        answer["content"] = {"text/plain": {"schema": {"type": "string"}}}
    else:
        answer["description"] = told.answer.__doc__.split("\n")[0]
        answer["content"] = {"application/json": {"schema": _form(told.answer)}}
    return {str(told.status): answer}


def _raised(door: Door, scopes: tuple[str, ...], told: Told) -> tuple[Kind, ...]:
    """Every error that a route may answer with."""
    kinds: tuple[Kind, ...] = told.problems if told.body is None else (*_OF_BODY, *told.problems)
    if door.is_open:
        kinds += (errors.Forbidden,)
    elif scopes:
        kinds += (errors.Unauthorized, errors.Forbidden, errors.StateUnavailable, errors.Unavailable)
        kinds += (errors.RateLimited,) if door.is_limited else ()
    return (*kinds, errors.Overloaded)


def _problems(kinds: Iterable[Kind]) -> Json:
    by_status: dict[int, dict[str, Json]] = {}
    for kind in sorted(kinds, key=status_of):
        by_status.setdefault(status_of(kind), {})[kind.slug] = _reference("examples", kind.slug)
    answers = {}
    for status, examples in by_status.items():
        more = ("Retry-After",) if status in (429, 503) else ("WWW-Authenticate",) if status == 401 else ()
        answers[str(status)] = {
            "description": f"{TITLES[status]}: {', '.join(f'`{slug}`' for slug in examples)}.",
            "headers": _named_headers(("X-Request-ID", *more)),
            "content": {"application/problem+json": {"schema": _form(documents.Problem), "examples": examples}},
        }
    return answers


def _named_headers(names: Iterable[str]) -> Json:
    return {name: _reference("headers", name) for name in names}


def _form(model: Any) -> Json:
    return _reference("schemas", model.__name__)


def _reference(where: str, name: str) -> Json:
    return {"$ref": f"#/components/{where}/{name}"}


@functools.cache
def _examples() -> dict[str, Json]:
    """A problem document of every slug that has a status."""
    detail, request_id = "What is wrong and what to mend, in a sentence.", "d10b3c34ba8a4a8692aa320b74a6ffd7"
    return {
        kind.slug: {
            "value": problem_json(
                status_of(kind), kind.slug, detail, request_id, "#/paths" if kind is errors.SpecInvalid else ""
            )
        }
        for kind in sorted(_tree(OpenSesameError), key=lambda kind: kind.slug)
        if status_of(kind) != 500
    }


def _tree(root: Kind) -> set[Kind]:
    return {root}.union(*(_tree(child) for child in root.__subclasses__()))


@functools.cache
def _schemas() -> dict[str, Json]:
    """The forms that TOLD names, and those within them."""
    models = [form for told in TOLD.values() for form in (told.answer, told.body) if form not in (None, str, bytes)]
    models = [*dict.fromkeys(models), documents.Problem, documents.Propositions]
    own = [model for model in models if issubclass(model, msgspec.Struct)]
    adapters = [pydantic.TypeAdapter(model) for model in models if model not in own]
    _, found = pydantic.TypeAdapter.json_schemas(
        [(i, "validation", adapter) for i, adapter in enumerate(adapters)], ref_template="#/components/schemas/{model}"
    )
    _, more = msgspec.json.schema_components(own, ref_template="#/components/schemas/{name}")
    return found["$defs"] | more
