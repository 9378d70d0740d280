"""Small saved rankers that may be served, made in milliseconds: linear heads over two features."""

from __future__ import annotations

import numpy as np

from pipeline.ranking import ranker as rankers
from pipeline.ranking.calibrate import Calibration
from pipeline.ranking.ranker import Logit, Trees
from pipeline.ranking.table import HEADS, NAMES


def saved_ranker(version: str, weight: float = 1.0, spec: Trees | None = None) -> str:
    """The text of a ranker; two weights of opposite sign order candidates the other way round."""
    logit = Logit(features=(NAMES[0], NAMES[3]), center=(0.5, 0.5), scale=(0.2, 0.3), weights=(weight, -0.5 * weight))
    rng = np.random.default_rng(0)
    return rankers.dump(
        version=version,
        created="2026-01-01T00:00:00+00:00",
        data="sha256:0",
        heads=dict.fromkeys(HEADS, spec or logit),
        calibration={head: Calibration(2.0, (0.1, 0.9), (0.2, 0.8), 0.1) for head in HEADS},
        samples={head: rng.random((30, len(NAMES))).astype(np.float32) for head in HEADS},
    )
