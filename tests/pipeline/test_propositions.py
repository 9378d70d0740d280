"""The same pipeline ranks propositions: words, category and what was seen, nothing that needs an operation."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import settings
from pipeline.candidates.prompt import messages, offer
from pipeline.catalog.library import compile_catalog, with_vectors
from pipeline.catalog.parse import parse_spec
from pipeline.errors import BadRequest
from pipeline.local import LocalStages
from pipeline.predict import assemble, predict
from pipeline.ranking.table import COLUMN, FEATURES
from pipeline.types import Call, Prediction, Query, Source
from tests.fakes import HashingEncoder

SETTINGS = settings.load()


@pytest.fixture(scope="module")
def stages() -> LocalStages:
    return LocalStages(SETTINGS)


def ask(prompt: str = "", *seen: str, k: int = 5) -> Query:
    calls = tuple(Call("SHOW", f"/{id_}") for id_ in seen)
    return Query(source=Source(name="offers"), calls=calls, prompt=prompt, k=k)


async def told(stages: LocalStages, query: Query) -> tuple[Prediction, ...]:
    return (await predict(query, stages, None, SETTINGS)).predictions


async def test_a_prompt_finds_them_by_title_description_and_category(stages: LocalStages):
    for prompt, expected in (
        ("a mortgage for my first home", "mortgage-first"),
        ("points for flights and hotels", "credit-card-travel"),
        ("investing", "etf-plan"),
    ):
        best = [p.candidate.operation_id for p in await told(stages, ask(prompt, k=3))]
        assert expected in best, prompt


async def test_what_was_seen_brings_its_category(stages: LocalStages):
    best = [p.candidate.operation_id for p in await told(stages, ask("", "home-insurance", k=3))]
    assert {"car-insurance", "travel-insurance"} <= set(best)


async def test_with_nothing_known_the_order_of_the_list_counts(stages: LocalStages):
    answer = await predict(ask(k=50), stages, None, SETTINGS)
    catalog = (await stages.compiled(Source(name="offers"))).catalog
    assert [p.candidate.operation_id for p in answer.predictions] == [o.operation_id for o in catalog.operations]
    assert "order of the list" in answer.predictions[0].candidate.reason


async def test_none_is_held_back_and_none_has_arguments(stages: LocalStages):
    for query in (ask("cancel the direct debit and delete my card", k=50), ask("", "cancel-direct-debit", k=50)):
        predictions = await told(stages, query)
        assert len(predictions) == 26
        for p in predictions:
            assert (p.candidate.params, p.candidate.missing_params, p.candidate.destructive) == ({}, (), "")


@pytest.mark.parametrize("seen", [(), ("car-loan",), ("car-loan", "car-insurance", "car-insurance")])
@pytest.mark.parametrize("prompt", ["", "insurance for my car"])
async def test_reasons_speak_of_titles_and_never_of_paths(stages: LocalStages, prompt: str, seen: tuple[str, ...]):
    for p in await told(stages, ask(prompt, *seen, k=50)):
        for word in ("SHOW", "path", "spec", " API", "identifier", "called", "only reads"):
            assert word not in p.candidate.reason, p.candidate.reason


def test_features_that_need_an_operation_are_missing():
    data = settings.packaged_spec("offers").read_bytes()
    made = compile_catalog(parse_spec(data, SETTINGS.parse))
    made = with_vectors(made, HashingEncoder().encode([o.summary for o in made.catalog.operations]))
    query = ask("a loan for a car", "home-insurance", "car-loan")
    _, matrix = assemble(query, made, HashingEncoder().encode([query.prompt])[0], {}, SETTINGS.shortlist)
    for name in ("match", "cosine", "last_same_tag", "is_last", "last_named", "past_cosine"):
        assert not np.isnan(matrix[:, COLUMN[name]]).any(), name
    for feature in FEATURES:
        if feature.group in ("prior", "state", "goal", "typed", "verb", "last class"):
            assert np.isnan(matrix[:, COLUMN[feature.name]]).all(), feature.name
    for name in ("words_path", "last_prefix", "last_sibling", "past_supplied", "last_lifecycle"):
        assert np.isnan(matrix[:, COLUMN[name]]).all(), name


async def test_the_id_of_a_proposition_is_no_event_of_an_api(stages: LocalStages):
    query = Query(source=Source(name="billing"), calls=(Call("SHOW", "/car-loan"),))
    with pytest.raises(BadRequest, match="'car-loan', which could only be the id of a proposition"):
        await told(stages, query)


async def test_calls_of_an_api_are_unmatched_here(stages: LocalStages):
    query = Query(source=Source(name="offers"), calls=(Call("GET", "/car-loan"),))
    assert (await predict(query, stages, None, SETTINGS)).grounded.unmatched == (0,)


async def test_a_generator_is_offered_their_titles(stages: LocalStages):
    grounded = (await predict(ask("a loan"), stages, None, SETTINGS)).grounded
    text = messages(offer(grounded.candidates, 5), grounded.title, ask("a loan"), 3, 2000)[1]["content"]
    assert "Car loan" in text
    assert "Offers of a bank" in text
