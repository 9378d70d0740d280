"""What the words beside a value say of it: of what it is a key or a number, who is introduced."""

from __future__ import annotations

import pytest

from pipeline.types import Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("a bug in project OPS", body("project_key"), "OPS"),
        ("a bug in project Ops", body("project_key"), None),
        ("tracking number 1Z001985YW99744790", body("tracking_number", required=False), "1Z001985YW99744790"),
        ("the default is pm_1MqLiJLkd", body("default_payment_method", required=False), "pm_1MqLiJLkd"),
        ("add the customer Leo Brandt", body("last_name", required=False), "Brandt"),
        ("I am Leo Brandt", body("last_name", required=False), None),
    ],
)
def test_keys_numbers_and_people_go_by_the_noun_before_them(
    prompt: str, parameter: Parameter, expected: str | None
) -> None:
    assert after(prompt=prompt).bind(operation("POST", "/things", parameter)).params.get(parameter.name) == expected
