"""What /docs says of the routes: their bodies, answers and problems.

Bodies are read by hand, so FastAPI cannot know them; the models are those that read (`serve.schemas` and its
neighbours) and those that only describe (`serve.documents`). Used by `serve.ingress`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import fastapi

from serve import documents, outcomes, schemas
from serve.costs import CostsResponse
from serve.envelope import TITLES
from serve.identity import SECURITY
from serve.suggest import SuggestRequest, SuggestResponse

_BODIES = (
    schemas.PredictRequest,
    schemas.FeedbackRequest,
    schemas.OperatorRequest,
    schemas.TrainRequest,
    outcomes.EventsRequest,
    outcomes.LogEventRequest,
    SuggestRequest,
    SuggestResponse,
    CostsResponse,
    documents.PredictResponse,
    documents.FeedbackResponse,
    documents.EventsResponse,
    documents.LogEventResponse,
    documents.Propositions,
    documents.Problem,
)


def describe(body: type | None, answer: type | None, *problems: int) -> dict[str, Any]:
    """What /docs says of a route that reads `body` and answers with `answer`, or with a problem of these statuses."""
    docs: dict[str, Any] = {"responses": {}}
    if body is bytes:
        openapi = {"type": "object", "description": "An OpenAPI document.", "required": ["paths"]}
        offers = {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Proposition"}}
        document = {"schema": {"anyOf": [openapi, {"$ref": "#/components/schemas/Propositions"}, offers]}}
        content: dict[str, Any] = dict.fromkeys(("application/json", "application/yaml"), document)
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
        docs["openapi_extra"] = {"requestBody": {"required": True, "content": content}}
    elif body is not None:
        reference = {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}
        docs["openapi_extra"] = {"requestBody": {"required": True, "content": {"application/json": reference}}}
    later = body in (schemas.FeedbackRequest, outcomes.EventsRequest, outcomes.LogEventRequest, schemas.TrainRequest)
    if answer is not None:
        docs["responses"][202 if later else 200] = {
            "description": "It is kept." if later else (answer.__doc__ or "The ranked next calls.").split("\n")[0],
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer.__name__}"}}},
        }
    if later:
        docs["status_code"] = 202
    for status in (400, 413, *problems) if body is not None else (400, *problems):
        reference = {"schema": {"$ref": "#/components/schemas/Problem"}}
        docs["responses"][status] = {
            "description": TITLES[status],
            "content": {"application/problem+json": reference},
        }
    return docs


def with_schemas(
    app: fastapi.FastAPI, openapi: Callable[[], dict[str, Any]], auth: str
) -> Callable[[], dict[str, Any]]:
    """The maker of the OpenAPI document, with the models that `describe` names."""

    @functools.cache  # it is asked for by whoever reaches the port, and takes 10 ms to make
    def document() -> dict[str, Any]:
        made = openapi()
        if auth != "none":
            made.setdefault("components", {})["securitySchemes"] = SECURITY
        known = made.setdefault("components", {}).setdefault("schemas", {})
        for model in _BODIES:
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            known |= schema.pop("$defs", {})
            known[model.__name__] = schema
        return made

    return document
