"""The shortlist: who proposes what, and that nothing a client sends can break it."""

from __future__ import annotations

import dataclasses
import functools
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from pipeline import settings
from pipeline.catalog.compile import Compiled, compile_catalog, with_vectors
from pipeline.catalog.embed import operation_card
from pipeline.catalog.relations import PAIR
from pipeline.catalog.retrieve import Evidence, gather, reciprocal_rank
from pipeline.types import Call, Catalog, Operation, Parameter, Query, Source
from tests.fakes import HashingEncoder

LIMITS = settings.load().shortlist
THINGS = ("order", "customer", "invoice", "refund", "product", "shipment", "coupon", "warehouse")


@functools.cache
def shop(vectors: bool = True) -> Compiled:
    """Eight resources with five operations each."""
    operations = []
    for thing in THINGS:
        key = Parameter(f"{thing}_id", "path", required=True)
        one, many = f"/{thing}s/{{{thing}_id}}", f"/{thing}s"
        fields = ("id", "note")
        operations += [
            Operation("GET", many, f"list_{thing}s", f"List {thing}s", response_fields=("data.id",)),
            Operation("POST", many, f"create_{thing}", f"Create a {thing}", response_fields=fields, verb="create"),
            Operation("GET", one, f"get_{thing}", f"Get a {thing}", parameters=(key,), response_fields=fields),
            Operation("PATCH", one, f"update_{thing}", f"Update a {thing}", parameters=(key,), verb="update"),
            Operation("DELETE", one, f"delete_{thing}", f"Delete a {thing}", parameters=(key,), verb="delete"),
        ]
    catalog = Catalog("sha256:0", operations=tuple(operations))
    compiled = compile_catalog(catalog)
    cards = HashingEncoder().encode([operation_card(o) for o in operations])
    return with_vectors(compiled, cards) if vectors else compiled


def ask(
    prompt: str = "",
    *endpoints: str,
    made: Compiled | None = None,
    habit: dict[str, float] | None = None,
    **limits: int,
) -> tuple[Evidence, list[str]]:
    made = made or shop()
    calls = tuple(Call(*endpoint.split(" ", 1)) for endpoint in endpoints)
    query = Query(Source(name="shop"), calls=calls, prompt=prompt)
    matches = tuple(made.matcher.match(call.method, call.path) for call in calls)
    vector = HashingEncoder().encode([prompt])[0] if prompt.strip() and made.vectors is not None else None
    evidence = gather(made, query, matches, vector, habit or {}, LIMITS.model_copy(update=limits))
    return evidence, [made.catalog.operations[i].operation_id for i in evidence.candidates.tolist()]


def test_a_small_catalog_is_offered_whole() -> None:
    evidence, names = ask("cancel the coupon", "GET /orders")
    assert sorted(evidence.candidates.tolist()) == list(range(len(THINGS) * 5))
    assert len(names) == len(set(names))


def test_a_large_catalog_is_cut_to_the_limit() -> None:
    evidence, names = ask("get the invoice of an order", "GET /orders/7", total=12)
    assert len(names) == len(set(names)) == 12
    assert {"get_invoice", "get_order"} <= set(names)
    assert evidence.pairs is not None
    assert evidence.pairs.shape[2] == 12


def test_the_words_of_the_prompt_move_the_right_operation_up() -> None:
    evidence, names = ask("delete a shipment")
    assert "delete_shipment" in names[:3]
    assert {"words", "meaning"} <= set(evidence.sources[names.index("delete_shipment")])


def test_an_idiom_matches_what_it_stands_for() -> None:
    evidence, names = ask("file an invoice", made=shop(vectors=False))
    assert evidence.words is not None
    assert evidence.words[0].argmax() == names.index("create_invoice")


def test_what_is_not_wanted_is_not_matched() -> None:
    evidence, names = ask("list the invoices and do not create a coupon", made=shop(vectors=False))
    assert evidence.match is not None
    of = dict(zip(names, evidence.match, strict=True))
    assert of["list_invoices"] == 1.0
    assert of["create_coupon"] < 0.1


