"""Deployment `Ranker`: holds the ranker that serves and scores query groups. CPU work stays under 2 ms a call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ray import serve

from pipeline.ranking.ranker import serving
from pipeline.settings import Settings
from pipeline.types import Scores


@serve.deployment(name="Ranker")
class RankerDeployment:
    """Scores with the configured ranker, else the packaged one, else the declared linear order."""

    def __init__(self, settings: Settings) -> None:
        self._ranker = serving(settings.ranker.artifact)

    async def score(self, matrix: np.ndarray, head: str, shown: Sequence[int] = (), explain: int = 0) -> Scores:
        """Raw and calibrated scores of matrix [n_candidates, n_features] float32; why, of the best of `shown`."""
        return self._ranker.score(matrix, head, shown, explain)

    async def state(self) -> dict[str, str]:
        return {"status": "ok", "model_version": self._ranker.version}
