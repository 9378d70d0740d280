"""What travels between the rooms: frozen, without behaviour beyond what a field means.

What is stored or leaves the process as bytes is a `msgspec.Struct` (no arrays); what
carries numpy arrays between two rooms or over one handle call is a frozen dataclass.
Nothing here imports anything of ours.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    import numpy as np  # for annotations only: the process that parses specs starts without it

Verb = Literal["read", "create", "update", "delete", "action"]

SHOW = "SHOW"  # method of a proposition, which is kept as an operation: it is shown, not called
PROPOSITION_ID = r"[^\s/?#%{}]{1,128}"  # so that `/{id}` is a path of one literal segment


class Parameter(msgspec.Struct, frozen=True, omit_defaults=True):
    """One argument of an operation; the top-level properties of a request body are parameters too."""

    name: str
    location: str  # path | query | header | cookie | body
    required: bool = False
    type: str = "any"  # string | integer | number | boolean | array | object | any
    format: str = ""
    items: str = ""  # type of the items of an array
    enum: tuple[Any, ...] = ()
    default: Any = None
    example: Any = None
    minimum: float | None = None
    maximum: float | None = None
    description: str = ""  # at most 200 characters
    fields: tuple[str, ...] = ()  # of an object, or of the objects of an array
    parts: tuple[Parameter, ...] = ()  # of an object in a body: its properties, as far as a call could be told them
    is_key: bool = False  # a security scheme of the document is an API key by this name, in the same place
    min_length: int = 0  # of a text, in characters
    max_length: int | None = None
    pattern: str = ""  # that is found in a text (ECMA-262); only such as cannot take long: `catalog/patterns.py`


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """An OpenAPI link (3.0, 4.7.20): a response of the operation feeds parameters of another one."""

    operation: str  # operationId, or "METHOD /template" where the spec gives an operationRef
    parameters: dict[str, str] = {}  # parameter -> runtime expression


class Alternative(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of several forms of a body (`oneOf`, `anyOf`) or of an object in it; names are dotted: `ticket.subject`."""

    names: tuple[str, ...] = ()  # of the properties that it has and not all of the others
    required: tuple[str, ...] = ()
    literals: tuple[tuple[str, str | int], ...] = ()  # property -> a value that it takes; of others any


class Operation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One method + path template of a spec."""

    method: str  # upper case
    path: str  # the template exactly as the spec writes it
    operation_id: str = ""
    summary: str = ""
    description: str = ""  # at most 600 characters
    tags: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    response_fields: tuple[str, ...] = ()  # dotted names of the success response, arrays transparent: "data.id"
    links: tuple[Link, ...] = ()
    deprecated: bool = False
    verb: Verb = "read"
    destructive: str = (
        ""  # family of what it destroys or moves away ("delete", "cancel", "refund"...); "" when harmless
    )
    choices: tuple[tuple[Alternative, ...], ...] = ()  # of its body: of each group a call picks one

    @property
    def key(self) -> str:
        """`METHOD /template`: how everything learnt names the operation."""
        return f"{self.method} {self.path}"

    @property
    def is_proposition(self) -> bool:
        return self.method == SHOW

    @property
    def endpoint(self) -> str:
        """How clients name it: its key, a proposition by its id."""
        return self.operation_id if self.is_proposition else self.key


class Catalog(msgspec.Struct, frozen=True, omit_defaults=True):
    """All operations of one spec, in document order, keyed by the hash of its content."""

    digest: str  # "sha256:<64 hex>" of the bytes of the spec
    title: str = ""
    version: str = ""
    base_paths: tuple[str, ...] = ()  # path prefixes of the servers ("/api/v3"), without trailing slash, never ""
    operations: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()  # what of the spec could not be read, where, and why; at most 100

    @property
    def holds_propositions(self) -> bool:
        return bool(self.operations) and self.operations[0].is_proposition


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """One past API call as the client sent it."""

    method: str
    path: str  # concrete path, without query string
    params: dict[str, Any] = {}  # query and body together, as sent
    ts: float | None = None  # seconds since the epoch, UTC
    status: int | None = None
    body: Any = None  # a sample of the response's body

    @property
    def endpoint(self) -> str:
        return f"{self.method} {self.path}"


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a catalog comes from; exactly one of name, url and data is set once the query is resolved."""

    name: str = ""  # an uploaded or packaged catalog
    url: str = ""
    data: bytes = b""  # an inline spec
    digest: str = ""  # of the content, where it is known already


class SpecRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found at a spec's URL."""

    digest: str
    fetched: float  # seconds since the epoch, UTC
    etag: str = ""


