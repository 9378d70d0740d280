"""Which language model is worth asking for a prediction: none, the small tier or the large one.

A tier is asked for what it is expected to mend: the ranker's calibrated doubt about its first place, more of it where
the runner-up is close and the prompt has words that the first place does not explain, times the share of wrong first
places that the tier turns right. That gain, in hit@1, has a price in `router.usd_per_hit`; the tier with the largest
surplus over its cost is asked, if there is any. Budget, the query's own limit, the deadline and the tier's health say
which tiers there are to choose from. Pure: `pipeline/generate.py` reserves the money and asks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from pipeline.prices import Price

# Why a tier was asked ("worth") or none was. Of DEGRADED ones the answer says that it had to do without.
Reason = Literal[
    "worth", "off", "history_only", "not_worth", "max_cost", "budget", "deadline", "breaker", "overload", "late",
    "failed",
]  # fmt: skip
DEGRADED: frozenset[Reason] = frozenset({"deadline", "breaker", "overload", "late", "failed"})

WARN_AT = 0.75  # of the day's budget: from here on it is said
SAVE_AT = 0.9  # from here on only the cheapest tier is asked; from 1 none that costs anything
_IN_TIME_MIN = 0.5  # how likely a reply must be in time

_NANO = 1_000_000_000


class Outlook(NamedTuple):
    """What the ranker alone says of a query; each between 0 and 1."""

    confidence: float  # calibrated probability that its first place is the next call
    margin: float  # by which the second place is less probable
    unexplained: float  # share of the prompt's words, by rarity, that the first place does not have


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """A tier as it stands at this moment."""

    tier: str
    lift: float  # share of wrong first places that it turns right
    expected_usd: float  # what it usually costs
    bound_usd: float  # what it can cost at most
    in_time: float = 1.0  # how likely its reply comes within the deadline
    closed: Reason | None = None  # why it may not be asked now


class Choice(NamedTuple):
    tier: str  # "none" for none
    reason: Reason
    gain: float = 0.0  # in hit@1


def mendable(outlook: Outlook) -> float:
    """How much of a prediction a perfect reader of the prompt would mend, between 0 and 1.

    The doubt about the first place; half of it where the prompt is explained and nothing is close, all of it where
    the second place is as likely and no word is explained. Declared, not fitted.
    """
    confidence, margin, unexplained = (min(max(value, 0.0), 1.0) for value in outlook)
    return (1.0 - confidence) * (1.0 + unexplained - margin) / 2.0


def choose(
    outlook: Outlook,
    offers: Sequence[Offer],
    *,
    usd_per_hit: float,
    min_gain: float = 0.0,
    used: float = 0.0,
    max_cost_usd: float | None = None,
) -> Choice:
    """The tier with the largest surplus of gain over cost, of those that may be asked.

    `used` is the share of the day's budget that is spent or reserved, `min_gain` the gain in hit@1 below which not
    even a tier without a price is asked. Of equals the cheaper one. Less budget, a lower limit or more confidence
    never gives a dearer tier; dearer is who can cost more.
    """
    if not offers:
        return Choice("none", "off")
    potential = mendable(outlook)

    def best(left: Sequence[Offer], *, now: bool) -> Choice:
        def surplus(offer: Offer) -> float:
            return gain(offer) * usd_per_hit - offer.expected_usd

        def gain(offer: Offer) -> float:
            return potential * offer.lift * (offer.in_time if now else 1.0)

        first = max(left, key=lambda offer: (surplus(offer), -offer.bound_usd, -offer.expected_usd))
        if surplus(first) <= 0 or gain(first) < min_gain:
            return Choice("none", "not_worth", gain(first))
        return Choice(first.tier, "worth", gain(first))

    ideal = best(offers, now=False)
    if ideal.tier == "none":
        return ideal
    left = list(offers)
    cheapest = min(offer.bound_usd for offer in offers)
    refusals: tuple[tuple[Reason, Callable[[Offer], bool]], ...] = (
        ("max_cost", lambda o: max_cost_usd is not None and o.bound_usd > max_cost_usd),
        ("budget", lambda o: o.bound_usd > 0 and (used >= 1 or (used >= SAVE_AT and o.bound_usd > cheapest))),
        ("deadline", lambda o: o.in_time < _IN_TIME_MIN),
    )
    for reason, refuses in refusals:
        left = [offer for offer in left if not refuses(offer)]
        if not left:
            return Choice("none", reason, ideal.gain)
    if all(offer.closed for offer in left):
        reasons = [offer.closed for offer in left if offer.closed]
        return Choice("none", next((r for r in reasons if r in DEGRADED), reasons[0]), ideal.gain)
    return best([offer for offer in left if not offer.closed], now=True)


def share_of_budget(offer: Offer, offers: Sequence[Offer]) -> float:
    """Up to which share of a day's budget the tier may spend: all of it for the cheapest."""
    return SAVE_AT if offer.bound_usd > min(other.bound_usd for other in offers) else 1.0


def cost(price: Price, tokens_in: int, tokens_cached: int, tokens_out: int, engine_s: float) -> float:
    """USD of a reply; cached tokens are among those in, `engine_s` is its share of the engine's time."""
    fresh = tokens_in - tokens_cached
    tokens = fresh * price.usd_per_million_in + tokens_cached * price.usd_per_million_cached
    tokens += tokens_out * price.usd_per_million_out
    return tokens / 1e6 + engine_s * price.usd_per_hour / 3600.0


def bound(price: Price, tokens_in: int, tokens_out: int, engine_s: float) -> float:
    """The most that a reply can cost within these limits: no token is cached, or all are where that is dearer."""
    dearer = max(price.usd_per_million_in, price.usd_per_million_cached)
    tokens = tokens_in * dearer + tokens_out * price.usd_per_million_out
    return tokens / 1e6 + engine_s * price.usd_per_hour / 3600.0


def nano(usd: float) -> int:
    """Billionths of a dollar, as spend is counted: whole numbers add up exactly."""
    return round(usd * _NANO)


def usd(nano: int) -> float:
    return nano / _NANO
