"""The order of ways into an API, for who gives neither a prompt nor a call, or has only signed in.

Nothing that a ranker learnt applies then, so a declared order answers (`prior.py`, "neither"): operations that sign
in, lists and look-ups that need nothing, and what earlier sessions of this API began with. Called by
`pipeline/predict.py` in both its halves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.ranking.calibrate import Calibration
from pipeline.ranking.contributions import strongest
from pipeline.ranking.prior import Order, hand_parts, hand_score
from pipeline.ranking.table import FEATURES
from pipeline.types import Scores

VERSION = "cold-start"
HEAD: Order = "neither"
_SIGN_IN = 6.0  # above whatever needs an identifier or writes
_HABIT = 1.5  # a session that began so, on a logarithmic scale: three of them bring what they began with to the top
_PARTS_TOLD = 6
# Its best is right in 0.11 of the first calls of the written sessions; at this temperature it says 0.12.
_CALIBRATION = Calibration(temperature=2.0)


def entry_scores(block: np.ndarray, signing: np.ndarray, began: Sequence[float]) -> np.ndarray:
    """How likely each row opens a session; float32 [n].

    `block` is [n, n_catalog_features]; `signing` [n] is 1 for what signs in, -1 where that is done; `began` tells
    how often earlier sessions began with each.
    """
    matrix = np.full((len(block), len(FEATURES)), np.nan, dtype=np.float32)
    matrix[:, : block.shape[1]] = block
    habit = np.log1p(np.maximum(np.asarray(began, dtype=np.float32), 0))
    return hand_score(matrix, HEAD) + _SIGN_IN * np.asarray(signing, dtype=np.float32) + _HABIT * habit


def entry(raw: np.ndarray, matrix: np.ndarray, shown: Sequence[int], explain: int) -> Scores:
    """The scores of such a group as a ranker would give them, explained for the `explain` best rows of `shown`."""
    rows = np.asarray(shown, dtype=np.int64)
    rows = rows[np.argsort(-raw[rows], kind="stable")[:explain]]
    parts = hand_parts(matrix, HEAD, rows)
    because = dict(zip(rows.tolist(), strongest(parts, _PARTS_TOLD), strict=True))
    return Scores(raw, _CALIBRATION.confidence(raw), VERSION, HEAD, because)
