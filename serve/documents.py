"""What the OpenAPI document says of answers and of uploaded lists: forms that describe and never read.

Builders are annotated with them, and the tests of `tests/serve` hold every answer they get against them. Answers that
are built in a file of their own have their forms there: `serve.suggest`, `serve.costs`, `serve.compare`,
`serve.registered`, `serve.jobs`. Uploads are read where catalogs are parsed, other requests by `serve.schemas`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, NotRequired, get_args

import pydantic
from pydantic.fields import FieldInfo
from typing_extensions import TypedDict

from pipeline.candidates.route import Reason
from pipeline.ranking.experiments import ARMS
from pipeline.types import PROPOSITION_ID


def field(description: str = "", one_of: Iterable[str] = ()) -> FieldInfo:
    """A field's description, and the words that a text is one of."""
    extra: dict[str, Any] = {"enum": list(one_of)} if one_of else {}
    return pydantic.Field(description=description or None, json_schema_extra=extra)


Digest = Annotated[str, field("Digest of the spec.")]
Arm = Annotated[str, field("Which ranker ordered it, while two are compared.", ARMS)]
Tier = Annotated[str, field("Which language model was asked.", ("none", "small", "large"))]
DIGEST = "sha256:c0d6aa2e6af31ebba957ac05f4b4c83b7861940a254fd64c6f85e95b112683fc"


@pydantic.with_config(
    json_schema_extra={
        "example": {
            "type": "urn:opensesame:bad_request",
            "title": "The request is malformed",
            "status": 400,
            "detail": "k must be between 1 and 50; it is 99.",
            "slug": "bad_request",
            "request_id": "d10b3c34ba8a4a8692aa320b74a6ffd7",
        }
    }
)
class Problem(TypedDict):
    """An error (RFC 9457, application/problem+json)."""

    type: Annotated[str, field("urn:opensesame: and the slug.")]
    title: str
    status: int
    detail: Annotated[str, field("What is wrong and what to mend, for people.")]
    slug: Annotated[str, field("What is wrong, for programs: each status says which it may be.")]
    request_id: Annotated[str, field("As in the header X-Request-ID.")]
    where: NotRequired[Annotated[str, field("Of a spec that cannot be read: a JSON pointer, line or byte.")]]


# Predictions


class Part(TypedDict):
    """A feature of the ranker, and what it did to a score."""

    feature: str
    group: Annotated[str, field("What it looks at, such as prompt, meaning, last or state.")]
    meaning: str
    value: Annotated[float | None, field("Of this candidate; null where there was nothing to look at.")]
    part: Annotated[float, field("What it adds to the ranker's raw score, above the shortlist's mean.")]


class Explanation(TypedDict):
    """What the score is made of: parts and rest add up to what it has above the mean of the shortlist."""

    parts: Annotated[list[Part], field("The features that raise it most, strongest first.")]
    rest: Annotated[float, field("All other features together.")]
    ranker_confidence: Annotated[float, field("What the ranker alone says, before what was learnt here.")]


class PredictionOut(TypedDict):
    """An operation, or a proposition, that may be the next call."""

    rank: Annotated[int, field("From 1.")]
    id: NotRequired[Annotated[str, field("Of a proposition; left out for operations.")]]
    title: NotRequired[Annotated[str, field("Of a proposition; left out for operations.")]]
    endpoint: Annotated[str, field("METHOD /template; of a proposition its id.")]
    method: Annotated[str | None, field("Null for a proposition.")]
    path: Annotated[str | None, field("The template; null for a proposition.")]
    operation_id: Annotated[str | None, field("As in the spec, if it has one.")]
    summary: Annotated[str, field("As in the spec.")]
    params: Annotated[dict[str, Any], field("Arguments found in the session or the prompt, never invented.")]
    missing_params: Annotated[
        list[str], field("Required ones that are not known; `a.b` is the `b` in `a`, an object of params.")
    ]
    confidence: Annotated[float, field("Calibrated probability that this is the next call.")]
    score: Annotated[float, field("The ranker's, for comparing within this answer.")]
    reason: Annotated[str, field("Why it stands here.")]
    sources: Annotated[list[str], field("Who proposed it: words, meaning, relations, habit, generator.")]
    is_destructive: Annotated[bool, field("It deletes, cancels, refunds, transfers ...")]
    flags: Annotated[list[str], field("Why it deserves a second look: admin, internal, debug.")]
    explanation: NotRequired[Annotated[Explanation, field("Only with `explain`.")]]


class Experiment(TypedDict):
    """Where this user stands in the comparison of rankers."""

    arm: Arm


class RouteOut(TypedDict):
    """What the router decided about language models."""

    tier: Tier
    reason: Annotated[str, field("Why.", get_args(Reason))]
    gain: Annotated[float, field("Expected, in hit@1.")]
    cost_usd: float


class GeneratorOut(TypedDict):
    """The language model that answered."""

    model: str
    tier: Tier
    tokens_in: int
    tokens_cached: Annotated[int, field("Of those in, what its prefix cache held.")]
    tokens_out: int
    cost_usd: float


