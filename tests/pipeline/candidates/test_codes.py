"""Codes of three capitals in a prompt: which parameter takes them, which of two ends, and the way back."""

from __future__ import annotations

import pytest

from pipeline.types import Call, Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation, query
from tests.pipeline.candidates.test_wish import bound

ORIGIN = query("origin", description="The origin airport in three letters, such as 'JFK'.")
DESTINATION = query("destination", description="IATA code of the destination.")
CURRENCY = body("currency", description="ISO 4217 code, e.g. 'EUR'.")
FLIGHTS = operation("GET", "/search_flights", ORIGIN, DESTINATION, query("date"))


@pytest.mark.parametrize(
    ("prompt", "ends"),
    [
        ("a flight from JFK to SEA", ("JFK", "SEA")),
        ("round trip ORD - MIA, business", ("ORD", "MIA")),
        ("Boston BOS to Denver DEN please", ("BOS", "DEN")),
        ("san francisco (SFO) to charlotte (CLT)", ("SFO", "CLT")),
        ("flying PHX→SEA", ("PHX", "SEA")),
        ("the PDF of my flight to SEA", (None, None)),
        ("send 20 USD to EUR accounts", (None, None)),
        ("FROM JFK TO SEA", (None, None)),
    ],
)
def test_two_codes_are_the_ends_of_a_way(prompt: str, ends: tuple[str | None, str | None]) -> None:
    assert (bound(prompt, ORIGIN), bound(prompt, DESTINATION)) == ends


@pytest.mark.parametrize(
    ("prompt", "names", "ends"),
    [
        ("flights from BER to LIS on 2026-05-03", ("origin", "destination"), ("BER", "LIS")),
        ("a flight BER-LIS", ("from_airport", "to_airport"), ("BER", "LIS")),
        ("how much is it from OSL to CDG?", ("from", "to"), ("OSL", "CDG")),
        ("USD to EUR", ("base", "quote"), ("USD", "EUR")),
        ("convert 120 EUR into USD", ("from", "to"), ("EUR", "USD")),
        ("EUR/USD since May", ("source", "target"), ("EUR", "USD")),
        ("from BER to LIS", ("base", "quote"), (None, None)),
        ("from USD to EUR", ("origin", "destination"), (None, None)),
        ("from BER to LIS, or from BER to OPO", ("origin", "destination"), (None, None)),
        ("from BER to LIS", ("departure", "arrival"), (None, None)),  # perhaps days
        ("from BER to LIS", ("start", "end"), (None, None)),
        ("from BER to LIS", ("from_date", "to_date"), (None, None)),
        ("from BER to LIS", ("source_branch", "target_branch"), (None, None)),
        ("the API-KEY and the PDF to CSV job", ("from", "to"), (None, None)),
    ],
)
def test_two_codes_are_the_ends_that_a_bare_name_tells_of(
    prompt: str, names: tuple[str, str], ends: tuple[str | None, str | None]
) -> None:
    assert tuple(bound(prompt, query(name)) for name in names) == ends


def test_ends_that_may_be_anything_take_no_code() -> None:
    optional = [query(name, required=False) for name in ("from", "to")]
    accounts = [body(name) for name in ("source", "target")]
    told = [query("from", description="Who sends it."), query("to", format="date"), query("to", example="ann@x.org")]
    for parameter in (*optional, *accounts, *told):
        assert bound("send 20 USD to EUR", parameter) is None
    assert bound("from BER to LIS", query("origin", required=False)) == "BER"


def test_the_way_back_begins_where_the_way_there_ended() -> None:
    there = Call("GET", "/search_flights", params={"origin": "EWR", "destination": "MCO", "date": "2024-05-29"})
    prompt = "one stop from EWR to MCO, leaving 2024-05-29, returning 2024-06-02"
    assert after(prompt=prompt).bind(FLIGHTS).params == there.params
    back = after((FLIGHTS, there), prompt=prompt).bind(FLIGHTS)
    assert back.params == {"origin": "MCO", "destination": "EWR", "date": "2024-06-02"}


def test_the_next_pair_goes_to_the_next_call() -> None:
    rate = operation("GET", "/get_rate", query("base", description="ISO 4217"), query("quote", description="ISO 4217"))
    made = rate, Call("GET", "/get_rate", params={"base": "EUR", "quote": "SEK"})
    assert after(made, prompt="EUR to SEK rate, and EUR to NOK").bind(rate).params == {"base": "EUR", "quote": "NOK"}


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("send 250 EUR to Jo", CURRENCY, "EUR"),
        ("send 80 euros to Jo", CURRENCY, "EUR"),
        ("send £80 to Jo", CURRENCY, "GBP"),
        ("send CHF 80 to Jo", CURRENCY, "CHF"),
        ("send $80 to Jo", CURRENCY, None),  # whose dollars?
        ("from 80 EUR to 90 GBP", CURRENCY, None),
        ("send 80 EUR", body("currency", description="Three-letter ISO code, in lowercase."), "eur"),
        ("send 80 EUR", body("currency", enum=("usd", "eur")), "eur"),
        ("USD to JPY", query("quote", description="ISO 4217 code."), "JPY"),
        ("120 NOK, please", body("amount", "number"), 120),
        ("send EUR 1,250.50", body("amount", "number"), 1250.5),
    ],
)
def test_a_currency_is_that_of_the_amounts(prompt: str, parameter: Parameter, expected: object) -> None:
    assert bound(prompt, parameter, method="POST") == expected


TWO = "Country code, ISO 3166-1 alpha-2."


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("prompt", "raw", "description", "expected"),
    [
        ("ship to Germany", "country", TWO, "DE"),
        ("from the Netherlands to South Korea", "origin_country", TWO, "NL"),
        ("from the Netherlands to South Korea", "destination_country", TWO, "KR"),
        ("from the Netherlands to South Korea", "country", TWO, None),
        ("in the US", "country_code", "Two-letter code", "US"),
        ("tell us of it", "country", TWO, None),
        ("in New Mexico", "country", TWO, None),
        ("in Mexico City", "country", TWO, None),
        ("for India Arie", "country", TWO, None),
        ("from Jordan", "country", TWO, None),
        ('a post "in France"', "country", TWO, None),
        ("in France", "country", "Three-letter code (ISO 3166-1 alpha-3)", None),
        ("in France", "country", "Name of the country", None),
        ("in France", "city", "Two letters", None),
        ("priced at 20 in pounds", "currency", "ISO 4217 code", "GBP"),
        ("worth 500 Swiss francs", "currency", "ISO 4217 code", "CHF"),
    ],
)
def test_a_country_or_a_currency_that_is_named_is_written_as_its_code(
    prompt: str, raw: str, description: str, expected: str | None, required: bool
) -> None:
    assert bound(prompt, body(raw, required=required, description=description), method="POST") == expected


def test_a_country_is_one_of_an_enum_of_countries() -> None:
    some = query("country", required=False, enum=("us", "de", "fr", "jp"))
    assert bound("headlines in Germany", some) == "de"
    assert bound("headlines in Spain", some) is None
