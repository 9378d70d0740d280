"""Groups of characters that are one id together, and those that are not."""

from __future__ import annotations

import pytest

from pipeline.candidates import spans

GROUPS = (
    "40122-9 7725-1 1f0df51a-8658 27f7126f-4f66fb14-03f4081b 6ac1-77 9120-strat 51-220-114 MP:0001501 18230:12:4031"
    " las:workflow:invoices1 70:ee:50:04:1a:2c 22/715/60394"
)


@pytest.mark.parametrize("value", GROUPS.split())
def test_groups_are_one_id(value: str) -> None:
    assert [(s.kind, s.value) for s in spans.extract(f"show {value}, please")] == [("id", value)]


@pytest.mark.parametrize("text", ["3-7", "2022-23", "10:30", "00:01:00", "10am-12pm", "16:9", "note: 5", "1/2"])
def test_other_groups_are_none(text: str) -> None:
    assert all(span.kind != "id" for span in spans.extract(f"show {text}, please"))


def test_a_phone_number_in_groups_stays_one() -> None:
    assert [s.kind for s in spans.extract("ring me at 312-555-0147")] == ["phone"]
