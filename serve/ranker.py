"""Deployment `Ranker`: scores query groups, under 2 ms of CPU each; which ranker serves is `serve.champion`'s."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from ray import serve

from pipeline.ranking import drift
from pipeline.settings import Settings
from pipeline.types import Scores
from serve import logs
from serve.champion import Champion
from serve.metrics import Metrics


@serve.deployment(name="Ranker")
class RankerDeployment:
    """One replica; it always has a ranker, and swaps it while it scores."""

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        logs.configure(settings.log)
        metrics = metrics or Metrics()
        self._champion = Champion(settings, metrics)
        self._drift = drift.Drift(drift.load())
        for group in drift.GROUPS:
            metrics.follow("opensesame_feature_drift", functools.partial(self._drift.of, group), group=group)

    async def score(
        self, matrix: np.ndarray, head: str, shown: Sequence[int] = (), explain: int = 0, arm: str = "champion"
    ) -> Scores:
        """Raw and calibrated scores of matrix [n_candidates, n_features] float32; why, of the best of `shown`.

        By the challenger when `arm` says so and there is one, else by the champion.
        """
        self._drift.offer(matrix, head)
        champion, challenger = self._champion.ranker, self._champion.challenger
        if challenger is None:
            scores = champion.score(matrix, head, shown, explain)
            return scores if self._champion.is_current else dataclasses.replace(scores, is_current=False)
        ranker = challenger if arm == "challenger" else champion
        return dataclasses.replace(
            ranker.score(matrix, head, shown, explain),
            is_current=self._champion.is_current,
            arm="challenger" if arm == "challenger" else "champion",
            rivals=(champion.version, challenger.version),
        )

    def close(self) -> None:
        """Follow no more; for a process that goes on without it."""
        self._champion.close()

    async def state(self) -> dict[str, str | bool]:
        champion = self._champion
        return {"status": "ok", "model_version": champion.ranker.version, "is_current": champion.is_current}
