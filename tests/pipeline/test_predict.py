"""The story of a prediction in one process: real catalogs, real ranker, no Ray."""

from __future__ import annotations

import pickle

import msgspec
import numpy as np
import pytest

from pipeline import settings
from pipeline.catalog.library import compile_catalog, with_vectors
from pipeline.catalog.parse import parse_spec
from pipeline.catalog.terms import prompt_terms
from pipeline.errors import BadRequest, GuardrailRefused, Overloaded, StateUnavailable
from pipeline.local import LocalStages
from pipeline.predict import assemble, predict, prepare
from pipeline.ranking import adapt, features
from pipeline.types import Call, Proposal, Query, Route, Source
from tests.fakes import HashingEncoder

SETTINGS = settings.load()
GROUNDED_LIMIT = 64 * 1024

REFUND = Query(
    source=Source(name="billing"), calls=(Call("GET", "/v1/charges/ch_123"),), prompt="refund the duplicate charge", k=3
)


def compiled(data: bytes):
    made = compile_catalog(parse_spec(data, SETTINGS.parse))
    return with_vectors(made, HashingEncoder().encode([o.summary or o.key for o in made.catalog.operations]))


@pytest.fixture(scope="module")
def billing():
    return compiled(settings.packaged_spec("billing").read_bytes())


@pytest.fixture(scope="module")
def stages():
    return LocalStages(SETTINGS)


async def tell(stages, query=REFUND, memory=None, loaded=SETTINGS):
    return await predict(query, stages, memory, loaded)


async def test_the_answer_binds_what_was_just_seen_and_says_so(stages):
    best = (await tell(stages)).predictions[0].candidate
    assert best.operation == "POST /v1/refunds"
    assert best.params["charge"] == "ch_123"
    assert "ch_123" in best.reason


async def test_what_explains_a_prediction_adds_up_and_is_there_only_when_asked_for(stages):
    told = await tell(stages, msgspec.structs.replace(REFUND, explain=True, k=50))
    scores = {}
    for prediction in told.predictions:
        why = prediction.explanation
        assert why.ranker == pytest.approx(prediction.confidence)  # nothing was learnt here
        parts = [part for _, _, part in why.parts]
        assert all(part > 0 for part in parts)
        assert parts == sorted(parts, reverse=True)
        scores[prediction.candidate.operation] = (prediction.score, why.above)
    assert sum(bool(prediction.explanation.parts) for prediction in told.predictions) > 20
    offsets = [score - above for score, above in scores.values()]
    assert max(offsets) - min(offsets) < 1e-3  # one mean is taken off all of them
    plain = await tell(stages)
    assert [prediction.explanation for prediction in plain.predictions] == [None] * 3
    scores = [p.score for p in told.predictions[:3]]
    assert [p.score for p in plain.predictions] == pytest.approx(scores, rel=1e-4)  # among fewer candidates


async def test_asked_for_more_than_there_is_all_harmless_operations_come_once(stages):
    answer = await tell(stages, Query(source=Source(name="billing"), k=50))
    operations = [p.candidate.operation for p in answer.predictions]
    catalog = (await stages.compiled(Source(name="billing"))).catalog
    assert sorted(operations) == sorted(o.key for o in catalog.operations if not o.destructive)


async def test_the_guard_can_be_turned_off_by_a_setting(stages):
    free = SETTINGS.model_copy(update={"guardrails": SETTINGS.guardrails.model_copy(update={"destructive": "allow"})})
    answer = await tell(stages, Query(source=Source(name="billing"), k=50), loaded=free)
    assert any(p.candidate.destructive for p in answer.predictions)


class _Memory:
    def __init__(self, *, recall: Exception | None = None, remember: Exception | None = None) -> None:
        self.raises, self.refuses, self.kept = recall, remember, []

    async def recall(self, query):
        if self.raises:
            raise self.raises
        known = {"digest": "", "accepted": frozenset(), "habit": {"GET /v1/refunds": 5.0}, "losses": ()}
        return type("Recall", (adapt.Nothing,), known)()

    async def remember(self, impression):
        if self.refuses:
            raise self.refuses
        self.kept.append(impression)

    def new_id(self):
        return "id-1"


