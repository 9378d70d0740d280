"""The prompt's words against the operations' texts."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.catalog.words import FIELDS, N_FIELDS, Words
from pipeline.types import Catalog, Operation, Parameter

OPERATIONS = (
    Operation("GET", "/orders", "listOrders", "List orders", response_fields=("data.id", "data.customer_name")),
    Operation("POST", "/orders/{order_id}/cancel", "cancelOrder", "Cancel an order", "The customer gets a mail."),
    Operation(
        "GET",
        "/customers",
        "findCustomers",
        "Find customers",
        parameters=(Parameter("mail", "query", enum=("known",)),),
    ),
)


@pytest.fixture
def words() -> Words:
    return Words(Catalog("sha256:0", operations=OPERATIONS))


def test_words_of_the_prompt_find_the_operation_named_by_them(words: Words) -> None:
    scores = words.score(words.terms("please cancel my order"))
    assert scores.shape == (N_FIELDS + 2, 3)
    assert scores[FIELDS.index("name")].argmax() == 1


def test_each_field_scores_its_own_text(words: Words) -> None:
    said = words.score(words.terms("mail"))
    assert said[FIELDS.index("description")].tolist()[1] > 0
    assert said[FIELDS.index("parameters")].tolist()[2] > 0
    assert not said[FIELDS.index("name")].any()
    assert words.score(words.terms("known"))[FIELDS.index("parameters")].argmax() == 2


def test_a_name_said_in_full_is_covered_in_full(words: Words) -> None:
    name, prompt = words.score(words.terms("cancel order"))[N_FIELDS:]
    assert name[1] == pytest.approx(1.0)
    assert prompt[1] == pytest.approx(1.0)
    assert 0 < name[0] < 1


def test_unknown_words_score_nothing(words: Words) -> None:
    assert not words.terms("zebra")
    assert not words.score(()).any()


def test_an_operation_is_like_itself_and_the_ones_that_share_its_nouns(words: Words) -> None:
    like = words.similar(1)
    assert like[1] == pytest.approx(1.0)
    assert like[0] > like[2]
    np.testing.assert_array_equal(like, words.similar(1))


def test_the_last_noun_of_a_dotted_path_is_its_last_word() -> None:
    paths = ("/channels.list", "/channels.members", "/chat.delete")
    words = Words(Catalog("sha256:0", operations=tuple(Operation("GET", path) for path in paths)))
    assert words.last_about(words.terms("channel")).tolist() == [0]
    assert words.last_about(words.terms("members")).tolist() == [1]


def test_an_empty_catalog_has_no_words() -> None:
    words = Words(Catalog("sha256:0"))
    assert words.score(words.terms("anything")).shape == (N_FIELDS + 2, 0)
