"""Who needs what, who supplies it, and how paths stand to one another."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from pipeline.catalog import session
from pipeline.catalog.entities import SEARCH_REQUIRED, searches
from pipeline.catalog.identifiers import identifier
from pipeline.catalog.relations import PAIR, PAIRS, Relations
from pipeline.catalog.words import Words
from pipeline.types import Catalog, Link, Operation, Parameter


def path_parameter(name: str) -> Parameter:
    return Parameter(name, "path", required=True, type="string")


LIST = Operation("GET", "/pets", "listPets", "List pets", tags=("pets",), response_fields=("data.id", "data.owner.id"))
MAKE = Operation("POST", "/pets", "createPet", "Create a pet", tags=("pets",), response_fields=("id",), verb="create")
GET = Operation("GET", "/pets/{petId}", "getPet", "Get a pet", tags=("pets",), parameters=(path_parameter("petId"),))
VISITS = Operation("GET", "/pets/{id}/visits", "listVisits", "List visits", parameters=(path_parameter("id"),))
OWNER = Operation("GET", "/owners/{owner_id}", "getOwner", "Get an owner", parameters=(path_parameter("owner_id"),))
DROP = Operation(
    "DELETE", "/pets/{petId}", "deletePet", "Delete a pet", parameters=(path_parameter("petId"),), verb="delete"
)
SEARCH = Operation("GET", "/search", "search", "Search", parameters=(Parameter("q", "query", required=True),))
OPERATIONS = (LIST, MAKE, GET, VISITS, OWNER, DROP, SEARCH)


@pytest.fixture
def relations() -> Relations:
    return Relations(Catalog("sha256:0", operations=OPERATIONS))


def row(relations: Relations, operation: int) -> np.ndarray:
    """All operations seen from one: float32 [len(PAIRS), n_operations]."""
    return relations.pairs(np.array([operation]), np.arange(relations.size))[0]


def pair(relations: Relations, before: Operation, after: Operation, name: str) -> float:
    return float(row(relations, OPERATIONS.index(before))[PAIR[name], OPERATIONS.index(after)])


def test_a_list_supplies_the_id_that_a_get_needs(relations: Relations) -> None:
    assert pair(relations, LIST, GET, "supplied") == pytest.approx(0.9)
    assert pair(relations, LIST, OWNER, "supplied") == pytest.approx(1.0)
    assert pair(relations, SEARCH, GET, "supplied") == 0


def test_a_bare_id_is_the_id_of_the_segment_before_it(relations: Relations) -> None:
    assert relations.entities.needs(3).tolist() == relations.entities.needs(2).tolist()


def test_a_write_supplies_less_and_a_deletion_nothing(relations: Relations) -> None:
    assert 0 < pair(relations, MAKE, GET, "supplied") < pair(relations, LIST, GET, "supplied")
    assert pair(relations, DROP, OWNER, "supplied") == 0


def test_an_operation_supplies_nothing_it_needs_itself(relations: Relations) -> None:
    keys, _ = relations.entities.supplies(2)
    assert not set(keys.tolist()) & set(relations.entities.needs(2).tolist())


def test_names_supply_where_there_is_no_response_schema() -> None:
    find = Operation("GET", "/find_user_id_by_email", "find_user_id_by_email", "Find a user")
    details = Operation(
        "GET", "/user_details", "user_details", "Details", parameters=(Parameter("user_id", "query", required=True),)
    )
    relations = Relations(Catalog("sha256:0", operations=(find, details)))
    assert row(relations, 0)[PAIR["supplied"], 1] == pytest.approx(0.55)


def test_a_search_supplies_the_kinds_it_can_be_asked_for_also_those_its_example_answer_lacks() -> None:
    kind = Parameter("type", "path", required=True, type="string", enum=("movie", "show"))
    text = Parameter("query", "query", required=True, type="string")
    answer = ("movie.ids.movie_id", "movie.title")
    find = Operation("GET", "/search/{type}", parameters=(kind, text), response_fields=answer)
    lists = Operation("GET", "/popular/{type}", parameters=(kind,), response_fields=answer)
    seasons = Operation("GET", "/shows/{show_id}/seasons", parameters=(path_parameter("show_id"),))
    movie = Operation("GET", "/movies/{movie_id}", parameters=(path_parameter("movie_id"),))
    relations = Relations(Catalog("sha256:0", operations=(find, lists, seasons, movie)))
    assert row(relations, 0)[PAIR["supplied"], 2] == pytest.approx(0.9)
    assert row(relations, 1)[PAIR["supplied"], 2] == 0  # nothing is searched for
    entities = relations.entities
    assert entities.asked(0, {"type": "show"}) == set(entities.needs(2).tolist())


@pytest.mark.parametrize(
    ("name", "is_text"),
    [
        ("q", True),
        ("search_text", True),
        ("queryString", True),
        ("search_id", False),
        ("text", False),
        ("term_key", False),
    ],
)
def test_a_text_to_search_for_goes_by_several_names(name: str, is_text: bool) -> None:
    find = Operation("GET", "/things", parameters=(Parameter(name, "query", required=True, type="string"),))
    assert searches(find) == (SEARCH_REQUIRED if is_text else 0)


FILM = ("id", "name", "runtime", "tagline", "released")
PERSON = ("id", "name", "born", "portrait")
CINEMA = (
    Operation("GET", "/film/{film_id}", parameters=(path_parameter("film_id"),), response_fields=FILM),
    Operation("GET", "/person/{person_id}", parameters=(path_parameter("person_id"),), response_fields=PERSON),
    Operation(
        "GET",
        "/film/{film_id}/credits",
        parameters=(path_parameter("film_id"),),
        response_fields=("id", "cast.id", "cast.name", "cast.part", "cast.born", "cast.portrait"),
    ),
    Operation(
        "GET",
        "/saga/{saga_id}",
        parameters=(path_parameter("saga_id"),),
        response_fields=("id", "name", "parts.id", "parts.runtime", "parts.released"),
    ),
    Operation(
        "GET",
        "/look",
        response_fields=(*(f"found.{name}" for name in PERSON), *(f"found.known.{name}" for name in FILM)),
    ),
    Operation("GET", "/notes", response_fields=("who.name", "who.born", "who.portrait")),
)


@pytest.mark.parametrize(
    ("before", "after", "grade"),
    [
        (2, 1, 0.9),  # the cast are persons
        (3, 0, 0.9),  # the parts of a saga are films
        (4, 1, 0.9),
        (4, 0, 0.54),  # films inside of persons
        (5, 1, 0.0),  # a person without an identifier
    ],
)
def test_a_part_of_an_answer_is_the_entity_whose_fields_it_has(before: int, after: int, grade: float) -> None:
    relations = Relations(Catalog("sha256:0", operations=CINEMA))
    assert row(relations, before)[PAIR["supplied"], after] == pytest.approx(grade)


def test_a_sampled_answer_is_recognized_by_its_fields() -> None:
    entities = Relations(Catalog("sha256:0", operations=CINEMA)).entities
    person = entities.needs(1)[0]
    assert entities.of_parts(["hosts", "hosts.id", "hosts.born", "hosts.portrait"]) == [(person, pytest.approx(0.9))]
    assert entities.of_parts(["hosts", "hosts.id", "hosts.height"]) == []


def test_fields_that_everything_has_tell_no_entity() -> None:
    shared = ("id", "name", "created_at", "status")
    one = Operation("GET", "/box/{box_id}", parameters=(path_parameter("box_id"),), response_fields=shared)
    other = Operation("GET", "/recent", response_fields=tuple(f"seen.{name}" for name in shared))
    relations = Relations(Catalog("sha256:0", operations=(one, other)))
    assert row(relations, 1)[PAIR["supplied"], 0] == 0


def test_an_identifier_beside_that_of_a_recognized_part_supplies_less() -> None:
    deal = Operation("GET", "/deal/{deal_id}", parameters=(path_parameter("deal_id"),))
    cast = CINEMA[2]
    cast = msgspec.structs.replace(cast, response_fields=(*cast.response_fields, "cast.deal_id"))
    relations = Relations(Catalog("sha256:0", operations=(*CINEMA[:2], cast, deal)))
    supplied = row(relations, 2)[PAIR["supplied"]]
    assert supplied[1] == pytest.approx(0.9)
    assert supplied[3] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("path", "name", "is_need"),
    [
        ("/user/keys", "key", False),  # the very key that is made
        ("/repos/{repo}/keys", "key", False),
        ("/users", "user_id", False),
        ("/teams/{team}/members", "member_id", True),  # a member there is
        ("/teams/{team}/members", "id", True),
        ("/orders", "customer_id", True),
        ("/orders", "idempotency_key", False),
    ],
)
def test_what_a_call_makes_or_its_caller_invents_is_no_need(path: str, name: str, is_need: bool) -> None:
    make = Operation("POST", path, parameters=(Parameter(name, "body", required=True),), verb="create")
    relations = Relations(Catalog("sha256:0", operations=(make,)))
    assert bool(len(relations.entities.needs(0))) == is_need


@pytest.mark.parametrize(
    ("collection", "member"),
    [
        ("/runs", "/runs/{jobId}"),
        ("/runs.json", "/runs/{job_id}.json"),
        ("/runs/", "/runs/{job}/"),
        ("/runs", "/runs/{guid}"),
    ],
)
def test_a_collection_supplies_what_identifies_one_of_it_whatever_it_is_called(collection: str, member: str) -> None:
    name = member[member.index("{") + 1 : member.index("}")]
    make = Operation("POST", collection, response_fields=("state",), verb="create")
    look = Operation("GET", member, parameters=(path_parameter(name),))
    relations = Relations(Catalog("sha256:0", operations=(make, look, Operation("GET", "/other"))))
    assert row(relations, 0)[PAIR["supplied"], 1] >= 0.33
    assert row(relations, 2)[PAIR["supplied"], 1] == 0


def test_an_id_that_others_name_after_its_place_is_of_what_stands_there() -> None:
    paths = ("/p/{p}/issues/{issue_id}", "/p/{id}/issues/{noteable_id}/notes", "/p/{id}/issues/{parent_id}/tree")
    looks = [Operation("GET", p, parameters=tuple(map(path_parameter, re.findall(r"{(\w+)}", p)))) for p in paths]
    entities = Relations(Catalog("sha256:0", operations=tuple(looks))).entities
    issue, noted, below = (set(entities.needs(i).tolist()) for i in range(3))
    assert issue & noted
    assert not issue & below


def test_an_id_that_begins_with_the_noun_before_it_is_of_that_noun() -> None:
    paths = ("/subscriptions/{subscription}", "/users/{user}/subscriptions/{subscription_exposed_id}")
    looks = [Operation("GET", p, parameters=tuple(map(path_parameter, re.findall(r"{(\w+)}", p)))) for p in paths]
    entities = Relations(Catalog("sha256:0", operations=tuple(looks))).entities
    assert set(entities.needs(0).tolist()) < set(entities.needs(1).tolist())


def test_a_name_that_is_short_for_several_is_of_what_stands_before_it() -> None:
    paths = ("/payment_intents/{intent}", "/setup_intents/{intent}", "/setup_intents/{intent}/confirm", "/tags/{$}")
    looks = [Operation("GET", p, parameters=(path_parameter(p.split("{")[1].split("}")[0]),)) for p in paths]
    entities = Relations(Catalog("sha256:0", operations=tuple(looks))).entities
    paid, set_up, confirmed = (entities.needs(i).tolist() for i in range(3))
    assert paid != set_up
    assert set_up == confirmed


def test_a_search_text_in_a_path_is_no_need() -> None:
    find = Operation("GET", "/projects/search/{query}", parameters=(path_parameter("query"),))
    kept = Operation("GET", "/searches/{saved_search_query}", parameters=(path_parameter("saved_search_query"),))
    entities = Relations(Catalog("sha256:0", operations=(find, kept))).entities
    assert [len(entities.needs(i)) for i in range(2)] == [0, 1]


def test_the_type_of_what_is_made_asks_for_nothing_by_kind() -> None:
    kind = Parameter("type", "body", type="string", enum=("card",))
    fields = ("id", "card.id")
    make = Operation("POST", "/methods", parameters=(kind,), response_fields=fields, verb="create")
    find = Operation("GET", "/methods", parameters=(kind,), response_fields=fields)
    looks = [
        Operation("GET", f"/{one}s/{{{one}_id}}", parameters=(path_parameter(f"{one}_id"),))
        for one in ("method", "card")
    ]
    entities = Relations(Catalog("sha256:0", operations=(make, find, *looks))).entities
    assert not entities.asked(0, {"type": "card"})
    assert entities.asked(1, {"type": "card"})


@pytest.mark.parametrize(
    "name", ["orderid", "orderId", "order_id", "orderids", "ordername", "order_index", "orderNo", "order_gid"]
)
def test_an_id_that_is_glued_to_its_word_is_an_id(name: str) -> None:
    looks = [
        Operation("GET", f"/{i}/{{{one}}}", parameters=(path_parameter(one),))
        for i, one in enumerate([name, "order_id"])
    ]
    entities = Relations(Catalog("sha256:0", operations=tuple(looks))).entities
    assert entities.needs(0).tolist() == entities.needs(1).tolist()


def test_a_word_that_ends_like_an_id_is_none() -> None:
    assert identifier("hybrid", in_path=False) is None
    assert identifier("prepaid", in_path=False) is None


@pytest.mark.parametrize(
    ("parameter", "is_need"),
    [
        (Parameter("artist", "body", required=True, type="string", description="Artist's id"), True),
        (Parameter("seed_artists", "query", required=True, type="string", description="IDs of artists"), True),
        (Parameter("artist", "body", required=True, type="string", description="Name of the artist"), False),
        (Parameter("artist", "query", type="string", description="Artist's id"), False),
        (Parameter("artist", "body", required=True, enum=("x1", "x2"), description="Artist's id"), False),
        (Parameter("market", "query", required=True, type="string", description="Id of the market"), False),
    ],
)
def test_a_noun_of_the_paths_that_holds_an_id_is_a_need(parameter: Parameter, is_need: bool) -> None:
    use = Operation("POST", "/tours", parameters=(parameter,), verb="create")
    get = Operation("GET", "/artists/{artist_id}", parameters=(path_parameter("artist_id"),))
    entities = Relations(Catalog("sha256:0", operations=(use, get))).entities
    assert entities.needs(0).tolist() == (entities.needs(1).tolist() if is_need else [])
    assert entities.given_by_user(use) == (parameter.required and not is_need)


def test_a_reference_is_the_identifier_of_the_noun_before_it() -> None:
    find = Operation("GET", "/find", response_fields=("clientRef",))
    look = Operation("GET", "/clients/{clientRef}", parameters=(path_parameter("clientRef"),))
    references = tuple(Parameter(name, "query", required=True) for name in ("client_reference", "proof_reference"))
    loan = Operation("POST", "/loans", parameters=references, verb="create")
    relations = Relations(Catalog("sha256:0", operations=(find, look, loan)))
    assert row(relations, 0)[PAIR["supplied"], 1:].tolist() == [1.0, 1.0]
    assert relations.entities.ending_in("client") == [(("client",), 0)]


@pytest.mark.parametrize(
    ("name", "path", "is_key"),
    [("iban", "/accounts/{iban}", True), ("country", "/accounts/{country}", False), ("iban", "/iban/{iban}", False)],
)
def test_what_a_list_shows_and_a_path_takes_is_the_key_of_what_is_listed(name: str, path: str, is_key: bool) -> None:
    mine = Operation("GET", "/clients/{client_id}/accounts", response_fields=(f"accounts.{name}",))
    made = Operation("POST", "/transfers", response_fields=(f"from.{name}",), verb="create")
    look = Operation("GET", path, parameters=(path_parameter(name),))
    relations = Relations(Catalog("sha256:0", operations=(mine, made, look)))
    grades = [0.9, 0.54] if is_key else [0.35, 0.21]
    assert relations.pairs(np.arange(2), np.array([2]))[:, PAIR["supplied"], 0].tolist() == pytest.approx(grades)
    assert bool(relations.entities.ending_in("account")) == is_key


@pytest.mark.parametrize(
    ("description", "is_own"),
    [
        ('To access the primary calendar of the logged in user, use the "primary" keyword.', True),
        ("The id of the calendar. The special value `me` can be used.", True),
        ("The primary id of the calendar", False),
        ("Use the id of the calendar that lists show. 'me' is no calendar", False),
    ],
)
def test_the_callers_own_goes_by_a_keyword_before_any_call(description: str, is_own: bool) -> None:
    calendar = msgspec.structs.replace(path_parameter("calendarId"), description=description)
    events = Operation("GET", "/calendars/{calendarId}/events", parameters=(calendar,))
    catalog = Catalog("sha256:0", operations=(events,))
    relations = Relations(catalog)
    ready, unbound = relations.ready(session.read(relations, Words(catalog), (), ()).state)
    assert (ready[0], unbound[0]) == ((0.5, 0) if is_own else (0, 1))


@pytest.mark.parametrize(
    ("name", "description", "is_need"),
    [
        ("pnr", "Record locator of the reservation, such as 'K7QX2M'.", True),
        ("rsv", "The reservation, such as 'R-7710'", True),
        ("reservation_code", "Code, such as 'R-7710'", True),
        ("pnr", "Record locator of the reservation, such as 'KQXM'.", False),  # no digit
        ("pnr", "Record locator of the passport, such as 'K7QX2M'.", False),  # nothing that the paths speak of
        ("day", "Day of the reservation, such as '2031-02-28'", False),
        ("phone", "Phone number of the reservation, such as '+4917000001'", False),
    ],
)
def test_a_quoted_code_is_that_of_what_its_description_names(name: str, description: str, is_need: bool) -> None:
    code = Parameter(name, "query", required=True, type="string", description=description)
    find = Operation("GET", "/findReservations", "findReservations")
    answer = Operation("GET", "/guests", response_fields=(f"stays.{name}",))
    uses = [Operation("GET", path, parameters=(code,)) for path in ("/getReservation", "/getInvoice")]
    relations = Relations(Catalog("sha256:0", operations=(find, answer, *uses)))
    assert [len(relations.entities.needs(i)) for i in (2, 3)] == [is_need, is_need]
    if is_need:
        assert relations.pairs(np.arange(2), np.array([3]))[:, PAIR["supplied"], 0].tolist() == pytest.approx([0.55, 1])
        assert relations.entities.of_parameter(name) == 0
    once = Relations(Catalog("sha256:0", operations=(find, uses[0])))
    assert not once.entities.needs(1).size


@pytest.mark.parametrize(
    ("kinds", "needed"), [(("user", "artist"), "user"), (("artist",), "artist"), ((), None), (("album",), None)]
)
def test_ids_of_the_one_or_the_other_are_of_the_kind_that_is_asked_for(
    kinds: tuple[str, ...], needed: str | None
) -> None:
    looks = [Operation("GET", f"/{x}s/{{{x}_id}}", parameters=(path_parameter(f"{x}_id"),)) for x in ("artist", "user")]
    ids = Parameter("ids", "query", required=True, description="A list of the artist or the user Tunes IDs")
    kind = Parameter("type", "query", required=True, enum=kinds)
    follow = Operation("PUT", "/me/following", parameters=(ids, kind), verb="update")
    entities = Relations(Catalog("sha256:0", operations=(*looks, follow))).entities
    expected = {"artist": [0], "user": [1], None: []}[needed]
    assert entities.needs(2).tolist() == expected


@pytest.mark.parametrize("path", ["/me", "/v1/self", "/whoami"])
def test_who_calls_is_a_user(path: str) -> None:
    who = Operation("GET", path, response_fields=("id", "country"))
    get = Operation("GET", "/users/{user_id}", parameters=(path_parameter("user_id"),))
    assert row(Relations(Catalog("sha256:0", operations=(who, get))), 0)[PAIR["supplied"], 1] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("last", "grade"),
    [("related-artists", 0.8), ("similar", 0.8), ("albums", 0), ("artists", 0)],
)
def test_a_list_of_others_of_the_kind_supplies_them(last: str, grade: float) -> None:
    others = Operation("GET", f"/artists/{{artist_id}}/{last}", parameters=(path_parameter("artist_id"),))
    tours = Operation("GET", "/artists/{artist_id}/tours", parameters=(path_parameter("artist_id"),))
    relations = Relations(Catalog("sha256:0", operations=(others, tours)))
    assert row(relations, 0)[PAIR["supplied"], 1] == pytest.approx(grade)


def test_a_link_of_the_spec_is_the_surest_supply() -> None:
    make = Operation("POST", "/a", "makeA", links=(Link("getB", {"bee": "$response.body#/x"}),), verb="create")
    get = Operation("GET", "/b/{bee}", "getB", parameters=(path_parameter("bee"),))
    relations = Relations(Catalog("sha256:0", operations=(make, get)))
    assert row(relations, 0)[PAIR["supplied"], 1] == 1.0


def test_paths_are_prefixes_children_and_siblings(relations: Relations) -> None:
    assert pair(relations, LIST, GET, "direct_child") == 1
    assert pair(relations, LIST, VISITS, "child") == 1
    assert pair(relations, LIST, VISITS, "direct_child") == 0
    assert pair(relations, GET, VISITS, "direct_child") == 1  # parameters are one, whatever they are called
    assert pair(relations, VISITS, GET, "parent") == 1
    assert pair(relations, GET, DROP, "same_path") == 1
    assert pair(relations, LIST, GET, "same_resource") == 1
    assert pair(relations, LIST, OWNER, "prefix") == 0
    assert pair(relations, GET, VISITS, "instance") == 1
    assert pair(relations, LIST, VISITS, "instance") == 0
    assert pair(relations, LIST, MAKE, "same_tag") == 1
    assert pair(relations, LIST, VISITS, "same_tag") == 0
    assert pair(relations, LIST, MAKE, "next") == 1


def test_overlap_prefers_the_nearest_continuation(relations: Relations) -> None:
    overlap = relations.overlap(OPERATIONS.index(GET))
    assert overlap.tolist() == row(relations, OPERATIONS.index(GET))[PAIR["overlap"]].tolist()
    order = [OPERATIONS[i].operation_id for i in np.argsort(-overlap, kind="stable")]
    assert order[:3] == ["getPet", "deletePet", "listVisits"]


def test_some_seen_from_some_are_what_all_seen_from_one_are(relations: Relations) -> None:
    recent, chosen = np.array([4, 0, 2]), np.array([6, 1, 3, 0])
    pairs = relations.pairs(recent, chosen)
    assert pairs.shape == (3, len(PAIRS), 4)
    for place, operation in enumerate(recent.tolist()):
        assert pairs[place].tolist() == row(relations, operation)[:, chosen].tolist()
    assert relations.pairs(recent[:0], chosen).shape == (0, len(PAIRS), 4)


def test_readiness_follows_the_state(relations: Relations) -> None:
    nothing = np.zeros(relations.entities.size, dtype=np.float32)
    ready, unbound = relations.ready(nothing)
    assert (ready[0], unbound[0]) == (1, 0)
    assert (ready[2], unbound[2]) == (0, 1)
    have = nothing.copy()
    have[relations.entities.needs(2)] = 1
    ready, unbound = relations.ready(have)
    assert (ready[2], unbound[2]) == (1, 0)


def test_a_collection_and_one_of_it_are_told_apart(relations: Relations) -> None:
    assert relations.item.tolist() == [False, False, True, False, True, True, False]
    assert relations.free.tolist()[-1] == 1.0


def called(*paths: str) -> Relations:
    return Relations(Catalog("sha256:0", operations=tuple(Operation("GET", path) for path in paths)))


def test_dots_divide_a_path_as_slashes_do_where_most_paths_end_in_dotted_words() -> None:
    dotted = called("/channels.list", "/channels.history", "/carts.add.json", "/ping")
    assert row(dotted, 0)[PAIR["sibling"]].tolist() == [0, 1, 0, 0]
    assert dotted.depth.tolist() == [2, 2, 2, 1]
    slashed = called("/radio/stream.aac", "/apis/x.k8s.io/", "/radio", "/apis", "/pods.json", "/nodes.json")
    assert slashed.depth.tolist() == [2, 2, 1, 1, 1, 1]


def test_the_verb_of_a_dotted_path_is_not_what_it_is_about() -> None:
    key = Parameter("channel_id", "query", required=True)
    operations = (
        Operation("GET", "/channels.list", response_fields=("channels.name",)),
        Operation("GET", "/channels.history", parameters=(key,), response_fields=("text",)),
        Operation("POST", "/channels.join", parameters=(key,), verb="create"),
    )
    relations = Relations(Catalog("sha256:0", operations=operations))
    assert row(relations, 0)[PAIR["supplied"], 1] == pytest.approx(0.8)
    assert not relations.entities.supplies(1)[0].size


@pytest.mark.parametrize(
    "path", ["/", "", "/{id}", "//a//", "/" + "/".join("abcdefghijklmnopqrstuvwxyz"), "/{a}{b}", "x"]
)
def test_odd_paths_are_borne(path: str) -> None:
    relations = Relations(Catalog("sha256:0", operations=(Operation("GET", path), Operation("GET", "/a"))))
    assert np.isfinite(row(relations, 0)).all()
    assert np.isfinite(row(relations, 1)).all()


def test_an_empty_catalog_has_no_relations() -> None:
    assert Relations(Catalog("sha256:0")).size == 0
