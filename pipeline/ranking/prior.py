"""The declared linear order: what a ranker that has learnt nothing says.

A hand-weighted sum per head over the columns of FEATURES, in units of roughly one nat; missing columns count
nothing. Served under the version "cold-start" (`ranker.py`), and the yardstick that a trained ranker has to beat.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from pipeline.ranking.contributions import linear_parts
from pipeline.ranking.table import COLUMN, FEATURES, Head

Order = Head | Literal["neither"]  # neither prompt nor history: no head is fitted for it

# Set by hand: round figures, from the reading of many sessions, tuned on the development suites.
HAND_WEIGHTS: dict[Order, dict[str, float]] = {
    "prompt_only": {
        "match": 1.8, "match_rank": 0.5, "cover_name": 1.5, "words_path": 0.4, "words_last": 0.2, "cosine_gap": 1.8,
        "verb_agrees": 0.4, "verb_contradicts": -1.0, "goal_producer": 1.5, "goal_producer_2": 1.5,
        "goal_parent": 0.5, "goal_ready": 0.8, "goal_blocked": -0.7, "told_used": 1.0, "free_text": 1.5,
        "named_kind": 1.5, "own_kind": 1.5, "typed_fields": 1.0, "unbound": -0.8, "needs": -0.8, "is_read": 1.0,
        "depth": -1.0, "deprecated": -0.5, "generator_rank": 3.0, "generator_votes": 1.0,
    },
    "prompt_history": {
        "match": 1.0, "match_rank": 0.3, "residue": 1.0, "cover_name": 0.8, "cosine_gap": 1.5, "residual_cosine": 1.5,
        "verb_agrees": 0.4, "verb_contradicts": -0.6, "goal_producer": 0.6, "goal_producer_2": 0.6, "goal_ready": 0.4,
        "free_text": 0.3, "named_kind": 0.4, "own_kind": 0.4, "typed_fields": 0.3, "last_overlap": 2.0,
        "last_overlap_rank": 0.4, "last_same_tag": 0.2, "last_named": 0.8, "last_supplied": 2.0, "last_instance": 0.4,
        "last_order": 0.3,
        "last_lifecycle": 0.8, "last_parent": -0.8, "past_supplied": 0.5, "past_instance": 0.3, "past_lifecycle": 0.3,
        "ready": 0.3, "unbound": -1.0, "newly": 0.7, "is_last": -1.0, "repeat_habit": 2.0, "followed": 0.8,
        "is_read": 0.6, "read_unasked": -0.2, "unused_write": -0.8, "having": -0.3, "free": -0.6, "deprecated": -0.5,
        "generator_rank": 3.0, "generator_votes": 1.0,
    },
    "history_only": {
        "last_overlap": 2.5, "last_overlap_rank": 0.5, "last_same_tag": 0.3, "last_supplied": 2.0,
        "last_instance": 0.5, "last_order": 0.5, "last_lifecycle": 1.0, "last_named": 0.6, "last_cosine": 0.6,
        "last_parent": -1.0, "past_supplied": 0.4, "past_instance": 0.4, "past_overlap": 1.5, "past_lifecycle": 0.3,
        "ready": 0.3, "unbound": -1.2, "newly": 0.6, "is_last": -1.6, "repeat_habit": 2.0, "followed": 1.0,
        "is_read": 0.5, "lacking": 0.4, "having": -0.3, "unused_write": -0.4, "is_delete": -0.5, "needs": -0.3,
        "free": -0.6, "deprecated": -0.5,
    },
    # Ways into an API of which nothing is known yet: lists and look-ups that need nothing, high up. Checked on the
    # first calls of the 1,021 written sessions of train/sessions (84 specs, 21 November 2026): hit@5 0.37, the
    # history_only trees without a history 0.34.
    "neither": {
        "is_read": 2.0, "item": -1.0, "needs": -4.0, "given": -0.5, "depth": -3.0, "hub": 2.0, "demand": 1.5,
        "lacking": 0.3, "free": 0.3, "document_order": -0.3, "is_create": -1.0, "is_action": -1.0, "is_update": -1.5,
        "is_delete": -3.0, "deprecated": -1.0,
    },
}  # fmt: skip

_WEIGHTS = {order: np.zeros(len(FEATURES), dtype=np.float32) for order in HAND_WEIGHTS}
for _head, _weights in HAND_WEIGHTS.items():
    for _name, _weight in _weights.items():
        _WEIGHTS[_head][COLUMN[_name]] = _weight


def hand_score(matrix: np.ndarray, head: Order | None = None) -> np.ndarray:
    """The hand-weighted sum of each row; float32 [n_candidates].

    Without `head` the missing columns say which one it is.
    """
    if head is None:
        if not len(matrix) or np.isnan(matrix[0, COLUMN["match"]]):
            head = "history_only"
        else:
            head = "prompt_only" if np.isnan(matrix[0, COLUMN["is_last"]]) else "prompt_history"
    known = np.nan_to_num(matrix.astype(np.float32, copy=False), nan=0.0)
    return np.einsum("nf,f->n", known, _WEIGHTS[head])


def hand_parts(matrix: np.ndarray, head: Order, rows: np.ndarray) -> np.ndarray:
    """What each column adds to the hand-weighted sum of `rows`, less the group's mean; float32 [n_rows, n_features]."""
    return linear_parts(matrix, _WEIGHTS[head], rows)