@pytest.mark.parametrize("broken", ["recall", "remember"])
async def test_without_the_state_the_answer_has_no_id_and_says_why(stages, broken):
    answer = await tell(stages, memory=_Memory(**{broken: StateUnavailable("away")}))
    assert answer.prediction_id is None
    assert "state" in answer.degraded
    assert answer.predictions


async def test_the_impression_keeps_the_rows_it_was_scored_on(stages):
    memory = _Memory()
    answer = await tell(stages, memory=memory)
    (impression,) = memory.kept
    rows = np.frombuffer(impression.features, np.float16).reshape(-1, len(features.FEATURES))
    assert impression.shown == tuple(p.candidate.operation for p in answer.predictions)
    assert len(rows) == len(impression.shown) + len(impression.others) == len(impression.scores)
    assert impression.fingerprint == features.FINGERPRINT


@pytest.mark.parametrize(
    "query",
    [REFUND, msgspec.structs.replace(REFUND, prompt=""), msgspec.structs.replace(REFUND, calls=())],
    ids=["both", "history", "prompt"],
)
def test_the_two_halves_make_the_matrix_that_training_makes(billing, query):
    vector = HashingEncoder().encode([query.prompt])[0] if query.prompt else None
    grounded = prepare(query, billing, vector, {}, SETTINGS.shortlist)
    travelled = pickle.loads(pickle.dumps(grounded))  # as over the hop from Catalogs to Ingress
    served = features.compute(travelled, query, None)
    _, trained = assemble(query, billing, vector, {}, SETTINGS.shortlist)
    assert served.dtype == trained.dtype == np.float32
    assert 24 <= len(served) < len(trained)  # what leaves the catalog is the head of what is trained on
    assert served.tobytes() == trained[: len(served)].tobytes()


def _wide(operations: int) -> bytes:
    """A spec whose every text is as long as specs have them."""
    words = "administrative configuration assignment "
    paths = {}
    for i in range(operations):
        path = f"/organisations/{{organisation_identifier}}/resource-{i}/{{resource_{i}_identifier}}/members"
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": words * 9}
            for name in ("organisation_identifier", f"resource_{i}_identifier")
        ]
        body = {f"field_{j}": {"type": "string", "description": words * 9} for j in range(30)}
        paths[path] = {
            "post": {
                "operationId": f"createOrganisationResource{i}MembersConfiguration",
                "summary": f"{words * 4} {i}",
                "description": words * 30,
                "parameters": parameters,
                "requestBody": {"content": {"application/json": {"schema": {"properties": body, "required": [*body]}}}},
                "responses": {"200": {"description": "ok"}},
            }
        }
    return msgspec.json.encode({"openapi": "3.0.0", "info": {"title": "Wide", "version": "1"}, "paths": paths})


def test_what_comes_back_from_catalogs_is_bounded_whatever_was_sent():
    wide = compiled(_wide(400))
    path = "/organisations/{}/resource-{}/{}/members"
    calls = tuple(
        Call("POST", path.format("o" * 3000, i, "r" * 3000), params={f"field_{j}": "v" * 5000 for j in range(30)})
        for i in range(100)
    )
    query = Query(source=Source(digest="x"), calls=calls, prompt="create members " * 200)
    grounded = prepare(query, wide, HashingEncoder().encode([query.prompt])[0], {}, SETTINGS.shortlist)
    assert len(pickle.dumps(grounded, 5)) <= GROUNDED_LIMIT


