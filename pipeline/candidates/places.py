"""What a language model thinks of the letters themselves, whatever stands behind them.

Small ones like some places of a list far better than others. The mean of what a model said of the places so far is
what it thinks of them, since the orders of the options have nothing to do with what is right; what it says of one
query counts as far as it differs from that: Batch Calibration, Han Zhou et al., ICLR 2024. Used by `propose`.
"""

from __future__ import annotations

from collections.abc import Sequence

_DOUBT = 8.0  # imaginary queries in which all places were alike
_MEMORY = 1024  # queries that weigh as much as all before them


class Places:
    """The mean of the centred log-probabilities by place, one for each number of options."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[float, list[float]]] = {}  # options -> (queries, sum of each place)

    def level(self, logprobs: Sequence[float]) -> list[float]:
        """What was said of each place, in their order, less what the place gets anyway."""
        queries, sums = self._seen.get(len(logprobs), (0.0, [0.0] * len(logprobs)))
        return [logprob - s / (queries + _DOUBT) for logprob, s in zip(logprobs, sums, strict=True)]

    def learn(self, logprobs: Sequence[float]) -> None:
        count = len(logprobs)
        mean = sum(logprobs) / count
        queries, sums = self._seen.get(count, (0.0, [0.0] * count))
        keep = min(1.0, _MEMORY / (queries + 1.0))
        sums = [s * keep + logprob - mean for s, logprob in zip(sums, logprobs, strict=True)]
        self._seen[count] = queries * keep + 1.0, sums
