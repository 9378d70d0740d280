"""What experts make of counts, prompts and losses; no Redis, no ranker."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ranking import adapt
from pipeline.ranking.adapt import EXPERTS, HEED, Nothing, heed, lead, record, stake, trust
from pipeline.types import Remembered, Scores

A, B, C, D = OPERATIONS = ("GET /a", "GET /b", "POST /c", "GET /d")
RAW = np.array([3.0, 2.0, 1.0, -9.0], dtype=np.float32)
SCORES = Scores(RAW, np.array([0.6, 0.25, 0.1, 0.0], dtype=np.float32), "1")


@dataclasses.dataclass(frozen=True)
class Followed:
    """Counts by context."""

    counts: Mapping[tuple[str, ...], Mapping[str, float]]

    def after(self, *context: str) -> Mapping[str, float]:
        return self.counts.get(context, {})

    def total(self, *context: str) -> float:
        return sum(self.after(*context).values())


class Known(Nothing):
    def __init__(
        self,
        followed: Mapping[tuple[str, ...], Mapping[str, float]] | None = None,
        own: Mapping[tuple[str, ...], Mapping[str, float]] | None = None,
        prompts: Sequence[Remembered] = (),
        losses: Sequence[bytes] = (),
    ) -> None:
        self.followed, self.own_followed = Followed(followed or {}), Followed(own or {})
        self.prompts, self.losses = prompts, losses


def adapted(known: adapt.Known, history: Sequence[str] = (A,), terms: Sequence[int] = ()) -> adapt.Adapted:
    return adapt.adapt(SCORES, OPERATIONS, history, terms, known)


def first(result: adapt.Adapted) -> str:
    return OPERATIONS[int(result.scores.argmax())]


def told(known: Known, chosen: str, times: int, history: Sequence[str] = (A,)) -> Known:
    """The same, after `chosen` was the answer so often, losses and all."""
    losses: list[bytes] = []
    for _ in range(times):
        known.losses = losses
        losses = [adapted(known, history).losses[OPERATIONS.index(chosen)], *losses]
    known.losses = losses
    return known


def test_where_nothing_is_known_the_ranker_is_right():
    result = adapted(Known({(B,): {C: 9.0}}))
    assert result.scores is SCORES.raw
    assert result.probability is SCORES.confidence
    assert result.losses == ()


def test_what_followed_rises_even_where_the_ranker_knew_nothing_of_it():
    known = Known({(A,): {D: 12.0}})
    assert adapted(known).probability[3] > 0.1
    assert first(adapted(told(known, D, 5))) == D


def test_the_two_calls_before_tell_more_than_the_last():
    known = Known({(A,): {C: 10.0, D: 10.0}, (B, A): {D: 10.0}})
    assert first(told(known, D, 8, (B, A)) and adapted(known, (B, A))) == D
    assert adapted(known, (B, A)).probability[3] > adapted(known, (C, A)).probability[3]


def test_a_prompt_holds_against_habit_until_the_habit_has_proved_itself():
    known = Known({(A,): {C: 12.0}})
    with_prompt, without = adapted(known, terms=(1, 2)), adapted(known)
    assert with_prompt.probability[0] > without.probability[0]


def test_an_expert_that_foretold_is_trusted_and_one_that_did_not_is_not():
    known = told(Known({(A,): {D: 12.0}}), D, 20)
    weights = trust(known.losses, False)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] < 0.01
    wrong = told(Known({(A,): {D: 12.0}}), A, 20)
    followers = [row for row, expert in enumerate(EXPERTS) if expert.kind == "linear"]
    assert trust(wrong.losses, False)[followers].sum() < 0.01
    assert first(adapted(wrong)) == A


def test_losses_with_a_prompt_say_nothing_of_queries_without_and_those_of_other_experts_nothing_at_all():
    known = told(Known({(A,): {D: 12.0}}), D, 20)
    prior = trust((), True)
    np.testing.assert_array_equal(trust(known.losses, True), prior)
    np.testing.assert_array_equal(
        trust([b"", b"\x00" * 99, *[bytes([row[0] ^ 2]) + row[1:] for row in known.losses]], True), prior
    )


def test_an_old_loss_weighs_less_than_a_new_one():
    good = told(Known({(A,): {D: 12.0}}), D, 10).losses
    bad = told(Known({(A,): {D: 12.0}}), A, 10).losses
    assert trust([*good, *bad], False)[0] < trust([*bad, *good], False)[0]


def test_what_was_chosen_for_the_same_words_rises():
    entry = Remembered((1, 2, 3), A, D)
    other = Remembered((7, 8, 9), A, C)
    known = Known(prompts=[entry, entry, entry, other])
    same, unlike = adapted(known, terms=(1, 2, 3)), adapted(known, terms=(4, 5, 6))
    assert same.probability[3] > 10 * SCORES.confidence[3]
    assert unlike.scores is SCORES.raw
    assert adapted(known, (B,), (1, 2, 3)).scores is SCORES.raw  # after another call they mean another thing


def test_a_users_own_habit_goes_on_top_of_everybodys():
    known = Known({(A,): {B: 20.0, C: 4.0}}, own={(A,): {C: 4.0}})
    everybody = Known({(A,): {B: 20.0, C: 4.0}})
    assert adapted(known).probability[2] > adapted(everybody).probability[2]


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([*OPERATIONS, "GET /gone"]), st.floats(0, 1e6)),
    st.dictionaries(st.sampled_from([*OPERATIONS, "GET /gone"]), st.floats(0, 1e6)),
    st.lists(st.binary(max_size=15), max_size=5),
    st.lists(st.integers(0, 5), max_size=4),
)
def test_probabilities_are_such_whatever_was_counted(one, two, losses, terms):
    known = Known({(A,): one, (B, A): two}, own={(A,): two}, prompts=[Remembered((1, 2), A, D)], losses=losses)
    result = adapted(known, (B, A), tuple(sorted(set(terms))))
    assert np.isfinite(result.scores).all()
    assert (result.probability >= 0).all()
    assert result.probability.sum() <= 1 + 1e-5
    assert all(len(row) == 2 + len(EXPERTS) + len(HEED) for row in result.losses)
    if not lead(losses, bool(terms)):
        assert first(result) == A


SAID = Scores(RAW + np.array([0, 0, 0.6, 0], np.float32), np.array([0.55, 0.23, 0.17, 0.0], np.float32), "1")  # of C


def beside(known: Known, said: Scores = SAID) -> adapt.Adapted:
    return adapt.adapt(said, OPERATIONS, (B, A), (1, 2), known, SCORES)


def choosing(chosen: str, times: int) -> list[bytes]:
    """Losses where a generator picked C, and `chosen` came, so often."""
    known = Known()
    for _ in range(times):
        known.losses = [beside(known).losses[OPERATIONS.index(chosen)], *known.losses]
    return list(known.losses)


def test_a_generator_is_heeded_as_far_as_it_foretold_what_was_chosen():
    none, little, well, badly = (heed(losses) for losses in ([], choosing(C, 3), choosing(C, 40), choosing(A, 40)))
    assert (none.argmax(), none.sum()) == (HEED.index(1.0), pytest.approx(1.0))
    assert none[-1] < little[-1] < well[-1] > 0.5
    assert badly[0] > none[0]
    assert badly[-1] < 1e-3


def test_who_is_heeded_moves_the_order_and_a_query_without_a_generator_stays_as_it_is():
    known = Known(losses=choosing(C, 40))
    assert first(beside(known)) == C
    assert first(beside(Known(losses=choosing(A, 40)))) == A
    alone = adapt.adapt(SCORES, OPERATIONS, (B, A), (1, 2), known)
    assert alone.scores is SCORES.raw
    assert beside(Known()).scores is SAID.raw  # nothing was told: as far as the ranker does


def test_what_a_generator_said_is_nothing_to_queries_without_a_prompt():
    rows = choosing(C, 40)
    assert all(row[0] == adapt._TAG + 1 for row in rows)
    assert trust(rows, False) == pytest.approx(trust([], False))


def test_the_first_place_stays_the_rankers_until_the_mixture_has_had_one_more():
    known = Known({(A,): {D: 12.0}})
    seen = []
    for _ in range(8):
        result = adapted(known)
        seen.append((lead(known.losses, False), first(result)))
        known.losses = [result.losses[3], *known.losses]
    assert [one for one, _ in seen] == sorted(one for one, _ in seen)
    assert {operation for ahead, operation in seen if not ahead} == {A}
    assert seen[-1] == (seen[-1][0], D)
    assert seen[-1][0] > 0


def test_until_then_both_are_told_as_likely_and_what_is_taught_never_falls():
    known = Known({(A,): {D: 12.0}})
    told, ties = [], 0
    for _ in range(8):
        result = adapted(known)
        first_place, taught = result.probability[[0, 3]].tolist()
        told.append(taught)
        assert result.probability.sum() <= 1.0 + 1e-6
        if taught < first_place < 1.01 * taught:
            ties += 1
            assert lead(known.losses, False) == 0 or record(known.losses) >= 0.3
            assert first(result) == A
            assert np.argsort(-result.scores)[:2].tolist() == [0, 3]
        known.losses = [result.losses[3], *known.losses]
    assert ties > 0
    assert told == sorted(told)


def test_a_lead_is_lost_by_first_places_and_won_again_without_arrears():
    known = told(Known({(A,): {D: 12.0}}), D, 12)
    ahead = lead(known.losses, False)
    assert ahead > 0
    row = adapted(known).losses
    lost, won = row[0], row[3]  # what is kept when the ranker's was chosen, and when the mixture's
    assert lead([lost] * 30 + known.losses, False) == 0
    assert lead([won] + [lost] * 30 + known.losses, False) == 1
    assert lead([lost, won] + [lost] * 30 + known.losses, False) == 0
    # Of a long past only the latest losses are kept; the oldest knows how far ahead it was before them.
    both = adapted(known).losses[1]
    assert lead([both] * 5, False) == ahead
    assert lead([both] * 5, True) == 0


def test_what_was_seen_once_must_be_twice_as_sure():
    def ahead_by(count: float) -> adapt.Known:
        known = told(Known({(A,): {D: 40.0}}), D, 30)
        known.followed = Followed({(A,): {B: count}})
        return known

    once, often = adapted(ahead_by(1.5)), adapted(ahead_by(6.0))
    assert first(once) == A
    assert first(often) == B


def test_a_first_place_is_taken_for_little_only_where_something_may_be_lost():
    known = told(Known({(A,): {D: 40.0}}), D, 30)
    won = known.losses
    known.followed = Followed({(A,): {B: 6.0}})  # B is likelier than A, by less than four times
    row = adapted(known).losses
    assert stake(won) > 0
    assert first(adapted(known)) == B
    unshown = [bytes((*one[:-1], one[-1] % 128)) for one in won]  # as good, but nobody was shown the mixture's
    known.losses = unshown
    assert (stake(unshown), lead(unshown, False)) == (0, lead(won, False))
    assert first(adapted(known)) == A
    known.followed = Followed({(A,): {D: 400.0}})  # much likelier
    assert first(adapted(known)) == D
    right = [bytes((*one[:-1], one[-1] | 1)) for one in unshown]  # the ranker alone had them first as well
    assert record(unshown) < 0.3 < record(right)
    known.losses = right
    assert first(adapted(known)) == A
    known.followed = Followed({(A,): {B: 6.0}})
    known.losses = (4 * unshown)[:100]
    assert stake(known.losses) == 1
    assert first(adapted(known)) == B
    lost = bytes((*row[0][:-1], row[0][-1] | 128))  # the ranker's would have been right
    known.losses = [lost, *known.losses]
    assert stake(known.losses) == 0
    assert first(adapted(known)) == A
