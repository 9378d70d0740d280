"""What is measured with a unit, in what a parameter counts in."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.types import Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation
from tests.pipeline.candidates.test_wish import bound

SECONDS = "The number of seconds to wait."
LOWER = "Three-letter ISO code, in lowercase."


def whole(name: str, description: str = "", required: bool = True) -> Parameter:
    return body(name, "integer", required=required, description=description)


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("25.5 % off", body("percent_off", "number", required=False), 25.5),
        ("20% off and 10% more", whole("percent_off"), None),
        ("a 20% coupon", whole("fee_percent", required=False), None),
        ("a fee of 20 percent", whole("fee_percent", required=False), 20),
        ("snooze it for 30 minutes", whole("duration", SECONDS), 1800),
        ("snooze it for two hours", whole("duration", SECONDS), 7200),
        ("for 90 seconds", whole("duration", "How many minutes."), None),
        ("a ttl of 1 hour", whole("ttl", "Time to live, in seconds.", required=False), 3600),
        ("wait 1 hour", whole("ttl", "Time to live, in seconds.", required=False), None),
        ("pay 49.99 EUR", body("currency", description=LOWER), "eur"),
        ("pay $20", body("currency"), "USD"),
        ("pay $20", body("currency", required=False), None),
        ("pay $20 or 20 CAD", body("currency"), "CAD"),
        ("pay 20 EUR or 20 CAD", body("currency"), None),
        ("refund $5.50", whole("amount", "In cents.", required=False), 550),
        ("refund $15", whole("amount", "How much to refund.", required=False), None),
        ("bill her $25", body("price", required=False, description="The ID of the price."), None),
        ("a 14 day trial", whole("trial_period_days", required=False), 14),
        ("due in 30 days", whole("days_until_due", required=False), 30),
        ("repeating for 3 months", whole("duration_in_months", required=False), 3),
        ("a coupon for 25% off", whole("amount_off", "In cents.", required=False), None),
        ("100 GB of disk", whole("size_gigabytes"), 100),
        ("with 2 approvals", whole("approvals_required"), 2),
        ("list 12 issues", whole("issue_number", required=False), None),
        ("a minimum of 3 and a maximum of 9 nodes", whole("min_nodes", required=False), 3),
        ("a minimum of 3 and a maximum of 9 nodes", whole("max_nodes", required=False), 9),
    ],
)
def test_an_amount_goes_where_its_unit_says(prompt: str, parameter: Parameter, expected: Any) -> None:
    assert bound(prompt, parameter, method="POST") == expected


@pytest.mark.parametrize(
    ("prompt", "expected"), [("a 45 minute meeting", 45), ("the meeting in 45 minutes", None), ("45 minutes", None)]
)
def test_a_thing_that_lasts_so_long_says_its_duration(prompt: str, expected: int | None) -> None:
    duration = body("duration", "integer", required=False, description="Meeting duration (minutes).")
    assert after(prompt=prompt).bind(operation("POST", "/meetings", duration)).params.get("duration") == expected
