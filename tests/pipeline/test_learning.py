"""Predict, feedback, predict again: what was said is at work in the next answer of every replica."""

from __future__ import annotations

import msgspec
import redis

from pipeline import feedback as story
from pipeline import settings
from pipeline.candidates.route import Outlook
from pipeline.local import LocalStages
from pipeline.predict import predict
from pipeline.ranking.adapt import heed
from pipeline.stores.state import State
from pipeline.types import Call, Feedback, GroundedQuery, Proposal, Query, Route, Source

SETTINGS = settings.load()
QUERY = Query(source=Source(name="billing"), calls=(Call("GET", "/v1/charges/ch_123"),), user="ann")
CHOSEN = "GET /v1/customers/{customer}"


async def _match(impression, method, path):
    return CHOSEN


async def _teach(stages: LocalStages, state: State, times: int) -> None:
    for _ in range(times):
        answer = await predict(QUERY, stages, state, SETTINGS)
        said = Feedback("override", "GET /v1/customers/cus_1", answer.prediction_id, "ann")
        assert (await story.record(said, state, _match)).status == "recorded"


async def test_feedback_is_at_work_in_the_next_answer_of_another_replica(
    state: State, redis_url: str, limits: settings.State
):
    stages = LocalStages(SETTINGS)
    before = await predict(QUERY, stages, state, SETTINGS)
    assert before.predictions[0].candidate.operation != CHOSEN
    await _teach(stages, state, 4)
    replica = State(limits, redis_url)
    try:
        after = await predict(QUERY, LocalStages(SETTINGS), replica, SETTINGS)
    finally:
        await replica.close()
    assert after.predictions[0].candidate.operation == CHOSEN
    assert after.predictions[0].confidence > 0.4
    confidences = [p.confidence for p in after.predictions]
    assert confidences == sorted(confidences, reverse=True)


class Chooser(LocalStages):
    """A generator that always picks the same operation."""

    async def propose(
        self, query: Query, grounded: GroundedQuery, outlook: Outlook, budget_s: float
    ) -> tuple[Proposal | None, Route]:
        picked = next(i for i, candidate in enumerate(grounded.candidates) if candidate.operation == CHOSEN)
        return Proposal(((picked, {}, ""),), "scripted"), Route("small", "worth it")


async def test_what_comes_of_a_generators_picks_tells_how_far_to_heed_it(state: State):
    query = msgspec.structs.replace(QUERY, prompt="refund it")

    async def teach(chosen: str, times: int) -> list[float]:
        for _ in range(times):
            answer = await predict(query, Chooser(SETTINGS), state, SETTINGS)
            said = Feedback("override", chosen, answer.prediction_id, "ann")
            assert (await story.record(said, state, _match)).status == "recorded"
        return heed((await state.recall(query)).losses).tolist()

    first = (await predict(query, Chooser(SETTINGS), state, SETTINGS)).predictions[0].candidate.operation
    assert first != CHOSEN
    begun, right = heed([]).tolist(), await teach(CHOSEN, 20)
    assert right[-1] > begun[-1]
    assert right[0] < begun[0]
    wrong = await teach(first, 60)
    assert wrong[-1] < begun[-1]
    assert wrong[0] > right[0]


async def test_the_impression_keeps_the_rankers_scores_beside_the_adapted_ones(state: State, server: redis.Redis):
    stages = LocalStages(SETTINGS)
    alone = await predict(QUERY, stages, state, SETTINGS)
    await _teach(stages, state, 2)
    answer = await predict(QUERY, stages, state, SETTINGS)
    joined = await state.join(Feedback("accept", "", answer.prediction_id, "ann"))
    kept = joined.impression
    rows = kept.shown + kept.others
    static = {p.candidate.operation: p.score for p in alone.predictions}
    scored = dict(zip(rows, kept.scores, strict=True))
    assert all(abs(scored[operation] - score) < 1e-5 for operation, score in static.items())
    assert len(kept.adapted) == len(kept.losses) == len(rows)
    assert kept.adapted[0] == answer.predictions[0].confidence


async def test_experts_losses_are_kept_once_and_read_by_the_next_prediction(state: State, server: redis.Redis):
    stages = LocalStages(SETTINGS)
    await _teach(stages, state, 1)
    assert (await state.recall(QUERY)).losses == []  # nothing was known: all experts agreed
    answer = await predict(QUERY, stages, state, SETTINGS)
    said = Feedback("override", "GET /v1/customers/cus_1", answer.prediction_id, "ann")
    for _ in range(2):
        await story.record(said, state, _match)
    assert len((await state.recall(QUERY)).losses) == 1