def test_without_vectors_words_alone_are_meant() -> None:
    evidence, names = ask("delete a shipment", made=shop(vectors=False))
    assert "delete_shipment" in names[:3]
    assert evidence.cosine is None
    assert evidence.residual_cosine is None
    assert "meaning" not in {source for sources in evidence.sources for source in sources}


def test_the_last_calls_bring_their_neighbours() -> None:
    evidence, names = ask("", "GET /customers", "GET /coupons/7", total=10)
    assert {"update_coupon", "delete_coupon", "list_coupons"} <= set(names)
    assert set(evidence.sources[0]) == {"relations"}


def test_what_lists_others_of_its_kind_produces_none_of_which_there_is_none_yet() -> None:
    key = Parameter("movie_id", "path", required=True)
    operations = (
        Operation(
            "GET",
            "/search",
            "find",
            "Find",
            parameters=(Parameter("q", "query", required=True),),
            response_fields=("movie.id",),
        ),
        Operation("GET", "/movies/{movie_id}/similar", "similar", "Similar ones", parameters=(key,)),
        Operation("GET", "/movies/{movie_id}/credits", "credits", "Credits of a movie", parameters=(key,)),
    )
    made = compile_catalog(Catalog("sha256:0", operations=operations))
    evidence, names = ask("the credits of a movie", made=made)
    assert evidence.producer is not None
    assert evidence.producer[names.index("find")] > 0
    assert evidence.producer[names.index("similar")] == 0


def test_producers_of_what_the_goal_needs_are_proposed() -> None:
    operations = (
        *shop().catalog.operations,
        Operation("GET", "/lookup", "lookup", "Find someone", response_fields=("warehouse_id",)),
    )
    catalog = Catalog("sha256:1", operations=operations)
    made = compile_catalog(catalog)
    evidence, names = ask("update a warehouse", made=made, words=3, neighbours=0)
    assert "relations" in evidence.sources[names.index("lookup")]
    assert evidence.producer is not None
    assert evidence.producer[names.index("lookup")] > 0.2


def test_what_the_session_already_has_need_not_be_produced() -> None:
    before, names_before = ask("update a warehouse")
    after, names_after = ask("update a warehouse", "GET /warehouses/7")
    assert before.producer is not None
    assert after.producer is not None
    assert before.producer[names_before.index("list_warehouses")] > after.producer[names_after.index("list_warehouses")]
    assert after.ready[names_after.index("update_warehouse")] == 1


def test_a_call_that_failed_supplies_nothing() -> None:
    made = shop()

    def ready(status: int | None) -> float:
        query = Query(Source(name="shop"), calls=(Call("GET", "/orders", status=status),))
        evidence = gather(made, query, (made.matcher.match("GET", "/orders"),), None, {}, LIMITS)
        return float(evidence.ready[evidence.candidates.tolist().index(2)])

    assert ready(None) == ready(200) > 0.8
    assert ready(500) == 0


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ([], False),
        ({"data": []}, False),
        ({"orders": {"items": [], "href": "/orders", "next": None}, "total": 0}, False),
        ([{"id": 1}], True),
        ({"data": [{"id": 1}], "errors": []}, True),
        ({"order_id": 7, "lines": []}, True),
        ({"total": 3}, True),
        (None, True),
    ],
)
def test_an_empty_answer_supplies_nothing(body: Any, found: bool) -> None:
    made = shop()
    query = Query(Source(name="shop"), calls=(Call("GET", "/orders", body=body),))
    evidence = gather(made, query, (made.matcher.match("GET", "/orders"),), None, {}, LIMITS)
    get_order = evidence.candidates.tolist().index(2)
    assert evidence.pairs is not None
    assert (evidence.ready[get_order] > 0.5, evidence.pairs[0, PAIR["supplied"], get_order] > 0.5) == (found, found)
    assert bool(evidence.newly[get_order]) == found


