"""Amounts of money in a prompt: how they are written, and which of them is the lower or the upper bound."""

from __future__ import annotations

import pytest

from pipeline.candidates import spans
from tests.pipeline.candidates.test_arguments import after, body, operation, query
from tests.pipeline.candidates.test_wish import bound


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("10 EUR", 10),
        ("10,50 EUR", 10.5),
        ("10.50 EUR", 10.5),
        ("0.125 EUR", 0.125),
        ("EUR 50.", 50),
        ("50€", 50),
        ("10,50 €", 10.5),
        ("$12,345.67", 12345.67),
        ("1'000.50 euros", 1000.5),
        ("1’000.50 CHF", 1000.5),
        ("1 000.50 euros", 1000.5),
        ("€1 250 000,5", 1250000.5),
        ("1 000 000,50 EUR", 1000000.5),
        ("CHF 1'250", 1250),
        ("1.000,50 EUR", 1000.5),
        ("1.000.000 EUR", 1000000),
        ("1,00,000 INR", 100000),
        ("€2.5k", 2500),
        ("2.5k EUR", 2500),
        ("$2 million", 2000000),
        ("$1.25m", 1250000),
        ("2.5 thousand dollars", 2500),
        ("$20USD", 20),
        ("1.000 EUR", None),
        ("€12.500", None),
        ("1,000,50 EUR", None),
        ("1,2345 EUR", None),
        ("$5.3.2024", None),
        ("€2.5x", None),
    ],
)
def test_an_amount_is_read_as_it_is_written(said: str, expected: float | None, required: bool) -> None:
    assert bound(f"transfer {said}", body("amount", "number", required), method="POST") == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("pay invoice 12 500 EUR", []),
        ("5 $10 vouchers", ["10"]),
        ("pay $5 100 times", ["5"]),
        ("invoice 40122, 300 EUR", ["300"]),
        ("EUR 20 to 312-555-0147", ["20"]),
        ("EUR 20 312-555-0147", ["20"]),
        ("USD 20 2025-01-01", ["20"]),
        ("EUR 5 192.168.1.1", ["5"]),
    ],
)
def test_what_stands_beside_an_amount_is_no_part_of_it(prompt: str, expected: list[str]) -> None:
    assert [span.value for span in spans.extract(prompt) if span.kind == "money"] == expected


def test_a_grouped_amount_is_no_phone_number() -> None:
    assert {span.kind for span in spans.extract("send 100 000 000 EUR")}.isdisjoint(("phone", "number"))


NAMES = (("minPrice", "maxPrice"), ("price_min", "price_max"), ("price_gte", "price_lte"), ("price_from", "price_to"))


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("prompt", "lower", "upper"),
    [
        ("products over 100 dollars", 100, None),
        ("products for at least €100", 100, None),
        ("products from $100", 100, None),
        ("products, $100 or more", 100, None),
        ("products for no less than $100", 100, None),
        ("products cheaper than $20", None, 20),
        ("products up to 20€", None, 20),
        ("products, $20 max", None, 20),
        ("products for no more than $20", None, 20),
        ("my budget is $20", None, 20),
        ("products from $10 to $50", 10, 50),
        ("products between 10 and 50 euros", 10, 50),
        ("products between $10 and $50", 10, 50),
        ("products for $10-$50", 10, 50),
        ("products for 10-50 EUR", 10, 50),
        ("products for 1,000 to 2,500 dollars", 1000, 2500),
        ("max price 50 euros, min price 10 euros", 10, 50),
        ("minimum price of $10 and maximum price of $50", 10, 50),
        ("over $10 but under $50", 10, 50),
        ("$10 min, $50 max", 10, 50),
        ("products with min price 10 and max price 50", 10, 50),
        ("products with max price 50 and min price 10", 10, 50),
        ("products with a price between 10 and 50", 10, 50),
        ("products priced under 50", None, 50),
        ("products with max price 50 within 10 km", None, 50),
        ("under $500, or under $300", None, None),
    ],
)
def test_each_bound_takes_its_own_amount(
    prompt: str, lower: int | None, upper: int | None, required: bool, names: tuple[str, str]
) -> None:
    search = operation("GET", "/products", *(query(name, "number", required) for name in names))
    params = after(prompt=prompt).bind(search).params
    assert (params.get(names[0]), params.get(names[1])) == (lower, upper)


def test_a_bound_in_cents_is_written_so() -> None:
    price = query("max_price", "integer", required=False, description="In cents.")
    assert bound("products under $20", price) == 2000
    assert bound("products over $20", price) is None
    assert bound("products under $20", query("max_price", "integer", required=False)) is None


def test_a_count_before_a_price_is_no_bound() -> None:
    assert bound("flats with more than 3 bedrooms under $2000", query("min_price", "number", required=False)) is None
    assert bound("flats with more than 3 bedrooms under $2000", query("max_price", "number", required=False)) == 2000
