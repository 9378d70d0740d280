"""Intervals that hold however often one looks: for the difference of two proportions, and for one proportion.

An experiment is looked at each day and stopped when it pleases; an ordinary 95 % interval then errs far more often
than in one case of twenty. These err in at most `alpha` of all experiments, over all looks together.

Each arm has the Beta-Binomial mixture martingale (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021,
"Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49)

    M(p) = B(1/2 + s, 1/2 + n - s) / B(1/2, 1/2) / (p^s (1 - p)^(n - s))

of s successes in n trials: the mixture SPRT of Johari, Koomen, Pekelis and Walsh (2022, "Always valid inference",
Operations Research 70), for Bernoulli trials and exact at any n. At the true rates the product of both arms' is a
martingale too, in whatever order and shares trials come in, so by Ville's inequality {(p, q): M(p) M'(q) < 1 / alpha}
holds the true pair for all time with probability 1 - alpha. The interval is that set's range of q - p, the p-value
its smallest alpha without the diagonal. Trials are taken as independent: those of one user are not quite.

Only counts are needed. Plain Python; called by `experiments.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

_PRIOR = 0.5  # of the Beta mixture, both sides: Jeffreys'
_TINY = 1e-12  # a rate is never quite 0 or 1 while it is searched for
_STEPS = 32  # of a bisection: far below what is shown of a rate


class Proportion(NamedTuple):
    successes: int
    trials: int

    @property
    def rate(self) -> float | None:
        return self.successes / self.trials if self.trials else None


def difference_interval(first: Proportion, second: Proportion, alpha: float) -> tuple[float, float]:
    """Always-valid interval of `second`'s true rate minus `first`'s, at level 1 - alpha; (-1, 1) without trials."""
    bar = -math.log(alpha)
    found = (_rate(second) if second.trials else 0.5) - (_rate(first) if first.trials else 0.5)

    def excess(difference: float) -> float:
        return _least(first, second, difference) - bar

    return _edge(excess, found, -1.0), _edge(excess, found, 1.0)


def difference_p_value(first: Proportion, second: Proportion) -> float:
    """Always-valid p-value of equal rates: where they are equal it ever falls to `alpha` with probability `alpha`."""
    return min(1.0, math.exp(-_least(first, second, 0.0)))


def rate_interval(found: Proportion, alpha: float) -> tuple[float, float]:
    """Always-valid interval of one true rate, at level 1 - alpha; (0, 1) without trials."""
    bar = -math.log(alpha)
    middle = _rate(found) if found.trials else 0.5

    def excess(rate: float) -> float:
        return _log_martingale(found, rate) - bar

    return _edge(excess, middle, 0.0), _edge(excess, middle, 1.0)


def rate_p_value(found: Proportion, rate: float = 0.5) -> float:
    """Always-valid p-value of the true rate being `rate`."""
    return min(1.0, math.exp(-_log_martingale(found, rate)))


def _log_martingale(found: Proportion, rate: float) -> float:
    """log M(rate); convex in the rate."""
    successes, failures = found.successes, found.trials - found.successes
    return _log_mixed(found) - successes * math.log(max(rate, _TINY)) - failures * math.log(max(1.0 - rate, _TINY))


def _log_mixed(found: Proportion) -> float:
    """log of the mixed likelihood, which is M's numerator."""
    return _log_beta(_PRIOR + found.successes, _PRIOR + found.trials - found.successes) - _log_beta(_PRIOR, _PRIOR)


def _least(first: Proportion, second: Proportion, difference: float) -> float:
    """The least log M(p) M'(p + difference) over p; convex in p, and its least convex in the difference."""
    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    a, b = first.successes, first.trials - first.successes
    c, d = second.successes, second.trials - second.successes
    for _ in range(_STEPS):  # the slope of -a log p - b log(1 - p) - c log q - d log(1 - q) rises with p
        p = (low + high) / 2.0
        q = p + difference
        slope = b / max(1.0 - p, _TINY) + d / max(1.0 - q, _TINY) - a / max(p, _TINY) - c / max(q, _TINY)
        if slope > 0:
            high = p
        else:
            low = p
    p = (low + high) / 2.0
    return _log_martingale(first, p) + _log_martingale(second, p + difference)


def _edge(excess: Callable[[float], float], inside: float, end: float) -> float:
    """Where a convex function that is negative at `inside` crosses zero on the way to `end`; `end` when it does not."""
    if excess(end) <= 0:
        return end
    outside = end
    for _ in range(_STEPS):
        middle = (inside + outside) / 2.0
        if excess(middle) <= 0:
            inside = middle
        else:
            outside = middle
    return outside


def _rate(found: Proportion) -> float:
    return found.successes / found.trials


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