def test_a_sampled_answer_makes_its_entities_available() -> None:
    made = shop()
    call = Call("GET", "/orders/1", body={"order": {"customer": {"id": 4}}})
    query = Query(Source(name="shop"), calls=(call,))
    evidence = gather(made, query, (made.matcher.match("GET", "/orders/1"),), None, {}, LIMITS)
    ready = {
        made.catalog.operations[i].operation_id: r for i, r in zip(evidence.candidates, evidence.ready, strict=True)
    }
    assert ready["get_customer"] > 0.8
    assert ready["get_product"] == 0


MUSIC = compile_catalog(
    Catalog(
        "sha256:1",
        operations=(
            Operation(
                "GET",
                "/search",
                parameters=(Parameter("q", "query", required=True), Parameter("type", "query", required=True)),
                response_fields=("artists.items.id", "albums.items.id", "tracks.items.id"),
            ),
            *(
                Operation("GET", f"/{thing}/{{id}}", parameters=(Parameter("id", "path", required=True),))
                for thing in ("artists", "albums", "tracks")
            ),
            Operation("GET", "/artists", parameters=(Parameter("ids", "query", required=True),)),
            Operation(
                "GET",
                "/tempo/{id}",
                parameters=(Parameter("id", "path", required=True, description="The [ID](/about-ids) of the track."),),
            ),
        ),
    )
)


@pytest.mark.parametrize("value", ["artist", "artists", ["artist"], "artist,playlist"])
def test_an_argument_says_what_a_search_of_many_kinds_answers_with(value: Any) -> None:
    calls = (Call("GET", "/search", {"q": "Nils Frahm", "type": value}),)
    matches = (MUSIC.matcher.match("GET", "/search"),)
    evidence = gather(MUSIC, Query(Source(), calls=calls), matches, None, {}, LIMITS)
    of = {int(i): place for place, i in enumerate(evidence.candidates)}
    ready = [float(evidence.ready[of[i]]) for i in (1, 2, 3)]
    assert ready[0] > 0.6 > 0.3 > max(ready[1:])
    assert evidence.pairs is not None
    supplied = evidence.pairs[0, PAIR["supplied"]]
    assert supplied[of[1]] > 2 * supplied[of[2]]


@pytest.mark.parametrize("value", ["", "concert", 7, None, {"artist": 1}])
def test_an_argument_that_names_nothing_there_leaves_all_kinds(value: Any) -> None:
    calls = (Call("GET", "/search", {"q": "Nils Frahm", "type": value}),)
    evidence = gather(MUSIC, Query(Source(), calls=calls), (MUSIC.matcher.match("GET", "/search"),), None, {}, LIMITS)
    of = {int(i): place for place, i in enumerate(evidence.candidates)}
    assert len({float(evidence.ready[of[i]]) for i in (1, 2, 3)}) == 1


def test_reading_several_by_their_identifiers_is_half_as_ready_as_reading_one() -> None:
    calls = (Call("GET", "/artists/7"),)
    evidence = gather(
        MUSIC, Query(Source(), calls=calls), (MUSIC.matcher.match("GET", "/artists/7"),), None, {}, LIMITS
    )
    of = {int(i): place for place, i in enumerate(evidence.candidates)}
    assert (evidence.ready[of[1]], evidence.ready[of[4]]) == (1.0, 0.5)
    assert not MUSIC.relations.item[4]


def test_a_bare_id_is_of_what_its_description_says() -> None:
    assert MUSIC.relations.entities.needs(5).tolist() == MUSIC.relations.entities.needs(3).tolist()


def test_a_search_of_many_kinds_is_for_the_kind_beside_a_name() -> None:
    evidence = gather(MUSIC, Query(Source(), prompt="play the album Blue Train"), (), None, {}, LIMITS)
    of = {int(i): place for place, i in enumerate(evidence.candidates)}
    assert evidence.named is not None
    assert evidence.named[of[0]] == 1.0
    evidence = gather(MUSIC, Query(Source(), prompt="what is new at Blue Note"), (), None, {}, LIMITS)
    assert evidence.named is not None
    assert evidence.named[of[0]] < 1.0


@functools.cache
def lookups() -> Compiled:
    """Ways to find a customer, each by a required field of a kind that a prompt can be seen to hold."""
    names = ("email", "zip", "last_name", "date_of_birth", "msisdn")
    operations = (Operation("GET", f"/by_{n}", n, parameters=(Parameter(n, "query", required=True),)) for n in names)
    return compile_catalog(Catalog("sha256:2", operations=tuple(operations)))


