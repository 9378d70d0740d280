"""Whether a saved ranker may serve: the text told of, of this feature table, scoring as it did, and fast enough.

Asked by replicas before they swap and by deployment Models before it promotes or mirrors.
"""

from __future__ import annotations

import functools
import hashlib
import time
from typing import Any

import numpy as np

from pipeline.errors import RankerArtifactError
from pipeline.ranking.ranker import Ranker
from pipeline.ranking.table import FINGERPRINT, HEADS, NAMES

_ROWS = 64  # candidates of a large catalog's shortlist
_EXPLAINED = 5
_TRIES = 5  # one within the limit is enough


def admit(text: str, *, version: str, sha256: str, fingerprint: str, score_limit_s: float) -> Ranker:
    """The ranker of `text`, answering as `version`. Blocks for some twenty milliseconds.

    Raises:
        RankerArtifactError: it must not serve; `reason` says why in a word.
    """
    if hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() != sha256:
        raise RankerArtifactError(f"The text of ranker {version} is not the one it was registered with.", "hash")
    if fingerprint != FINGERPRINT:
        raise RankerArtifactError(
            f"Ranker {version} was fitted on feature table {fingerprint}, this release computes {FINGERPRINT}.",
            "fingerprint",
        )
    try:
        ranker = Ranker.load_text(text)
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError, AttributeError) as error:
        # A text can be wrong in ways that its reader does not look for; a replica must live through them all.
        raise RankerArtifactError(f"Ranker {version} cannot be read: {type(error).__name__}: {error}") from error
    ranker.version = version
    for head in HEADS:
        took_s = _time(ranker, head, score_limit_s)
        if took_s > score_limit_s:
            raise RankerArtifactError(
                f"Ranker {version} needs {took_s * 1000:.1f} ms of CPU for {_ROWS} candidates, the limit is "
                f"{score_limit_s * 1000:.1f} ms.",
                "slow",
            )
    return ranker


def _time(ranker: Ranker, head: str, limit_s: float) -> float:
    """What the head needs for `_ROWS` candidates: the first time within the limit, else the best."""
    matrix, best_s = _sample(), float("inf")
    for _ in range(_TRIES):
        began = time.thread_time()  # of the CPU: other work on the machine is not the ranker's fault
        ranker.score(matrix, head, range(_ROWS), _EXPLAINED)
        best_s = min(best_s, time.thread_time() - began)
        if best_s <= limit_s:
            break
    return best_s


@functools.cache
def _sample() -> np.ndarray[Any, np.dtype[Any]]:
    """A matrix [_ROWS, n_features] float32 with a fifth of it missing."""
    rng = np.random.default_rng(0)
    matrix = rng.random((_ROWS, len(NAMES))).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.2] = np.nan
    return matrix
