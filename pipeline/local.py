"""All stages in one process: for the CLI, for evaluation and for tests.

Same stories, same rooms, no Ray. Specs are fetched, parsed and compiled here and kept by digest; vectors are made at
once when `meaning` is asked for, since nobody waits beside. `LocalStages` alone keeps nothing; `LocalService` tells
both stories, prediction and feedback, over a state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from pipeline.candidates.route import Outlook
from pipeline.catalog.compile import content_digest
from pipeline.catalog.embed import Encoder, operation_card
from pipeline.catalog.fetch import Fetcher
from pipeline.catalog.library import Compiled, compile_catalog, with_vectors
from pipeline.catalog.parse import parse_spec
from pipeline.errors import UnknownCatalog
from pipeline.feedback import Receipt, Witnessed, observe, record
from pipeline.predict import predict, prepare
from pipeline.ranking.ranker import Ranker, serving
from pipeline.settings import Settings, packaged_spec
from pipeline.stores.state import State
from pipeline.types import (
    Answer,
    Catalog,
    Feedback,
    GroundedQuery,
    Impression,
    Observation,
    Proposal,
    Query,
    Route,
    Scores,
    Source,
)


class LocalStages:
    """`Stages` in this process; `async with` closes the HTTP client. No generator."""

    def __init__(self, settings: Settings, *, meaning: bool = False, ranker: Ranker | None = None) -> None:
        """`meaning` loads the encoder (seconds); without it answers are `degraded: ["embedding"]`."""
        self._settings = settings
        self._shortlist = settings.shortlist.model_copy(update={"schemas": 0})  # only a generator reads them
        self._ranker = ranker or serving(settings.ranker.artifact)
        self._encoder = Encoder(settings.embedder) if meaning else None
        self._fetcher: Fetcher | None = None
        self._compiled: dict[str, Compiled] = {}  # digest -> compiled catalog

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._fetcher is not None:
            await self._fetcher.close()

    async def compiled(self, source: Source) -> Compiled:
        """The compiled catalog of a source; raises SpecError, UnknownCatalog."""
        if source.digest in self._compiled:
            return self._compiled[source.digest]
        data = source.data
        if source.url:
            self._fetcher = self._fetcher or Fetcher(self._settings.fetch)
            data = (await self._fetcher.fetch(source.url)).data
        elif source.name:
            packaged = packaged_spec(source.name)
            if packaged is None:
                raise UnknownCatalog(f"There is no packaged catalog named '{source.name}'.")
            data = packaged.read_bytes()
        digest = content_digest(data)
        return self._compiled.get(digest) or self.keep(parse_spec(data, self._settings.parse))

    def keep(self, catalog: Catalog) -> Compiled:
        """The catalog compiled; from now on its digest is enough to name it."""
        if catalog.digest not in self._compiled:
            compiled = compile_catalog(catalog)
            if self._encoder is not None:
                cards = [operation_card(operation) for operation in catalog.operations]
                compiled = with_vectors(compiled, self._encoder.encode(cards), self._encoder.name)
            self._compiled[catalog.digest] = compiled
        return self._compiled[catalog.digest]

    async def ground(self, query: Query, habit: Mapping[str, float]) -> GroundedQuery:
        compiled = await self.compiled(query.source)
        vector = None
        if self._encoder is not None and query.prompt:
            vector = (await asyncio.to_thread(self._encoder.encode, [query.prompt]))[0]
        return prepare(query, compiled, vector, habit, self._shortlist)

    async def propose(
        self, query: Query, grounded: GroundedQuery, outlook: Outlook, budget_s: float
    ) -> tuple[Proposal | None, Route]:
        return None, Route()

    async def score(
        self, matrix: np.ndarray, head: str, shown: Sequence[int] = (), explain: int = 0, arm: str = "champion"
    ) -> Scores:
        return self._ranker.score(matrix, head, shown, explain)


class LocalService:
    """Predicts and learns in this process; `async with` closes what it opened, the state is the caller's."""

    def __init__(self, settings: Settings, state: State, *, meaning: bool = False) -> None:
        """`meaning` loads the encoder (seconds); without it answers are `degraded: ["embedding"]`."""
        self._settings, self._state = settings, state
        self.stages = LocalStages(settings, meaning=meaning)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stages.__aexit__()

    async def predict(self, query: Query) -> Answer:
        """The next calls, remembered so that feedback finds them; raises like `pipeline.predict.predict`."""
        return await predict(query, self.stages, self._state, self._settings)

    async def record(self, feedback: Feedback) -> Receipt:
        """Keeps what a user did with a prediction; raises like `pipeline.feedback.record`."""

        async def match(impression: Impression, method: str, path: str) -> str | None:
            compiled = await self.stages.compiled(Source(digest=impression.digest))
            found = compiled.matcher.match(method, path, {})
            return None if found is None else compiled.catalog.operations[found.index].key

        return await record(feedback, self._state, match)

    async def observe(self, tenant: str, user: str, lineage: str, calls: Sequence[Observation]) -> Witnessed:
        """Keeps calls a user made; raises like `pipeline.feedback.observe`."""
        return await observe(tenant, user, lineage, calls, self._state.observed, self._state.join_window_s)