@pytest.mark.parametrize(
    ("prompt", "kinds"),
    [
        ("Your phone number is +4915198800121", {"msisdn"}),
        ("call 0151 9880 0121 back", {"msisdn"}),
        ("your mobile number: 4915198800121", {"msisdn"}),
        ("your name is Jürgen Müller", {"last_name"}),
        ("you are José García, at j@x.es", {"last_name", "email"}),
        ("you are Sean O'Brien", {"last_name"}),
        ("You're Anna", set()),
        ("Émile Zola, born 1988-04-12 10:30:00", {"last_name", "date_of_birth"}),
        ("what became of order 4915198800121?", set()),
    ],
)
def test_a_field_is_asked_for_by_the_kind_of_value_that_the_prompt_holds(prompt: str, kinds: set[str]) -> None:
    evidence, names = ask(prompt, made=lookups())
    assert evidence.typed is not None
    found = evidence.typed @ evidence.demands
    assert {name for name, seen in zip(names, found, strict=True) if seen} == kinds


def test_habit_proposes_what_it_knows_and_ignores_what_it_does_not() -> None:
    habit = {"DELETE /products/{product_id}": 0.6, "GET /gone": 0.3, "GET /coupons": 0.1}
    evidence, names = ask("", "GET /orders", habit=habit, total=10)
    assert "habit" in evidence.sources[names.index("delete_product")]
    assert "list_coupons" in names


def test_a_call_outside_the_catalog_is_history_without_an_operation() -> None:
    evidence, _ = ask("", "GET /nowhere", "GET /orders", "PUT /nowhere")
    assert evidence.history.tolist()[0] == evidence.history.tolist()[2] == -1
    assert len(evidence.recent) == 1


def test_without_prompt_and_history_reads_that_need_nothing_come_first() -> None:
    evidence, names = ask()
    assert all(name.startswith("list_") for name in names[: len(THINGS)])
    assert evidence.match is None
    assert evidence.pairs is None


def test_equal_queries_have_equal_shortlists_to_the_byte() -> None:
    first, _ = ask("refund the order", "GET /orders", "GET /orders/1", total=20)
    second, _ = ask("refund the order", "GET /orders", "GET /orders/1", total=20)
    assert pickle.dumps(dataclasses.astuple(first)) == pickle.dumps(dataclasses.astuple(second))


def test_equal_scores_share_the_best_rank() -> None:
    assert reciprocal_rank(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == pytest.approx([1, 1 / 4, 1, 1 / 3])


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
paths = st.sampled_from(["/orders", "/orders/7", "/customers/x", "/refunds", "/nowhere", "", "/"]) | st.text(
    max_size=20
)
calls = st.builds(
    Call,
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE", "BREW"]),
    path=paths,
    params=st.dictionaries(st.sampled_from(["order_id", "id", "q"]) | st.text(max_size=8), json, max_size=3),
    body=json,
)
prompts = st.text(max_size=60) | st.sampled_from(["delete the order", "#W123 “a", "a" * 4000, "\ud800", " \n"])


@effort(deadline=None)
@given(prompts, st.lists(calls, max_size=6), st.booleans(), st.integers(1, 60))
def test_any_prompt_and_history_has_a_shortlist(prompt: str, history: list[Call], vectors: bool, total: int) -> None:
    made = shop(vectors)
    query = Query(Source(name="shop"), calls=tuple(history), prompt=prompt)
    matches = tuple(made.matcher.match(call.method, call.path) for call in history)
    vector: Any = np.full(64, 0.125, dtype=np.float32) if vectors and prompt.strip() else None
    evidence = gather(made, query, matches, vector, {}, LIMITS.model_copy(update={"total": total}))
    chosen = evidence.candidates.tolist()
    assert len(chosen) == len(set(chosen)) == min(total, made.relations.size)
    assert all(0 <= i < made.relations.size for i in chosen)
    assert len(evidence.sources) == len(chosen)