def test_the_largest_real_catalog_stays_within_the_bound(eval_folder):
    github = compiled((eval_folder / "specs" / "github.json").read_bytes())
    calls = tuple(Call("GET", f"/repos/octo/hello/issues/{i}") for i in range(100))
    query = Query(source=Source(digest="x"), calls=calls, prompt="add a label to the issue")
    grounded = prepare(query, github, HashingEncoder().encode([query.prompt])[0], {}, SETTINGS.shortlist)
    assert len(pickle.dumps(grounded, 5)) <= GROUNDED_LIMIT
    assert sum(bool(c.schema) for c in grounded.candidates) <= 30


def test_the_leading_ones_leave_the_catalog_and_what_people_are_used_to():
    answers = {"responses": {"200": {"description": "ok"}}}
    paths = {f"/things/kind-{i}": {"get": {"operationId": f"list_{i}", **answers}, "post": answers} for i in range(40)}
    spec = {"openapi": "3.0.0", "info": {"title": "Wide", "version": "1"}, "paths": paths}
    wide, few = compiled(msgspec.json.encode(spec)), SETTINGS.shortlist.model_copy(update={"leading": 12, "schemas": 0})

    def leaving(k=5, habit=None, limits=few):
        query = Query(source=Source(digest="x"), calls=(Call("GET", "/things/kind-7"),), k=k)
        grounded = prepare(query, wide, None, habit or {}, limits)
        assert len(grounded.block) == len(grounded.candidates)
        return [c.operation for c in grounded.candidates]

    everything = leaving(limits=few.model_copy(update={"leading": 64}))
    assert len(everything) == 64
    assert leaving() == everything[:12]
    assert leaving(k=20) == everything[:40]
    wide_off = everything[-1]
    assert wide_off in leaving(habit={wide_off: 1e-6})


async def test_a_late_generator_degrades_and_a_good_one_adds_arguments(stages):
    class Late(LocalStages):
        async def propose(self, query, grounded, outlook, budget_s):
            return None, Route("none", "late", is_degraded=True)

    answer = await tell(Late(SETTINGS))
    assert "generator" in answer.degraded

    class Good(LocalStages):
        async def propose(self, query, grounded, outlook, budget_s):
            index = [c.operation for c in grounded.candidates].index("POST /v1/refunds")
            picks = ((index, {"charge": "ch_other", "amount": 700}, "They paid twice."),)
            return Proposal(picks, model="m"), Route("small", "worth")

    best = (await tell(Good(SETTINGS))).predictions[0].candidate
    assert best.params["amount"] == 700
    assert best.params["charge"] == "ch_123"  # what was seen beats what a model wrote
    assert best.reason == "They paid twice."
    assert "generator" in best.sources


async def test_a_destructive_pick_of_the_generator_is_shown_only_with_evident_intent(stages):
    class Eager(LocalStages):
        async def propose(self, query, grounded, outlook, budget_s):
            destructive = [i for i, c in enumerate(grounded.candidates) if c.destructive]
            assert len(destructive) > 3
            picks = tuple((i, {}, "Because I say so.") for i in destructive)
            return Proposal(picks, model="m"), Route("small", "worth")

    harmless = msgspec.structs.replace(REFUND, prompt="show the charge", k=50)
    shown = [p.candidate for p in (await tell(Eager(SETTINGS), harmless)).predictions]
    assert shown
    assert not any(candidate.destructive for candidate in shown)
    asked = await tell(Eager(SETTINGS), msgspec.structs.replace(REFUND, k=50))
    assert {p.candidate.destructive for p in asked.predictions} == {"", "refund"}


async def test_what_the_session_made_may_be_taken_away_without_a_word_and_nothing_else(stages):
    made = Call("POST", "/v1/customers", {"email": "a@example.com"})
    session = (Call("GET", "/v1/customers"), made, Call("GET", "/v1/customers/cus_1"))
    query = msgspec.structs.replace(REFUND, prompt="", k=50, calls=session)
    shown = {p.candidate.operation for p in (await tell(stages, query)).predictions if p.candidate.destructive}
    assert shown == {"DELETE /v1/customers/{customer}"}
    before = msgspec.structs.replace(query, calls=(session[0], Call("GET", "/v1/customers/cus_0"), made))
    assert not any(p.candidate.destructive for p in (await tell(stages, before)).predictions)
    looked = msgspec.structs.replace(query, calls=(session[0], session[0], session[2]))
    assert not any(p.candidate.destructive for p in (await tell(stages, looked)).predictions)


