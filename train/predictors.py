"""Who is asked in an evaluation: the pipeline in this process, or a running service.

Both rank the operations of a case's spec and say which arguments they give the right one. `Specs` holds
what they and the baselines share: the compiled catalogs of a folder, and the vectors of prompts.
Called by `train/evaluate.py`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline import guardrails
from pipeline.candidates.arguments import Session
from pipeline.catalog import mentions, parts
from pipeline.catalog.embed import Encoder, operation_card
from pipeline.catalog.library import Compiled, compile_catalog, with_vectors
from pipeline.catalog.match import Matcher
from pipeline.catalog.parse import parse_spec
from pipeline.errors import BadRequest, OpenSesameError
from pipeline.predict import assemble
from pipeline.ranking import features
from pipeline.ranking.ranker import Ranker, serving
from pipeline.settings import Settings
from pipeline.types import Catalog, Operation, Query, Source
from train.cases import Case, query_of

Array = np.ndarray[Any, np.dtype[Any]]
_VECTORS_WAIT_S = 180.0  # of a server, for a spec just uploaded; then it is measured without


@dataclasses.dataclass(frozen=True, slots=True)
class Ranking:
    """What a predictor says of one case: scored operations, of which some may be held back by the guard."""

    operations: tuple[str, ...]  # keys, best known order first or not: `scores` decides
    scores: Array  # [n]
    confidence: Array  # [n]
    allowed: Array  # [n] bool: what the guard lets through
    catalog_size: int
    shortlist: tuple[str, ...] = ()  # as it leaves the catalog
    params: Mapping[str, Any] | None = None  # arguments given to the right operation, None where it is not known


class Predictor(Protocol):
    """Whatever ranks the operations of a case's spec."""

    @property
    def specs(self) -> Specs | None: ...  # where the baselines find theirs

    @property
    def version(self) -> str: ...

    def rank(self, case: Case) -> Ranking: ...


class Specs:
    """The specs of a folder, each compiled once with its vectors, and the vectors of prompts."""

    def __init__(self, settings: Settings, folder: Path, meaning: bool = True) -> None:
        self.limits = settings.shortlist
        self._parse, self._folder = settings.parse, folder
        self._embedder = settings.embedder
        self._encoder = Encoder(settings.embedder) if meaning else None
        self._parsed: dict[str, tuple[Catalog, Matcher]] = {}
        self._compiled: dict[str, Compiled] = {}
        self._operations: dict[str, dict[str, int]] = {}
        self._prompts: dict[str, Array] = {}

    def prepare(self, cases: Iterable[Case]) -> None:
        """Encodes the prompts of all cases in one go."""
        texts = [p for p in dict.fromkeys(c.prompt for c in cases if c.prompt) if p not in self._prompts]
        if self._encoder is not None and texts:
            self._prompts.update(zip(texts, self._encoder.encode(texts), strict=True))

    def find(self, name: str) -> str:
        """The file of the folder that is called NAME.json, NAME.yaml or NAME.yml."""
        for suffix in (".json", ".yaml", ".yml"):
            if (self._folder / f"{name}{suffix}").is_file():
                return name + suffix
        raise BadRequest(f"There is no spec {name}.json or {name}.yaml in {self._folder}.")

    def data(self, spec: str) -> bytes:
        """The document as it is.

        Raises:
            BadRequest: there is none.
        """
        try:
            return (self._folder / spec).read_bytes()
        except OSError as error:
            raise BadRequest(f"The spec {self._folder / spec} cannot be read: {error.strerror}.") from error

    def parsed(self, spec: str) -> tuple[Catalog, Matcher]:
        """The catalog of a spec file, without vectors, and its matcher."""
        if spec not in self._parsed:
            catalog = parse_spec(self.data(spec), self._parse)
            self._parsed[spec] = catalog, Matcher(catalog)
        return self._parsed[spec]

    def compiled(self, spec: str) -> Compiled:
        """The compiled catalog of a spec file, with vectors."""
        if spec not in self._compiled:
            compiled = compile_catalog(self.parsed(spec)[0])
            if self._encoder is not None:
                cards = [operation_card(o) for o in compiled.catalog.operations]
                compiled = with_vectors(compiled, self._encoder.encode(cards), self._encoder.name)
            self._compiled[spec] = compiled
        return self._compiled[spec]

    def plain(self) -> Encoder | None:
        """The encoder as it came, without what was learned here on top; None where vectors are not asked for."""
        return None if self._encoder is None else Encoder(self._embedder, adapter=None)

    def index(self, case: Case) -> int:
        """Which operation of its spec a case's answer is.

        Raises:
            BadRequest: it is none.
        """
        catalog, _ = self.parsed(case.spec)
        if case.spec not in self._operations:
            self._operations[case.spec] = {o.key: i for i, o in enumerate(catalog.operations)}
        index = self._operations[case.spec].get(case.next)
        if index is None:
            raise BadRequest(f"Case {case.case}: {case.next} is no operation of {case.spec}.")
        return index

    def operation(self, case: Case) -> Operation:
        """The operation that a case's answer is."""
        return self.parsed(case.spec)[0].operations[self.index(case)]

    def last(self, case: Case) -> int | None:
        """The operation of the last call that is one."""
        _, matcher = self.parsed(case.spec)
        for event in reversed(case.events):
            method, _, path = event.endpoint.partition(" ")
            match = matcher.match(method, path, event.params)
            if match is not None:
                return match.index
        return None

    def vector(self, prompt: str | None) -> Array | None:
        """The prompt's vector, float32 [n_dims]; None without a prompt or an encoder."""
        if not prompt or self._encoder is None:
            return None
        if prompt not in self._prompts:
            self._prompts[prompt] = self._encoder.encode([prompt])[0]
        return self._prompts[prompt]


