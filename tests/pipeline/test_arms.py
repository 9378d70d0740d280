"""A prediction by arm, over two real rankers and a real Redis: who orders, what is kept, what feedback counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
import redis

from pipeline import settings
from pipeline.errors import Overloaded
from pipeline.feedback import expose, observe, record
from pipeline.local import LocalStages
from pipeline.predict import predict
from pipeline.ranking.ranker import Ranker
from pipeline.settings import Settings
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.encoding import unpack_impression
from pipeline.stores.state import State
from pipeline.types import Answer, Call, Exposure, Feedback, Impression, Observation, Query, Scores, Source
from tests.artefacts import saved_ranker

pytestmark = pytest.mark.redis

LOADED = settings.load()
EXPERIMENT = "ranker 1 2"
CALLS = (Call("GET", "/v1/charges/ch_123"),)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with EmbeddedRedis.throwaway() as embedded:
        yield embedded.url


@pytest.fixture
async def state(redis_url: str) -> AsyncIterator[State]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    made = State(LOADED.state.model_copy(update={"timeout_s": 5.0, "connect_timeout_s": 5.0}), redis_url)
    yield made
    await made.close()


class TwoRankers(LocalStages):
    """Champion and challenger as deployment Ranker holds them; `away` makes the challenger shed."""

    def __init__(self, rankers: tuple[str, ...] = ("1", "2")) -> None:
        super().__init__(LOADED)
        self.rankers = [Ranker.load_text(saved_ranker(name, (-1.0) ** i)) for i, name in enumerate(rankers)]
        self.asked: list[str] = []
        self.away = False

    async def score(
        self, matrix: np.ndarray, head: str, shown: Any = (), explain: int = 0, arm: str = "champion"
    ) -> Scores:
        self.asked.append(arm)
        if arm == "challenger" and self.away:
            raise Overloaded("busy")
        arm = arm if len(self.rankers) > 1 else "champion"
        found = self.rankers[arm == "challenger"].score(matrix, head, shown, explain)
        rivals = tuple(ranker.version for ranker in self.rankers) if len(self.rankers) > 1 else ()
        return Scores(found.raw, found.confidence, found.version, head, arm=arm, rivals=rivals)


@pytest.fixture(scope="module")
def both() -> TwoRankers:
    return TwoRankers()


def having(**changes: float) -> Settings:
    return LOADED.model_copy(update={"experiments": LOADED.experiments.model_copy(update=changes)})


async def ask(stages: LocalStages, state: State | None, loaded: Settings, user: str = "ana", **more: Any) -> Answer:
    query = Query(**{"source": Source(name="billing"), "calls": CALLS, "user": user, "prompt": "refund it"} | more)
    return await predict(query, stages, state, loaded)


async def kept(state: State, answer: Answer) -> Impression:
    name = f"t:local:impression:{answer.prediction_id}"
    return unpack_impression(await state.connection.run(lambda redis: redis.get(name)))


async def shadowed(state: State, answer: Answer) -> Impression:
    for _ in range(400):
        impression = await kept(state, answer)
        if impression.shadow:
            break
        await asyncio.sleep(0.01)
    return impression


async def match(_: Impression, method: str, path: str) -> str | None:
    return f"{method} {path}"


def order(answer: Answer) -> list[str]:
    return [p.candidate.operation for p in answer.predictions]


async def test_by_default_only_the_champion_scores_and_nothing_is_counted(both: TwoRankers, state: State) -> None:
    both.asked.clear()
    answer = await ask(both, state, LOADED)
    impression = await kept(state, answer)
    assert (both.asked, answer.arm, answer.model_version) == (["champion"], "champion", "1")
    assert (impression.experiment, impression.propensity, impression.arm) == ("", 1.0, "champion")
    assert await state.arms.experiments("local") == []


async def test_the_challengers_users_see_its_order_and_count_for_it(both: TwoRankers, state: State) -> None:
    champion = await ask(both, state, LOADED)
    loaded = having(challenger_percent=100)
    answers = [await ask(both, state, loaded, f"user-{i}") for i in range(3)]
    assert {(answer.arm, answer.model_version) for answer in answers} == {("challenger", "2")}
    assert order(answers[0]) != order(champion)
    for i, (outcome, chosen) in enumerate((("accept", ""), ("reject", ""), ("override", order(champion)[0]))):
        feedback = Feedback(outcome, chosen, answers[i].prediction_id or "", f"user-{i}")  # type: ignore[arg-type]
        for _ in range(2):  # said twice, counted once
            await record(feedback, state, match)
    assert await state.arms.read("local", EXPERIMENT) == {
        "challenger": {"predictions": 3, "answered": 3, "accepted": 1}
    }
    [(experiment, _)] = await state.arms.experiments("local")
    assert experiment == EXPERIMENT


async def test_observed_calls_count_hits_at_rank_1(both: TwoRankers, state: State) -> None:
    loaded = having(challenger_percent=100)
    for user, rank in (("ann", 0), ("ben", 1)):
        answer = await ask(both, state, loaded, user)
        call = Observation(0.0, order(answer)[rank], order(answer)[rank], once="a")
        done = await observe("local", user, "billing", [call], state.observed, 7200)
        assert done.closed == (answer.prediction_id,)
    counts = await state.arms.read("local", EXPERIMENT)
    assert counts == {"challenger": {"predictions": 2, "observed": 2, "hits": 1}}


async def test_without_a_challenger_or_a_name_everybody_is_the_champions(both: TwoRankers, state: State) -> None:
    loaded = having(challenger_percent=100, interleave_percent=0)
    alone = TwoRankers(("1",))
    answer = await ask(alone, state, loaded)
    assert (answer.arm, answer.model_version, (await kept(state, answer)).experiment) == ("champion", "1", "")
    nobody = await ask(both, state, loaded, "anonymous")
    assert (nobody.arm, (await kept(state, nobody)).experiment) == ("champion", "")
    assert (await ask(both, None, loaded)).arm == "champion"
    assert await state.arms.experiments("local") == []


async def test_an_interleaved_answer_credits_who_picked_what_was_chosen(both: TwoRankers, state: State) -> None:
    loaded = having(interleave_percent=100)
    wins = {"a": 0, "b": 0}
    for i in range(6):
        answer = await ask(both, state, loaded, f"user-{i}")
        impression = await kept(state, answer)
        assert (answer.arm, impression.arm, impression.experiment) == ("interleaved", "interleaved", EXPERIMENT)
        assert list(impression.shown) == order(answer)
        assert set(impression.teams) == {"a", "b"}
        assert impression.propensity in (0.5, 1.0)  # what was learnt online may make both begin alike
        chosen = order(answer)[i % 2]
        wins[impression.teams[i % 2]] += 1
        await record(Feedback("accept", chosen, impression.id, f"user-{i}"), state, match)
    counts = (await state.arms.read("local", EXPERIMENT))["interleaved"]
    assert (counts.get("wins_champion", 0), counts.get("wins_challenger", 0)) == (wins["a"], wins["b"])
    assert counts["accepted"] == 6


@pytest.mark.parametrize("way", [("click", "accept"), ("accept", "click"), ("conversion", "accept", "click")])
async def test_what_several_routes_tell_of_one_choice_wins_once(
    both: TwoRankers, state: State, way: tuple[str, ...]
) -> None:
    answer = await ask(both, state, having(interleave_percent=100), source=Source(name="offers"), calls=())
    first, id_ = answer.predictions[0].candidate, answer.prediction_id or ""
    for told in way:
        if told == "accept":
            await record(Feedback("accept", first.operation, id_, "ana"), state, match)
        else:
            await expose(Exposure(told, first.operation_id, id_, "ana"), state.observed, 7200)  # type: ignore[arg-type]
    counts = (await state.arms.read("local", EXPERIMENT))["interleaved"]
    assert counts.get("wins_champion", 0) + counts.get("wins_challenger", 0) == 1
    assert counts["accepted"] == counts["impressions"] == 1


async def test_a_draft_without_the_challenger_is_the_champions_answer(state: State) -> None:
    stages = TwoRankers()
    stages.away = True
    answer = await ask(stages, state, having(interleave_percent=100))
    assert (answer.arm, answer.model_version, (await kept(state, answer)).teams) == ("champion", "1", "")


async def test_a_shadow_is_logged_and_never_shown(both: TwoRankers, state: State) -> None:
    plain = await ask(both, state, LOADED, "zoe")
    other = await ask(both, state, having(challenger_percent=100), "zoe")
    answer = await ask(both, state, having(shadow_percent=100), "zoe")
    assert (order(answer), answer.arm) == (order(plain), "champion")
    impression = await shadowed(state, answer)
    assert list(impression.shadow) == order(other)
    ttl = await state.connection.run(lambda redis: redis.ttl(f"t:local:impression:{answer.prediction_id}"))
    assert 0 < ttl <= LOADED.state.join_window_s
    call = Observation(0.0, order(other)[0], order(other)[0], once="a")
    await observe("local", "zoe", "billing", [call], state.observed, 7200)
    counts = await state.arms.read("local", EXPERIMENT)
    assert counts["shadow"] == {"observed": 1, "only_challenger": 1}
    assert "hits" not in counts["champion"]


async def test_a_shadow_that_fails_is_no_matter(state: State) -> None:
    stages = TwoRankers()
    stages.away = True
    answer = await ask(stages, state, having(shadow_percent=100))
    await asyncio.sleep(0.05)
    assert (await kept(state, answer)).shadow == ()


async def test_exploration_is_logged_with_its_propensity_and_raises_nothing_destructive(
    both: TwoRankers, state: State
) -> None:
    loaded = having(explore_percent=100).model_copy(
        update={"guardrails": LOADED.guardrails.model_copy(update={"destructive": "allow"})}
    )
    usual = await ask(both, state, LOADED.model_copy(update={"guardrails": loaded.guardrails}), k=8)
    answer = await ask(both, state, loaded, k=8)
    impression = await kept(state, answer)
    harmless = [p for p in usual.predictions[1:] if not p.candidate.destructive]
    assert impression.explored
    assert impression.propensity == pytest.approx(1 / len(harmless))
    assert not answer.predictions[0].candidate.destructive
    assert sorted(order(answer)) == sorted(order(usual))
    assert order(answer)[0] != order(usual)[0]


async def test_what_happens_to_suggestions_is_counted_by_arm_too(both: TwoRankers, state: State) -> None:
    answer = await ask(both, state, having(challenger_percent=100), source=Source(name="offers"), calls=())
    id_ = answer.prediction_id or ""
    first, second = (p.candidate.operation_id for p in answer.predictions[:2])
    for event, offer in (("impression", first), ("click", first), ("click", first), ("click", second)):
        await expose(Exposure(event, offer, id_, "ana"), state.observed, 7200)  # type: ignore[arg-type]
    await expose(Exposure("conversion", second, id_, "ana"), state.observed, 7200)
    counts = (await state.arms.read("local", EXPERIMENT))["challenger"]
    assert counts == {"predictions": 1, "impressions": 2, "clicks": 2, "conversions": 1}
