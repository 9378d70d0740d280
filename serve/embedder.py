"""Deployment `Embedder`: MiniLM behind two doors.

Prompts come one by one and are batched; operation cards come in small chunks in the background.
Both share one thread, so a prompt waits for at most one chunk.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from ray import serve

from pipeline.catalog.embed import Encoder
from pipeline.settings import Settings
from serve import logs
from serve.metrics import Metrics


@serve.deployment(name="Embedder")
class EmbedderDeployment:
    def __init__(self, settings: Settings) -> None:
        logs.configure(settings.log)
        self._encoder = Encoder(settings.embedder)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._encoder.encode(["warm up"])
        self._metrics = Metrics()
        self._ongoing = 0
        self._metrics.follow("opensesame_ongoing", lambda: self._ongoing)
        self.prompt.set_max_batch_size(settings.embedder.batch_max)  # type: ignore[attr-defined]
        self.prompt.set_batch_wait_timeout_s(settings.embedder.batch_wait_s)  # type: ignore[attr-defined]

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.002)
    async def prompt(self, prompts: list[str]) -> list[np.ndarray]:
        """The vector of a prompt: float32 [n_dims], unit length."""
        return list(await self._encode(prompts, "prompts"))

    async def cards(self, texts: list[str]) -> np.ndarray:
        """The vectors of a chunk of operation cards: float32 [n_texts, n_dims], unit length."""
        return await self._encode(texts, "cards")

    async def identity(self) -> tuple[str, int]:
        """Name of the encoder (weights and precision in it) and its dimensions: what stored vectors are keyed by."""
        return self._encoder.name, self._encoder.dims

    async def state(self) -> dict[str, Any]:
        return {"status": "ok", "model": self._encoder.name}

    async def _encode(self, texts: list[str], what: str) -> np.ndarray:
        self._metrics.observe("opensesame_batch_size", len(texts), texts=what)
        self._ongoing += len(texts)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._encoder.encode, texts)
        finally:
            self._ongoing -= len(texts)
