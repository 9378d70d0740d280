"""What /docs says of answers and of uploaded lists: models that describe and never read.

Answers are built as plain dicts (`serve.schemas.answer_json`), uploads are read where catalogs are parsed. Used by
`serve.ingress` for the OpenAPI document of the service.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from pipeline.types import PROPOSITION_ID


class Problem(pydantic.BaseModel):
    """An error (RFC 9457, application/problem+json)."""

    type: str
    title: str
    status: int
    detail: str
    slug: str
    request_id: str


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


class Part(pydantic.BaseModel):
    feature: str
    group: str = pydantic.Field(description="What it looks at, such as prompt, meaning, last or state.")
    meaning: str
    value: float | None = pydantic.Field(description="Of this candidate; null where there was nothing to look at.")
    part: float = pydantic.Field(description="What it adds to the ranker's raw score, above the shortlist's mean.")


class Explanation(pydantic.BaseModel):
    """What the score is made of: parts and rest add up to what it has above the mean of the shortlist."""

    parts: list[Part] = pydantic.Field(description="The features that raise it most, strongest first.")
    rest: float = pydantic.Field(description="All other features together.")
    ranker_confidence: float = pydantic.Field(description="What the ranker alone says, before what was learnt here.")


class PredictionOut(pydantic.BaseModel):
    rank: int
    id: str | None = pydantic.Field(None, description="Of a proposition; left out for operations.")
    title: str | None = pydantic.Field(None, description="Of a proposition; left out for operations.")
    endpoint: str = pydantic.Field(description="METHOD /template; of a proposition its id.")
    method: str | None
    path: str | None
    operation_id: str | None
    summary: str
    params: dict[str, Any]
    missing_params: list[str]
    confidence: float
    score: float
    reason: str
    sources: list[str]
    is_destructive: bool
    flags: list[str] = pydantic.Field(description="Why it deserves a second look: admin, internal, debug.")
    explanation: Explanation | None = pydantic.Field(None, description="Only with `explain`.")


class PredictResponse(pydantic.BaseModel):
    prediction_id: str | None
    predictions: list[PredictionOut]
    metadata: dict[str, Any]


class FeedbackResponse(pydantic.BaseModel):
    prediction_id: str
    status: Literal["recorded", "duplicate"]


class EventsResponse(pydantic.BaseModel):
    recorded: int = pydantic.Field(description="Calls that were not known before.")
    duplicates: int
    unmatched: list[int] = pydantic.Field(description="Indexes of events that are no operation of the catalog.")
    closed: list[str] = pydantic.Field(description="Predictions that these calls answered.")


class LogEventResponse(pydantic.BaseModel):
    suggestion_id: str
    status: Literal["recorded", "duplicate"]