async def test_what_cannot_be_asked_is_refused_before_any_work(stages):
    with pytest.raises(BadRequest):
        await tell(stages, msgspec.structs.replace(REFUND, k=0))


async def test_a_call_of_no_operation_is_named_and_stays_history(stages):
    query = msgspec.structs.replace(REFUND, calls=(Call("GET", "/nowhere"), *REFUND.calls))
    assert (await tell(stages, query)).grounded.unmatched == (0,)


async def test_personal_data_reaches_neither_generator_nor_store_and_stands_in_the_answer():
    mail = "ann.lee@example.com"

    class _Reads(LocalStages):
        async def propose(self, query, grounded, outlook, budget_s):
            self.read = query
            return Proposal(((0, {"receipt_email": "EMAIL_1"}, "EMAIL_1 wants it"),), "m"), Route("small", "worth")

    stages, memory = _Reads(SETTINGS), _Memory()
    calls = (Call("GET", "/v1/customers", {"email": mail}),)
    query = Query(source=Source(name="billing"), calls=calls, prompt=f"create a customer for {mail}", k=10)
    answer = await tell(stages, query, memory)
    assert mail not in repr(stages.read)
    assert stages.read.prompt == "create a customer for EMAIL_1"
    assert mail in str([p.candidate.params for p in answer.predictions])
    assert "EMAIL_1" not in str([(p.candidate.params, p.candidate.reason) for p in answer.predictions])
    assert answer.flags == ("email",)
    assert not set(prompt_terms(mail)) & set(memory.kept[0].terms)
    assert set(prompt_terms("create a customer")) <= set(memory.kept[0].terms)


async def test_prompt_that_the_settings_block_is_refused(stages):
    attacks = SETTINGS.guardrails.attacks.model_copy(update={"sql": "block"})
    strict = SETTINGS.model_copy(update={"guardrails": SETTINGS.guardrails.model_copy(update={"attacks": attacks})})
    with pytest.raises(GuardrailRefused):
        await tell(stages, Query(source=Source(name="billing"), prompt="x'; DROP TABLE users; --"), loaded=strict)


async def test_the_ranker_says_first_how_sure_it_is_and_scores_again_only_with_a_proposal():
    class Counting(LocalStages):
        scored, outlooks, proposal = 0, (), None

        async def score(self, *arguments):
            self.scored += 1
            return await super().score(*arguments)

        async def propose(self, query, grounded, outlook, budget_s):
            self.outlooks = (*self.outlooks, outlook)
            return self.proposal, Route("small", "worth") if self.proposal else Route("none", "not_worth")

    stages = Counting(SETTINGS)
    answer = await tell(stages)
    assert stages.scored == 1
    (outlook,) = stages.outlooks
    first, second = (p.confidence for p in answer.predictions[:2])
    assert outlook == (pytest.approx(first), pytest.approx(first - second), pytest.approx(0.0))
    stages.proposal = Proposal(((0, {}, ""),), model="m")
    assert (await tell(stages)).route.tier == "small"
    assert stages.scored == 3


async def test_a_proposal_that_cannot_be_scored_leaves_the_first_order():
    class Away(LocalStages):
        scored = 0

        async def score(self, *arguments):
            self.scored += 1
            if self.scored == 2:
                raise Overloaded("away")
            return await super().score(*arguments)

        async def propose(self, query, grounded, outlook, budget_s):
            return Proposal(((0, {}, ""),), model="m"), Route("small", "worth")

    answer = await tell(Away(SETTINGS))
    assert answer.predictions == (await tell(LocalStages(SETTINGS))).predictions
    assert "generator" in answer.degraded
    assert answer.proposal is None
