"""Deployment `Ranker`: scores query groups, under 2 ms of CPU each; which ranker serves is `serve.champion`'s."""

from __future__ import annotations

import dataclasses
import functools
import logging
import sys
from collections.abc import Sequence

import numpy as np
from ray import serve

from pipeline.errors import RankerArtifactError
from pipeline.ranking import drift
from pipeline.ranking.ranker import import_lightgbm_alone
from pipeline.settings import Settings
from pipeline.types import Scores
from serve import logs
from serve.champion import Champion
from serve.metrics import Metrics

_log = logging.getLogger("opensesame.ranker")
_SWITCH_S = 0.0005  # the thread that loads another ranker gives the interpreter back to who scores so soon


@serve.deployment(name="Ranker")
class RankerDeployment:
    """One replica; it always has a ranker, and swaps it while it scores."""

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        logs.configure(settings.log)
        metrics = metrics or Metrics()
        sys.setswitchinterval(_SWITCH_S)
        import_lightgbm_alone()
        self._champion = Champion(settings, metrics)
        self._drift = _watched(metrics)

    async def score(
        self, matrix: np.ndarray, head: str, shown: Sequence[int] = (), explain: int = 0, arm: str = "champion"
    ) -> Scores:
        """Raw and calibrated scores of matrix [n_candidates, n_features] float32; why, of the best of `shown`.

        By the challenger when `arm` says so and there is one, else by the champion.
        """
        if self._drift is not None:
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


def _watched(metrics: Metrics) -> drift.Drift | None:
    """The drift of what is scored here; None, and a word in the log, without a reference: a replica serves anyway."""
    try:
        watched = drift.Drift(drift.load())
    except RankerArtifactError as error:
        _log.error("feature drift is not measured: %s", error)
        return None
    for group in drift.GROUPS:
        metrics.follow("opensesame_feature_drift", functools.partial(watched.of, group), group=group)
    return watched