class Query(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked: calls, prompt, spec, k."""

    source: Source
    calls: tuple[Call, ...] = ()  # oldest first
    prompt: str = ""
    k: int = 5
    user: str = "anonymous"
    tenant: str = "local"
    deadline_s: float = 1.0
    temperature: float = 0.0
    max_cost_usd: float | None = None
    context: dict[str, str] = {}
    wants_propositions: bool = False  # a catalog of operations is refused
    explain: bool = False  # each prediction comes with its explanation
    today: datetime.date | None = None  # day of the request, UTC
    unread: int = 0  # how many were sent before `calls`


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """A call matched to an operation."""

    index: int  # of the operation in the catalog
    path_params: dict[str, str]


class Candidate(msgspec.Struct, frozen=True, array_like=True):
    """An operation with arguments, proposed as the next call."""

    operation: str  # METHOD /template
    operation_id: str = ""
    summary: str = ""
    verb: Verb = "read"
    destructive: str = ""
    deprecated: bool = False
    params: dict[str, Any] = {}
    missing_params: tuple[str, ...] = ()  # `ticket.subject`: the subject in `ticket`, which is in params
    guessed_params: tuple[str, ...] = ()  # defaults and examples, not seen in prompt or history
    origins: dict[str, tuple[str, int]] = {}  # param, or a part of one (`ticket.subject`) -> (kind, call's index or -1)
    sources: tuple[str, ...] = ()  # words | meaning | relations | habit | generator
    reason: str = ""
    schema: tuple[Parameter, ...] = ()  # only for what may be offered to the generator

    @property
    def method(self) -> str:
        return self.operation.split(" ", 1)[0]

    @property
    def path(self) -> str:
        return self.operation.split(" ", 1)[1]

    @property
    def is_proposition(self) -> bool:
        return self.method == SHOW

    @property
    def endpoint(self) -> str:
        """How clients name it: its key, a proposition by its id."""
        return self.operation_id if self.is_proposition else self.operation


@dataclasses.dataclass(frozen=True, slots=True)
class GroundedQuery:
    """The query with its calls matched to operations, and its shortlist; at most 64 KB pickled."""

    digest: str
    lineage: str
    title: str
    operations: int
    previous: tuple[str, ...]  # keys of the operations of the last three calls that are one, oldest first
    unmatched: tuple[int, ...]  # indexes, among all that were sent, of the calls that are no operation of the catalog
    candidates: tuple[Candidate, ...]  # the shortlist
    block: np.ndarray  # [n_candidates, n_catalog_features] float16, as it is journalled: what depends on the catalog
    intents: tuple[str, ...] = ()  # families of destructive words the prompt asks for, negated ones left out
    undoes: tuple[str, ...] = ()  # destructive operations that the calls themselves speak for (`catalog/undo.py`)
    prompt_vector: np.ndarray | None = None  # [n_dims] float32, unit length
    entry: np.ndarray | None = None  # [n_candidates] float32, how likely each opens a session: no prompt, no history
    degraded: tuple[str, ...] = ()
    ground_s: float = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        """A hundred candidates cross a hop with each prediction: msgpack takes a third of pickle's time for them."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["candidates"] = msgspec.msgpack.encode(self.candidates)
        return _revive, (fields,)


_CANDIDATES = msgspec.msgpack.Decoder(tuple[Candidate, ...])


def _revive(fields: dict[str, Any]) -> GroundedQuery:
    return GroundedQuery(**{**fields, "candidates": _CANDIDATES.decode(fields["candidates"])})


@dataclasses.dataclass(frozen=True, slots=True)
class Proposal:
    """What the generator chose of the shortlist, best first."""

    picks: tuple[tuple[int, dict[str, Any], str], ...]  # (index into candidates, arguments, why)
    model: str
    tier: str = "small"
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    engine_s: float = 0.0  # its share of the time of an engine of one's own
    cost_usd: float = 0.0
    weights: tuple[float, ...] = ()  # how likely each pick is, of all that were offered; () when it only said an order


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """What the router decided for a prediction, and what came of it."""

    tier: str = "none"  # none | small | large
    reason: str = "off"  # of `candidates/route.py`
    gain: float = 0.0  # expected, in hit@1
    cost_usd: float = 0.0  # of all that was asked; at its most where nobody learnt it
    is_degraded: bool = False  # it was worth asking, and did without


@dataclasses.dataclass(frozen=True, slots=True)
class Scores:
    """What the ranker says of one query group."""

    raw: np.ndarray  # [n_candidates] float32, higher is better
    confidence: np.ndarray  # [n_candidates] float32, calibrated probability of being the next call
    version: str  # of the ranker, "cold-start" for the declared linear order
    head: str = ""  # which head scored: prompt_only | prompt_history | history_only | neither
    # Row -> the features that raise it most above the group's mean: (column, part of the raw score), strongest first.
    because: dict[int, tuple[tuple[int, float], ...]] = dataclasses.field(default_factory=dict)
    is_current: bool = True  # the champion scored, as far as the registry has been heard of lately
    arm: str = "champion"  # who scored: champion | challenger
    rivals: tuple[str, ...] = ()  # versions of champion and challenger where it was scored; () without a challenger


@dataclasses.dataclass(frozen=True, slots=True)
class Explanation:
    """What a prediction's place is made of, in numbers."""

    # (column of the feature table, the row's value, its part of `above`), strongest first: those that raise it most.
    parts: tuple[tuple[int, float, float], ...]
    above: float  # raw score above the group's mean: the parts, and all else together
    ranker: float  # what the ranker alone says, before what was learnt online: a calibrated probability


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction:
    """One ranked next call."""

    rank: int
    candidate: Candidate
    confidence: float
    score: float
    explanation: Explanation | None = None  # only when it was asked for


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """All that a prediction says, before the wire names it."""

    prediction_id: str | None
    predictions: tuple[Prediction, ...]
    grounded: GroundedQuery
    model_version: str
    proposal: Proposal | None
    degraded: tuple[str, ...]
    timings_s: dict[str, float]
    arm: str = "champion"  # who ordered it: champion | challenger | interleaved
    flags: tuple[str, ...] = ()  # what the guard found in the prompt: `guardrails.FLAGS`
    route: Route = Route()


class Impression(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was shown, in which order, with the features it was scored on."""

    id: str
    tenant: str
    user: str
    lineage: str
    digest: str
    ts: float
    shown: tuple[str, ...]  # operation keys in the order of their ranks
    others: tuple[str, ...] = ()  # at most 24 more that were scored
    features: bytes = b""  # [n_shown + n_others, n_features] float16, C order; empty when dropped for size
    fingerprint: str = ""  # of the feature table
    scores: tuple[float, ...] = ()  # of shown and others
    model_version: str = ""
    arm: str = "champion"
    propensity: float = 1.0  # how likely rank 1 was to be what it is: `ranking/experiments.py`
    explored: bool = False  # rank 1 changed places with a lower one by chance
    experiment: str = ""  # what it counts for: `experiments.py`; "" for nothing
    teams: str = ""  # of an interleaved one: who picked each of `shown`, "a" for the champion, "b" for the challenger
    shadow: tuple[str, ...] = ()  # what the challenger would have shown, of those it ordered unseen
    history: tuple[str, ...] = ()  # operation keys of the last three matched calls
    has_prompt: bool = False
    head: str = ""  # of the ranker that scored
    terms: tuple[int, ...] = ()  # hashed stems of the prompt, sorted: `catalog/terms.py`
    last_ts: float | None = None  # when the last call was made, by the client's clock
    adapted: tuple[float, ...] = ()  # what was learnt online made of `scores`: probabilities; () when nothing was known
    confidence: float = 0.0  # told for rank 1
    losses: tuple[bytes, ...] = ()  # of shown and others: what `ranking/adapt.py`'s experts lose should it be chosen

    def mentions(self, operation: str) -> bool:
        """True when the operation was shown or scored here."""
        return operation in self.shown or operation in self.others


class Feedback(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the user did with an impression."""

    outcome: Literal["accept", "override", "reject"]
    chosen: str = ""  # METHOD /path as the client says it
    prediction_id: str = ""
    user: str = "anonymous"
    tenant: str = "local"
    idempotency_key: str = ""


class QueryGroup(msgspec.Struct, frozen=True, omit_defaults=True):
    """A labelled impression: LightGBM's group, never split."""

    impression: Impression
    labels: tuple[int, ...]  # 0-3 for shown and others
    outcome: str
    chosen: str = ""  # operation key; may be none of shown and others
    ts: float = 0.0  # when it was recorded, by the service's clock
    weight: float = 1.0  # how far the outcome is to be trusted: `feedback.SCALE`


class Remembered(msgspec.Struct, frozen=True, array_like=True):
    """What was chosen for a prompt: an entry of the prompt memory."""

    terms: tuple[int, ...]  # hashed stems of the prompt, sorted
    last: str  # operation key of the call before it, "" for none
    chosen: str  # operation key
    weight: float = 1.0
    owner: str = ""  # hash of the user, so that it can be forgotten; "" for anonymous
    ts: float = 0.0


class Observation(msgspec.Struct, frozen=True):
    """A call that a user was seen to make, as the catalog knows it."""

    ts: float  # seconds since the epoch, UTC, by the client's clock
    endpoint: str  # METHOD /path as it was sent
    operation: str  # METHOD /template; "" when it is none of the catalog
    once: str = ""  # of one told without a time, which has just been made: what tells it from others
    params: str = ""  # of one told with its time, as text: with user, lineage, ts and endpoint they tell it from others


class Exposure(msgspec.Struct, frozen=True):
    """What happened to a proposition that was suggested."""

    event: Literal["impression", "click", "conversion"]
    proposition: str  # its id, as the client knows it
    suggestion_id: str = ""
    user: str = "anonymous"
    tenant: str = "local"
    idempotency_key: str = ""
