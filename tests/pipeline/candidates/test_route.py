"""Which tier is worth asking: what more doubt, less money and less time do to the choice, whatever the tiers are."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.candidates import route
from pipeline.candidates.route import DEGRADED, Choice, Offer, Outlook, choose
from pipeline.prices import Price

USD_PER_HIT = 0.01
DOUBT = Outlook(0.3, 0.1, 0.8)
SMALL = Offer("small", 0.3, expected_usd=0.0002, bound_usd=0.001)
LARGE = Offer("large", 0.6, expected_usd=0.001, bound_usd=0.004)

share = st.floats(0, 1)
usd = st.floats(0, 0.05)
outlooks = st.builds(Outlook, share, share, share)


@st.composite
def tiers(draw: st.DrawFn) -> list[Offer]:
    names = draw(st.sampled_from([["small"], ["large"], ["small", "large"]]))
    made = []
    for name in names:
        bound = draw(usd)
        closed = draw(st.sampled_from([None, None, "breaker", "overload", "budget", "late", "failed"]))
        made.append(Offer(name, draw(share), bound * draw(share), bound, draw(share), closed))
    return made


def chosen(outlook: Outlook, offers: list[Offer], **more: float) -> Choice:
    return choose(outlook, offers, usd_per_hit=USD_PER_HIT, **more)


def most(choice: Choice, offers: list[Offer]) -> float:
    """What the chosen tier can cost."""
    return next((offer.bound_usd for offer in offers if offer.tier == choice.tier), 0.0)


@given(outlooks, tiers(), share, share, share)
def test_more_of_the_budget_used_never_gives_a_dearer_tier(outlook, offers, one, other, min_gain):
    less, more = sorted((1.2 * one, 1.2 * other))
    before = chosen(outlook, offers, used=less, min_gain=min_gain)
    after = chosen(outlook, offers, used=more, min_gain=min_gain)
    assert most(after, offers) <= most(before, offers)


@given(outlooks, tiers(), usd, usd)
def test_a_lower_limit_of_the_query_never_gives_a_dearer_tier_nor_one_above_it(outlook, offers, one, other):
    low, high = sorted((one, other))
    cheap, dear = (chosen(outlook, offers, max_cost_usd=limit) for limit in (low, high))
    assert most(cheap, offers) <= most(dear, offers)
    assert most(cheap, offers) <= low


@given(st.tuples(share, share), share, share, tiers(), share)
def test_more_confidence_never_buys_more(confidences, margin, unexplained, offers, min_gain):
    low, high = sorted(confidences)
    doubtful, sure = (
        chosen(Outlook(confidence, margin, unexplained), offers, min_gain=min_gain) for confidence in (low, high)
    )
    costs = {offer.tier: offer.expected_usd for offer in offers} | {"none": 0.0}
    assert costs[sure.tier] <= costs[doubtful.tier] + 1e-9
    assert sure.tier == "none" or doubtful.tier != "none"


@given(st.tuples(share, share), share, share)
def test_what_can_be_mended_falls_with_confidence_and_margin_and_rises_with_what_is_unexplained(pair, one, other):
    low, high = sorted(pair)
    assert 0 <= route.mendable(Outlook(high, one, other)) <= route.mendable(Outlook(low, one, other)) <= 1
    assert route.mendable(Outlook(one, high, other)) <= route.mendable(Outlook(one, low, other))
    assert route.mendable(Outlook(one, other, low)) <= route.mendable(Outlook(one, other, high))


@given(outlooks, tiers(), st.floats(0, 1.2), st.none() | usd)
def test_who_is_chosen_may_be_asked_and_is_worth_it(outlook, offers, used, limit):
    choice = chosen(outlook, offers, used=used, max_cost_usd=limit)
    if choice.tier == "none":
        assert choice.reason != "worth"
        return
    offer = next(offer for offer in offers if offer.tier == choice.tier)
    assert choice.reason == "worth"
    assert offer.closed is None
    assert offer.in_time >= 0.5
    assert used < 1 or offer.bound_usd == 0
    assert used < 0.9 or offer.bound_usd == min(o.bound_usd for o in offers) or offer.bound_usd == 0
    assert choice.gain * USD_PER_HIT > offer.expected_usd


def test_the_large_tier_is_asked_where_its_surplus_is_larger_and_the_small_one_in_between():
    assert chosen(Outlook(0.1, 0.0, 1.0), [SMALL, LARGE]).tier == "large"
    assert chosen(Outlook(0.6, 0.3, 0.3), [SMALL, LARGE]).tier == "small"
    assert chosen(Outlook(0.97, 0.9, 0.0), [SMALL, LARGE]) == Choice("none", "not_worth", pytest.approx(0.3 * 0.0015))


@pytest.mark.parametrize(
    ("used", "tier", "reason"),
    [(0.0, "large", "worth"), (0.89, "large", "worth"), (0.9, "small", "worth"), (1.0, "none", "budget")],
)
def test_the_budget_forbids_the_dearer_tier_at_nine_tenths_and_every_priced_one_at_its_end(used, tier, reason):
    choice = chosen(Outlook(0.1, 0.0, 1.0), [SMALL, LARGE], used=used)
    assert choice[:2] == (tier, reason)


def test_a_tier_without_a_price_is_asked_whatever_is_spent_if_there_is_enough_to_gain():
    free = dataclasses.replace(SMALL, expected_usd=0.0, bound_usd=0.0)
    assert chosen(DOUBT, [free], used=1.5, max_cost_usd=0.0).tier == "small"
    assert chosen(DOUBT, [free], min_gain=0.5).reason == "not_worth"


@pytest.mark.parametrize(
    ("small", "large", "reason"),
    [
        ({"in_time": 0.2}, {"in_time": 0.4}, "deadline"),
        ({"closed": "breaker"}, {"bound_usd": 1.0}, "breaker"),
        ({"closed": "budget"}, {"closed": "breaker"}, "breaker"),
        ({"closed": "overload"}, {"in_time": 0.0}, "overload"),
        ({"bound_usd": 1.0}, {"bound_usd": 1.0}, "max_cost"),
        ({"lift": 0.0}, {"lift": 0.0, "closed": "breaker"}, "not_worth"),
    ],
)
def test_without_a_tier_the_answer_says_that_it_did_without_only_if_it_was_worth_asking(small, large, reason):
    offers = [dataclasses.replace(SMALL, **small), dataclasses.replace(LARGE, **large)]
    choice = chosen(DOUBT, offers, max_cost_usd=0.01)
    assert choice[:2] == ("none", reason)
    assert (reason in DEGRADED) == (reason in ("deadline", "breaker", "overload"))


tokens = st.integers(0, 100_000)
prices = st.builds(
    Price,
    usd_per_million_in=st.floats(0, 20),
    usd_per_million_cached=st.floats(0, 20),
    usd_per_million_out=st.floats(0, 80),
    usd_per_hour=st.floats(0, 50),
)


@given(prices, tokens, tokens, share, tokens, tokens, st.floats(0, 30), st.floats(0, 30))
def test_no_reply_within_the_limits_costs_more_than_was_reserved(price, a, b, cached, c, d, e, f):
    (tokens_in, most_in), (tokens_out, most_out), (engine_s, most_s) = map(sorted, ((a, b), (c, d), (e, f)))
    cost = route.cost(price, tokens_in, int(tokens_in * cached), tokens_out, engine_s)
    assert 0 <= cost <= route.bound(price, most_in, most_out, most_s) * (1 + 1e-9)


def test_a_price_is_of_a_million_tokens_and_of_an_hour():
    price = Price(usd_per_million_in=2.0, usd_per_million_cached=0.5, usd_per_million_out=8.0, usd_per_hour=3.6)
    assert route.cost(price, 1000, 600, 100, 2.0) == pytest.approx(0.0008 + 0.0003 + 0.0008 + 0.002)
    assert route.usd(route.nano(0.000123456)) == 0.000123456