class Metadata(TypedDict):
    """How an answer came about."""

    catalog: Digest
    operations: Annotated[int, field("How many the catalog has.")]
    model_version: Annotated[str, field("The ranker that ordered.")]
    served_by: Literal["ranker", "generator+ranker"]
    cold_start: Annotated[bool, field("Nothing was known of the session: no event matched.")]
    degraded: Annotated[
        list[str], field("What it had to do without: generator, embedding, state, adaptation, registry.")
    ]
    unmatched: Annotated[list[int], field("Indexes of events that are no operation of the catalog.")]
    flags: Annotated[list[str], field("What the guard found in the prompt, such as email or prompt_injection.")]
    experiment: Experiment
    route: RouteOut
    generator: NotRequired[Annotated[GeneratorOut, field("Only when one answered.")]]
    timings_ms: Annotated[dict[str, float], field("By stage, and `total`.")]


@pydantic.with_config(
    json_schema_extra={
        "example": {
            "prediction_id": "01M8867XMM0NKGW3EC54TRSV3Z",
            "predictions": [
                {
                    "rank": 1,
                    "endpoint": "POST /v1/refunds",
                    "method": "POST",
                    "path": "/v1/refunds",
                    "operation_id": "createRefund",
                    "summary": "Create a refund",
                    "params": {"charge": "ch_123", "reason": "duplicate"},
                    "missing_params": [],
                    "confidence": 0.6092,
                    "score": 9.4761,
                    "reason": "The prompt's 'refund' is in its name.",
                    "sources": ["words", "meaning", "relations"],
                    "is_destructive": True,
                    "flags": [],
                }
            ],
            "metadata": {
                "catalog": DIGEST,
                "operations": 35,
                "model_version": "default-5bb08b3814",
                "served_by": "ranker",
                "cold_start": False,
                "degraded": [],
                "unmatched": [],
                "flags": [],
                "experiment": {"arm": "champion"},
                "route": {"tier": "none", "reason": "off", "gain": 0.0, "cost_usd": 0.0},
                "timings_ms": {"ground": 7.22, "score": 3.44, "total": 12.24},
            },
        }
    }
)
class PredictResponse(TypedDict):
    """The ranked next calls."""

    prediction_id: Annotated[str | None, field("Null while the state is away: then it takes no feedback.")]
    predictions: list[PredictionOut]
    metadata: Metadata


# Feedback


class FeedbackResponse(TypedDict):
    """It is kept."""

    prediction_id: str
    status: Annotated[Literal["recorded", "duplicate"], field("duplicate: the same was said before.")]


class EventsResponse(TypedDict):
    """They are kept."""

    recorded: Annotated[int, field("Calls that were not known before.")]
    duplicates: int
    unmatched: Annotated[list[int], field("Indexes of events that are no operation of the catalog.")]
    closed: Annotated[list[str], field("Predictions that these calls answered.")]


class LogEventResponse(TypedDict):
    """It is kept."""

    suggestion_id: str
    status: Annotated[Literal["recorded", "duplicate"], field("duplicate: the same was said before.")]


# Catalogs


class Proposition(pydantic.BaseModel):
    """One of a list that PUT /catalogs takes in place of an OpenAPI document."""

    id: Annotated[str, pydantic.Field(pattern=f"^{PROPOSITION_ID}$")] | int = pydantic.Field(
        description="Unique in the list; what events, feedback and predictions name it by."
    )
    title: Annotated[str, pydantic.Field(min_length=1)]
    description: str | None = None
    category: str | None = None


class Propositions(pydantic.BaseModel):
    """The same list with a name of its own; a bare list will do too."""

    title: str | None = None
    propositions: Annotated[list[Proposition], pydantic.Field(min_length=1)]


class Upload(TypedDict):
    """An uploaded catalog."""

    name: str
    catalog: Digest
    title: str
    operations: int


@pydantic.with_config(
    json_schema_extra={
        "example": {
            "catalogs": [{"name": "shop", "catalog": DIGEST, "title": "Deployments", "operations": 33}],
            "packaged": ["billing", "deployments", "issue-tracker", "media-player", "offers"],
        }
    }
)
class CatalogsResponse(TypedDict):
    """The catalogs that can be named."""

    catalogs: Annotated[list[Upload], field("The uploaded ones, by name.")]
    packaged: Annotated[
        list[str], field("Names of those that come with the service, less those that an upload stands in for.")
    ]


class CatalogSummary(TypedDict):
    """An uploaded spec, as it was read."""

    name: str
    catalog: Digest
    title: str
    version: Annotated[str, field("As in the spec.")]
    operations: Annotated[int, field("How many it has.")]
    warnings: Annotated[list[str], field("What of it could not be read.")]


class OperationOut(TypedDict):
    """An operation of a catalog, or a proposition."""

    endpoint: Annotated[str, field("METHOD /template; of a proposition its id.")]
    operation_id: Annotated[str | None, field("As in the spec, if it has one; null for a proposition.")]
    summary: str
    tags: list[str]
    is_destructive: bool


class CatalogResponse(CatalogSummary):
    """A catalog with its operations."""

    embedded: Annotated[bool, field("Its vectors are made: meaning is searched too.")]
    endpoints: list[OperationOut]


# Health


@pydantic.with_config(extra="allow")
class Component(TypedDict):
    """What a part says of itself; more than its status only to who is known."""

    status: Annotated[str, field("ok, starting, unavailable; others are a part's own.")]


@pydantic.with_config(
    json_schema_extra={
        "example": {
            "status": "ok",
            "components": {"catalogs": {"status": "ok", "catalogs": 3}, "state": {"status": "ok"}},
        }
    }
)
class HealthResponse(TypedDict):
    """The service is alive."""

    status: Annotated[Literal["ok", "degraded"], field("degraded: some parts are away.")]
    components: dict[str, Component]


class ReadyResponse(TypedDict):
    """It may have traffic."""

    status: Literal["ready"]
