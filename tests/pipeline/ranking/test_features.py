"""The feature table and its two halves."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import settings
from pipeline.catalog.compile import compile_catalog, with_vectors
from pipeline.catalog.embed import operation_card
from pipeline.catalog.relations import PAIRS, VERBS
from pipeline.catalog.retrieve import Evidence, gather
from pipeline.catalog.words import FIELDS
from pipeline.ranking import features, table
from pipeline.ranking.lifecycle import LIFECYCLE, N_KINDS
from pipeline.types import Call, Candidate, Catalog, GroundedQuery, Operation, Parameter, Proposal, Query, Source
from tests.fakes import HashingEncoder

USER = Parameter("user_id", "path", required=True)
OPERATIONS = (
    Operation("GET", "/users", "list_users", "List users", response_fields=("data.id",)),
    Operation("POST", "/users", "create_user", "Create a user", response_fields=("id",), verb="create"),
    Operation("GET", "/users/{user_id}", "get_user", "Get a user", parameters=(USER,), response_fields=("id", "email")),
    Operation("DELETE", "/users/{user_id}", "delete_user", "Delete a user", parameters=(USER,), verb="delete"),
    Operation("GET", "/users/{user_id}/orders", "list_orders", "List the orders of a user", parameters=(USER,)),
    Operation("GET", "/search", "search", "Search", parameters=(Parameter("q", "query", required=True),)),
)
CATALOG = Catalog("sha256:0", operations=OPERATIONS)
VECTORLESS = compile_catalog(CATALOG)
COMPILED = with_vectors(VECTORLESS, HashingEncoder().encode([operation_card(o) for o in OPERATIONS]))


def evidence_of(prompt: str = "", *endpoints: str, vectors: bool = True) -> Evidence:
    calls = tuple(Call(*endpoint.split(" ", 1)) for endpoint in endpoints)
    vector = HashingEncoder().encode([prompt])[0] if prompt and vectors else None
    compiled = COMPILED if vectors else VECTORLESS
    matches = [compiled.matcher.match(call.method, call.path) for call in calls]
    return gather(compiled, Query(Source(), calls, prompt), matches, vector, {}, settings.load().shortlist)


def column(prompt: str, *endpoints: str, name: str) -> dict[str, float]:
    evidence = evidence_of(prompt, *endpoints)
    values = features.ground_block(evidence)[:, features.NAMES.index(name)]
    return {OPERATIONS[i].operation_id: float(v) for i, v in zip(evidence.candidates, values, strict=True)}


def best(prompt: str, *endpoints: str) -> str:
    evidence = evidence_of(prompt, *endpoints)
    score = features.hand_score(whole(features.ground_block(evidence)))
    return OPERATIONS[int(evidence.candidates[int(score.argmax())])].operation_id


def whole(block: np.ndarray, proposal: Proposal | None = None) -> np.ndarray:
    candidates = tuple(Candidate(operation="GET /x") for _ in block)
    grounded = GroundedQuery(
        digest="",
        lineage="",
        title="",
        operations=len(block),
        previous=(),
        unmatched=(),
        candidates=candidates,
        block=block,
    )
    return features.compute(grounded, Query(Source()), proposal)


def test_the_table_fits_what_the_catalog_says() -> None:
    assert table.PAIRS == PAIRS
    assert tuple(name.removeprefix("is_") for name in features.NAMES if name.startswith("is_"))[1:] == VERBS
    assert [n.removeprefix("words_") for n in features.NAMES if n.startswith("words_")] == list(FIELDS)
    assert LIFECYCLE.shape == (N_KINDS, N_KINDS) == (2 * len(VERBS), 2 * len(VERBS))


def test_names_are_unique_and_the_catalog_half_comes_first() -> None:
    assert len(set(features.NAMES)) == len(features.FEATURES)
    halves = [feature.half for feature in features.FEATURES]
    assert halves == sorted(halves)
    assert [f.name for f in features.FEATURES if f.half == "catalog"] == list(features.GROUND_NAMES)
    assert all(f.direction in (-1, 0, 1) and f.meaning for f in features.FEATURES)


@pytest.mark.parametrize(
    ("query", "present"),
    [
        (("", ()), {""}),
        (("get a user", ()), {"", "prompt", "meaning"}),
        (("", ("GET /users",)), {"", "history", "history+vectors"}),
        (
            ("get a user", ("GET /users", "GET /nowhere", "GET /users/7")),
            {"", "prompt", "meaning", "history", "history+prompt", "history+vectors"},
        ),
    ],
)
def test_columns_are_missing_exactly_where_the_table_says(
    query: tuple[str, tuple[str, ...]], present: set[str]
) -> None:
    block = features.ground_block(evidence_of(query[0], *query[1]))
    for i, feature in enumerate(f for f in features.FEATURES if f.half == "catalog"):
        missing = np.isnan(block[:, i])
        assert missing.all() if feature.missing_without not in present else not missing.any(), feature.name


def test_without_vectors_only_meaning_is_missing() -> None:
    block = features.ground_block(evidence_of("get a user", "GET /users", vectors=False))
    missing = {
        f.missing_without for i, f in enumerate(features.FEATURES[: block.shape[1]]) if np.isnan(block[:, i]).any()
    }
    assert missing == {"meaning", "history+vectors", "network", "bound"}


def test_the_same_query_gives_the_same_bytes() -> None:
    one, two = (features.ground_block(evidence_of("delete a user", "GET /users", "GET /users/7")) for _ in range(2))
    assert one.dtype == np.float32
    assert one.flags.c_contiguous
    assert one.tobytes() == two.tobytes()


def test_a_history_without_a_known_operation_is_no_history() -> None:
    known = features.ground_block(evidence_of("get a user"))
    unknown = features.ground_block(evidence_of("get a user", "GET /nowhere"))
    assert known.tobytes() == unknown.tobytes()


def test_repeats_are_counted() -> None:
    calls = ("GET /users", "GET /users/7", "GET /users/8", "GET /users/8/orders", "GET /users/9")
    assert column("", *calls, name="is_last") == {
        o.operation_id: float(o.operation_id == "get_user") for o in OPERATIONS
    }
    assert column("", *calls, name="count")["get_user"] == 0.75
    assert column("", *calls, name="recency")["list_orders"] == 0.5
    assert column("", *calls, name="recency")["search"] == 0
    assert column("", *calls, name="other_values")["get_user"] == 1
    assert column("", *calls, name="other_values")["list_orders"] == 0
    assert column("", *calls, name="followed") == {
        o.operation_id: {"get_user": 0.5, "list_orders": 0.5}.get(o.operation_id, 0.0) for o in OPERATIONS
    }


def test_the_prompts_verb_speaks_for_its_class() -> None:
    assert column("delete the user", name="verb_agrees")["delete_user"] == 1
    assert column("delete the user", name="verb_contradicts")["create_user"] == 1
    assert column("delete the user", name="verb_contradicts")["get_user"] == 0


def test_the_first_verb_and_the_very_verb_speak_for_themselves() -> None:
    both = "create a user and delete another"
    assert [column(both, name="verb_first")[name] for name in ("create_user", "delete_user")] == [1, 0]
    assert [column(both, name="verb_word")[name] for name in ("create_user", "delete_user", "get_user")] == [1, 1, 0]
    assert column("remove the user", name="verb_word")["delete_user"] == 1  # one family of words
    assert column("user: delete", name="verb_first")["delete_user"] == 1
    assert not any(column("the user of order 7", name="verb_first").values())


def test_how_much_a_session_writes_is_a_column() -> None:
    calls = ("GET /users", "POST /users", "GET /nowhere/1")
    assert set(column("", *calls, name="past_writes").values()) == {0.5}


def test_a_name_in_the_prompt_speaks_for_the_search() -> None:
    assert column("orders of Ada Lovelace", name="free_text")["search"] == 1
    assert column("orders of a user", name="free_text")["search"] == 0


def test_the_words_beside_a_name_say_its_kind() -> None:
    albums = Operation("GET", "/search/albums", parameters=(Parameter("query", "query", required=True),))
    people = Operation("GET", "/search/people", parameters=(Parameter("query", "query", required=True),))
    catalog = Catalog("sha256:1", operations=(albums, people, OPERATIONS[0]))
    music = compile_catalog(catalog)

    def kinds(prompt: str, column: str = "named_kind") -> list[float]:
        evidence = gather(music, Query(Source(), prompt=prompt), (), None, {}, settings.load().shortlist)
        values = features.ground_block(evidence)[:, features.NAMES.index(column)]
        return [float(values[evidence.candidates.tolist().index(i)]) for i in range(3)]

    assert kinds("which songs are on the album Blue Train") == pytest.approx([1, 0, 0])
    assert kinds("which songs are on the Blue Train album") == pytest.approx([1, 0, 0])
    assert kinds("which songs are on the album called Blue Train") == pytest.approx([1, 0, 0])
    assert kinds("the latest album by Ada Lovelace") == pytest.approx([0, 1, 0])
    assert kinds("what is Ada Lovelace's album about") == pytest.approx([0, 1, 0])
    assert kinds("the album of Ada Lovelace") == pytest.approx([0.3, 0.8, 0])
    assert kinds("songs by Ada Lovelace") == pytest.approx([0, 1, 0])
    assert kinds("reviews of Blue Train, the album") == pytest.approx([0.3, 0.2, 0])
    assert kinds("Which songs are on it") == [0, 0, 0]
    assert kinds("songs by Ada Lovelace", "named_gap") == pytest.approx([-1, 1, -1])


def test_what_the_prompt_calls_the_callers_own_is_read_among_it() -> None:
    search = Operation("GET", "/search", parameters=(Parameter("q", "query", required=True),))
    mine, theirs = Operation("GET", "/me/boards"), Operation("GET", "/users/{user_id}/boards")
    lists = Operation("GET", "/lists", summary="The lists of the authenticated user")
    made = compile_catalog(
        Catalog("sha256:1", operations=(search, mine, theirs, lists, Operation("POST", "/me/boards", verb="create")))
    )

    def own(prompt: str) -> list[float]:
        evidence = gather(made, Query(Source(), prompt=prompt), (), None, {}, settings.load().shortlist)
        values = features.ground_block(evidence)[:, features.NAMES.index("own_kind")]
        return [float(values[evidence.candidates.tolist().index(i)]) for i in range(5)]

    assert own("rename my board 'Ideas'") == [0, 1, 0, 0, 0]
    assert own("which of my lists are public") == [0, 0, 0, 1, 0]
    assert own("rename the board 'Ideas'") == [0, 0, 0, 0, 0]


def test_the_name_of_what_is_to_be_made_is_not_searched_for() -> None:
    assert column("create an order called 'Ada Lovelace'", name="free_text")["search"] == 0
    assert column("the order called 'Ada Lovelace'", name="free_text")["search"] == 1


def test_what_the_session_binds_is_ready() -> None:
    assert column("", "GET /users", name="unbound")["get_user"] == 0
    assert column("", "GET /users", name="newly")["get_user"] == 1
    assert column("", "GET /search", name="unbound")["get_user"] > 0
    assert column("", "GET /users", "GET /search", name="newly")["get_user"] == 0


def test_a_write_to_what_was_never_looked_at_is_marked() -> None:
    listed = column("", "GET /users", name="unused_write")
    read = column("", "GET /users/7", name="unused_write")
    assert (listed["delete_user"], read["delete_user"]) == (1, 0)
    assert listed["create_user"] == listed["get_user"] == 0
    assert column("", "GET /users/7", name="used")["list_orders"] == 1


def test_arguments_that_were_found_and_new_ones_are_counted() -> None:
    block = np.zeros((3, len(features.GROUND_NAMES)), dtype=np.float16)
    features.add_bound(block, [(2, 1, 1, 0, False), (0, 0, 0, 1, False), (1, 3, 0, -1, True)])
    columns = ("filled", "unfilled", "told", "anew", "caller")
    named = {name: block[:, features.NAMES.index(name)].tolist() for name in columns}
    assert named == {
        "filled": [0.5, 1.0, 0.0],
        "unfilled": [0.25, 0.0, 0.75],
        "told": [0.5, 0.0, 0.0],
        "anew": [0.0, 1.0, -1.0],
        "caller": [0.0, 0.0, 1.0],
    }


def test_the_generators_picks_become_columns() -> None:
    block = features.ground_block(evidence_of("get a user"))
    plain = whole(block)
    np.testing.assert_array_equal(plain[:, : block.shape[1]], block)
    assert np.isnan(plain[:, block.shape[1] :]).all()
    picks = ((2, {}, ""), (2, {}, ""), (0, {}, ""), (99, {}, ""))
    rank, margin, votes = whole(block, Proposal(picks, "m"))[:, block.shape[1] :].T
    assert rank.tolist() == pytest.approx([1 / 3, 0, 1, 0, 0, 0])
    assert margin.tolist() == pytest.approx([0, 0, 2 / 3, 0, 0, 0])
    assert votes.tolist() == pytest.approx([1 / 3, 0, 2 / 3, 0, 0, 0])
    assert not whole(block, Proposal((), "m"))[:, block.shape[1] :].any()
    weighed = Proposal(((1, {}, ""), (0, {}, "")), "m", weights=(0.6, 0.25))
    rank, margin, votes = whole(block, weighed)[:, block.shape[1] :].T
    assert rank[:2].tolist() == [0.5, 1.0]
    assert margin[:2].tolist() == pytest.approx([0.0, 0.35])
    assert votes[:2].tolist() == pytest.approx([0.25, 0.6])


def test_the_head_follows_prompt_and_history() -> None:
    call = (Call("GET", "/users"),)
    assert features.head(Query(Source(), prompt="x")) == "prompt_only"
    assert features.head(Query(Source(), call, prompt="x")) == "prompt_history"
    assert features.head(Query(Source(), call, prompt=" ")) == "history_only"
    assert features.head(Query(Source())) == "history_only"


def test_the_cold_order_is_sensible() -> None:
    assert best("delete the user with id 7") == "delete_user"
    assert best("list all users") == "list_users"
    assert best("search for Ada Lovelace") == "search"
    assert best("", "GET /users") == "get_user"
    assert best("show the orders of a user", "GET /users") == "list_orders"


def test_the_cold_order_knows_its_head_by_what_is_missing() -> None:
    for query, head in [(("get a user",), "prompt_only"), (("get a user", "GET /users"), "prompt_history"),
                        (("", "GET /users"), "history_only")]:  # fmt: skip
        matrix = whole(features.ground_block(evidence_of(*query)))
        np.testing.assert_array_equal(features.hand_score(matrix), features.hand_score(matrix, head))
        assert np.isfinite(features.hand_score(matrix)).all()
