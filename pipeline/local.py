"""All stages in one process: for the CLI, for evaluation and for tests.

Same stories, same rooms, no Ray and no state. Specs are fetched, parsed and compiled here and kept
by digest; vectors are made at once when `meaning` is asked for, since nobody waits beside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from pipeline.catalog.compile import content_digest
from pipeline.catalog.embed import Encoder, operation_card
from pipeline.catalog.fetch import Fetcher
from pipeline.catalog.library import Compiled, compile_catalog, with_vectors
from pipeline.catalog.parse import parse_spec
from pipeline.errors import UnknownCatalog
from pipeline.predict import prepare
from pipeline.ranking.ranker import Ranker, serving
from pipeline.settings import Settings, packaged_spec
from pipeline.types import GroundedQuery, Proposal, Query, Scores, Source


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
        if digest not in self._compiled:
            compiled = compile_catalog(parse_spec(data, self._settings.parse))
            if self._encoder is not None:
                cards = [operation_card(operation) for operation in compiled.catalog.operations]
                compiled = with_vectors(compiled, self._encoder.encode(cards))
            self._compiled[digest] = compiled
        return self._compiled[digest]

    async def ground(self, query: Query, habit: Mapping[str, float]) -> GroundedQuery:
        compiled = await self.compiled(query.source)
        vector = None
        if self._encoder is not None and query.prompt:
            vector = (await asyncio.to_thread(self._encoder.encode, [query.prompt]))[0]
        return prepare(query, compiled, vector, habit, self._shortlist)

    async def propose(self, query: Query, grounded: GroundedQuery, budget_s: float) -> Proposal | None:
        return None

    async def score(
        self, matrix: np.ndarray, head: str, shown: Sequence[int] = (), explain: int = 0, arm: str = "champion"
    ) -> Scores:
        return self._ranker.score(matrix, head, shown, explain)