class LocalPredictor:
    """The pipeline in this process."""

    def __init__(self, settings: Settings, specs: Path, ranker: Ranker | None = None, meaning: bool = True) -> None:
        self._settings = settings
        self.specs = Specs(settings, specs, meaning)
        self.ranker = ranker or serving(settings.ranker.artifact)

    @property
    def version(self) -> str:
        return self.ranker.version

    def rank(self, case: Case) -> Ranking:
        compiled = self.specs.compiled(case.spec)
        query = query_of(case, Source(digest=compiled.catalog.digest))
        vector = self.specs.vector(case.prompt)
        grounded, matrix = assemble(query, compiled, vector, {}, self._settings.shortlist)
        scores = self.ranker.score(matrix, features.head(query))
        keys = tuple(c.operation for c in grounded.candidates)
        wholes = parts.wholes(grounded.candidates, query.prompt)
        allowed = guardrails.allow(grounded.candidates, grounded.intents, grounded.undoes, "intent", wholes)
        params = None
        if case.next_params is not None:
            candidate = next((c for c in grounded.candidates if c.operation == case.next), None)
            bound = candidate.params if candidate is not None else bind(compiled, query, self.specs.operation(case))
            params = guardrails.clean_params(bound)
        return Ranking(keys, scores.raw, scores.confidence, np.array(allowed), grounded.operations, keys, params)


def bind(compiled: Compiled, query: Query, operation: Operation) -> dict[str, Any]:
    """Arguments of an operation that is in no shortlist, as `predict.prepare` would bind them."""
    matches = [compiled.matcher.match(call.method, call.path, call.params) for call in query.calls]
    operations = [None if match is None else compiled.catalog.operations[match.index] for match in matches]
    values = [{} if match is None else match.path_params for match in matches]
    about = compiled.relations.entities
    is_own = mentions.ownership(about)
    session = Session(query.calls, operations, values, query.prompt, query.today, about.reader_of, about.knows, is_own)
    return session.bind(operation).params


class ServerPredictor:
    """A running service; uploads each spec under a name once. What it answers is already guarded."""

    def __init__(self, url: str, specs: Specs, key: str = "") -> None:
        import httpx2

        from opensesame_client.retry import address

        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(base_url=address(url), headers=headers, timeout=60.0)
        self._url, self.specs, self.version = url, specs, ""
        self._sizes: dict[str, int] = {}

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        import httpx2

        try:
            answer = self._client.request(method, path, **arguments)
        except httpx2.HTTPError as error:
            raise OpenSesameError(f"{self._url} does not answer ({type(error).__name__}).") from None
        if answer.status_code >= 400:
            raise OpenSesameError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()

    def _upload(self, spec: str) -> str:
        """Uploads a spec, waits until its vectors are made, and returns its name on the server."""
        name = "evaluate-" + Path(spec).stem.replace("_", "-")
        if name not in self._sizes:
            headers = {"content-type": "application/octet-stream"}
            self._call("PUT", f"/catalogs/{name}", content=self.specs.data(spec), headers=headers)
            self._sizes[name] = int(self._call("GET", f"/catalogs/{name}")["operations"])
            patience = time.monotonic() + _VECTORS_WAIT_S
            while time.monotonic() < patience:
                answer = self._call("POST", "/predict", json={"catalog": name, "prompt": "list", "k": 1})
                if "embedding" not in answer["metadata"]["degraded"]:
                    break
                time.sleep(1.0)
        return name

    def rank(self, case: Case) -> Ranking:
        name = self._upload(case.spec)
        events = []
        for event in case.events:
            sent: dict[str, Any] = {"endpoint": event.endpoint, "params": event.params}
            if event.ts:
                sent["ts"] = event.ts
            if event.response is not None:
                sent["response"] = {"status": event.response.status, "body": event.response.body}
            events.append(sent)
        body: dict[str, Any] = {"catalog": name, "k": 50, "events": events, "deadline_ms": 10_000}
        if case.prompt:
            body["prompt"] = case.prompt
        answer = self._call("POST", "/predict", json=body)
        predictions = answer["predictions"]
        self.version = answer["metadata"].get("model_version", self.version)
        return Ranking(
            operations=tuple(p["endpoint"] for p in predictions),
            scores=-np.arange(len(predictions), dtype=np.float64),
            confidence=np.array([p["confidence"] for p in predictions]),
            allowed=np.ones(len(predictions), dtype=bool),
            catalog_size=self._sizes[name],
            params=next((p["params"] for p in predictions if p["endpoint"] == case.next), None),
        )
