"""POST /suggest: the same pipeline over a catalog of propositions, on a wire of its own.

A suggestion is a prediction whose operations are propositions: it is ranked, remembered and learnt from like any
other, and its id is what POST /log_event and POST /feedback name. Of the context the words are read, as a prompt.
Read as strictly as the bodies of `serve/schemas.py`; registered by `serve.ingress`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Any, Literal

import msgspec
import pydantic
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from pipeline.errors import BadRequest
from pipeline.predict import Memory, Stages, predict
from pipeline.settings import Settings
from pipeline.types import Answer, Query, Source
from serve import schemas
from serve.calls import Wire, check_depth
from serve.documents import DIGEST, Digest, Experiment, field
from serve.envelope import tell
from serve.identity import tenant_of
from serve.metrics import TAGS, Metrics
from serve.remote import budget

_Word = Annotated[str, pydantic.Field(max_length=64)]
_COUNTED = "Counted in /metrics, one that is not among the examples as other; not used."

_URL_OR_ID = re.compile(r"\S*://\S*|[0-9a-f-]{16,}|[\w.+-]+@\S+", re.IGNORECASE)
_LETTERS = re.compile(r"[^\W\d_]{2}")
# Fields that say who, where or when, and nothing of what is wanted.
_SILENT = re.compile(r"(^|_)(ids?|uuid|token|session|email|phone|ip|url|uri|ts|time|timestamp|date|locale|agent)$")


class SuggestRequest(Wire):
    """What is asked of POST /suggest."""

    model_config = pydantic.ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "example": {
                "user_id": "ana",
                "context": "insurance for a trip to Norway",
                "context_type": "search",
                "device": "mobile",
                "limit": 3,
            }
        },
    )

    user_id: schemas.UserId = None
    context: str | dict[str, Any] | None = pydantic.Field(
        None, description="What the user looks for or at: a text, or an object whose words are read."
    )
    context_type: _Word = pydantic.Field("search", description=_COUNTED, examples=list(TAGS["context_type"]))
    device: _Word = pydantic.Field("web", description=_COUNTED, examples=list(TAGS["device"]))
    limit: int | None = pydantic.Field(
        None, description="How many propositions at most, 1 to 100; 5 when it is left out. No answer has more than 50."
    )
    catalog: schemas.Name | None = pydantic.Field(
        None, description="Name of an uploaded list of propositions; the configured one when it is left out."
    )


class SuggestedProposition(TypedDict):
    """A proposition of the catalog."""

    id: str
    title: str
    confidence: Annotated[float, field("Calibrated probability that this is what the user takes.")]
    reason: Annotated[str, field("Why it stands here.")]


class SuggestMetadata(TypedDict):
    """How a suggestion came about."""

    catalog: Digest
    propositions: Annotated[int, field("How many the catalog has.")]
    model_version: Annotated[str, field("The ranker that ordered.")]
    degraded: Annotated[list[str], field("As of a prediction.")]
    experiment: Experiment


@pydantic.with_config(
    json_schema_extra={
        "example": {
            "propositions": [
                {
                    "id": "travel-insurance",
                    "title": "Travel insurance",
                    "confidence": 0.4838,
                    "reason": "The prompt's 'insurance' is in its title.",
                }
            ],
            "served_by": "ranker",
            "latency_ms": 13.58,
            "suggestion_id": "01M88680NTD6NWY6Z2D39NPXT3",
            "metadata": {
                "catalog": DIGEST,
                "propositions": 26,
                "model_version": "default-5bb08b3814",
                "degraded": [],
                "experiment": {"arm": "champion"},
            },
        }
    }
)
class SuggestResponse(TypedDict):
    """The propositions that suit, best first."""

    propositions: list[SuggestedProposition]
    served_by: Literal["ranker", "generator+ranker"]
    latency_ms: float
    suggestion_id: Annotated[str | None, field("Null while the state is away: then nothing can be learnt.")]
    metadata: SuggestMetadata


class Suggestions:
    """The handler; `read` gives the body of a JSON request, `user` the user of its header, `enter` lets him in."""

    def __init__(
        self,
        settings: Settings,
        stages: Stages,
        memory: Memory,
        metrics: Metrics,
        read: Callable[[Request], Awaitable[bytes]],
        user: Callable[[Request], str],
        enter: Callable[[Request, str], Awaitable[str]],
    ) -> None:
        self._settings = settings
        self._stages = stages
        self._memory = memory
        self._metrics = metrics
        self._read = read
        self._user = user
        self._enter = enter

    async def suggest(self, request: Request) -> Response:
        """The propositions of a catalog that suit a user and what he is looking at, best first."""
        began = time.perf_counter()
        body = schemas.read_json(await self._read(request), SuggestRequest)
        query = to_query(body, self._settings, tenant=tenant_of(request), header_user=self._user(request))
        query = msgspec.structs.replace(query, user=await self._enter(request, query.user))
        with budget(self._settings.predict.budget_s):
            answer = await predict(query, self._stages, self._memory, self._settings)
        tell(request, answer)
        shown = len(answer.predictions)
        wanted = min(query.k, answer.grounded.operations)
        filled = "full" if shown >= wanted else "partial" if shown else "none"
        self._metrics.count("opensesame_suggestions", filled=filled, device=body.device, context_type=body.context_type)
        self._metrics.count("opensesame_propositions_shown", shown)
        for part in answer.degraded:
            self._metrics.count("opensesame_degraded", part=part)
        return Response(schemas.dump(answer_json(answer, began)), media_type="application/json")


def to_query(request: SuggestRequest, settings: Settings, *, tenant: str, header_user: str = "") -> Query:
    """The query a request asks for; raises BadRequest for a limit out of range, a long context or two users."""
    limits = settings.suggest
    limit = limits.limit_default if request.limit is None else request.limit
    if not 1 <= limit <= limits.limit_max:
        raise BadRequest(f"limit must be between 1 and {limits.limit_max}; it is {limit}.")
    if request.user_id is not None and header_user and header_user != request.user_id:
        raise BadRequest("user_id and the header X-User-ID name different users.")
    name = request.catalog or limits.catalog
    if not name:
        raise BadRequest("Name a catalog of propositions: catalog.")
    return Query(
        source=Source(name=name),
        prompt=prompt_of(request.context, settings.predict.prompt_max),
        k=min(limit, settings.predict.k_max),
        user=request.user_id or header_user or "anonymous",
        tenant=tenant,
        deadline_s=settings.predict.deadline_default_s,
        context={"device": request.device, "context_type": request.context_type},
        wants_propositions=True,
    )


def prompt_of(context: str | dict[str, Any] | None, limit: int) -> str:
    """What a context says in words, at most `limit` characters.

    A text is taken as it is. Of an object: its texts in their order, and the names of what is true; not its numbers,
    addresses and ids, and no field that by its name says who, where or when.

    Raises:
        BadRequest: a text is longer than `limit`, or an object is nested too deep.
    """
    if context is None:
        return ""
    if isinstance(context, str):
        if len(context) > limit:
            raise BadRequest(f"context has {len(context)} characters; at most {limit} are read.")
        return context
    check_depth(context, "context")
    return ". ".join(dict.fromkeys(_texts(context)))[:limit]


def answer_json(answer: Answer, began: float) -> SuggestResponse:
    """The answer as POST /suggest sends it; `began` is when the request came, by `time.perf_counter`."""
    return {
        "propositions": [
            {
                "id": p.candidate.operation_id,
                "title": p.candidate.summary,
                "confidence": round(p.confidence, 4),
                "reason": p.candidate.reason,
            }
            for p in answer.predictions
        ],
        "served_by": "generator+ranker" if answer.proposal else "ranker",
        "latency_ms": round((time.perf_counter() - began) * 1000, 2),
        "suggestion_id": answer.prediction_id,
        "metadata": {
            "catalog": answer.grounded.digest,
            "propositions": answer.grounded.operations,
            "model_version": answer.model_version,
            "degraded": list(answer.degraded),
            "experiment": {"arm": answer.arm},
        },
    }


def _texts(value: Any, name: str = "") -> Iterator[str]:
    match value:
        case dict():
            for key, child in value.items():
                if not _SILENT.search(re.sub(r"(?<=[a-z])(?=[A-Z])|[-\s]", "_", key).lower()):
                    yield from _texts(child, key)
        case list():
            for child in value:
                yield from _texts(child, name)
        case True:
            yield re.sub(r"[_-]+|(?<=[a-z])(?=[A-Z])", " ", name).strip().lower()
        case str() if _LETTERS.search(_URL_OR_ID.sub(" ", value)):
            yield " ".join(_URL_OR_ID.sub(" ", value).split())
