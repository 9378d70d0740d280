"""Whatever is said, called and answered, arguments are filled without an error."""

from __future__ import annotations

import datetime
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.candidates.arguments import Session
from pipeline.types import Call, Operation, Parameter

SAID = (
    "in March 0000", "Q4 9999", "last quarter", "from 0001-01-01 to 9999-12-31", "push it back by 9999 years",
    "half an hour earlier", "bring it forward by 9 quarters", "on 29 Feb at 25:61", "the 31st", "month 13", "week 53",
    "You are mei_davis_8935", "Ann Lee", "from Ann Park to Bob Ray", "rename X to Y", "swap a for b", "male",
    "to Cote d'Ivoire in EUR", "$0", "1e309", "-5", "3 more of P-1", "by 0 more", "10 of SKU-1", "ids 1, 2 and 3",
    "the cheapest one", "the newest", "the second one", "don't notify anyone", "as a draft", "turn off comments",
    "'Bug'", "high priority", "#1 #2", "label a, b", "a@x.io to b@y.io", "+1 202 555 0123", "in_22",
    "\u00e9\u0130\ufb01",
)  # fmt: skip
NAMES = (
    "id", "name", "firstname", "last_name", "full_name", "price", "quantity", "amount", "currency", "country", "gender",
    "due_date", "start", "end", "from", "to", "month", "created_at", "status", "type", "labels", "user", "customer_id",
    "email", "phone", "ids", "is_draft", "notify", "items",
)  # fmt: skip
ENUMS = ((), ("open", "closed"), ("M", "F"), (["a"], {"b": 1}, None, 1.5), ("DE", "CI", "US"), (10, 20, True))
LEAVES = st.sampled_from(
    (
        None,
        True,
        0,
        -1.5,
        10**18,
        "",
        "2026-12-31T23:59:59Z",
        "9999-12-31",
        "0001-01-01",
        "$5.00",
        "1,000",
        "NaN",
        "P-1",
    )
)
TREES = st.recursive(
    LEAVES,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.sampled_from(NAMES), some, max_size=4),
    max_leaves=9,
)
PARAMETERS = st.builds(
    Parameter,
    st.sampled_from(NAMES),
    st.sampled_from(("path", "query", "body")),
    required=st.booleans(),
    type=st.sampled_from(("string", "integer", "number", "boolean", "array", "object", "any")),
    enum=st.sampled_from(ENUMS),
    description=st.sampled_from(("", "0 = none, 1 = 'High'", "ISO 8601 day", "two-letter code", "ID of the user")),
)
OPERATIONS = st.builds(
    Operation,
    st.sampled_from(("GET", "POST", "PUT", "PATCH", "DELETE")),
    st.sampled_from(("/things", "/things/{id}", "/users/{customer_id}/things/{id}/move")),
    parameters=st.lists(PARAMETERS, max_size=6).map(tuple),
)
TODAY = st.sampled_from((datetime.date.min, datetime.date(2024, 2, 29), datetime.date.max))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(SAID), max_size=4),
    st.lists(st.tuples(OPERATIONS, st.dictionaries(st.sampled_from(NAMES), TREES, max_size=3), TREES), max_size=3),
    st.lists(OPERATIONS, min_size=1, max_size=4),
    TODAY,
)
def test_arguments_are_filled_without_an_error_and_can_be_sent(said, done, asked, today) -> None:
    calls = [
        Call(o.method, o.path.replace("{", "v").replace("}", ""), params=p, body=b, status=200) for o, p, b in done
    ]
    values = [{"id": "vid"} if "{id}" in o.path else {} for o, _, _ in done]
    session = Session(calls, [o for o, _, _ in done], values, " ".join(said), today)
    for operation in (*asked, *(o for o, _, _ in done)):
        binding = session.bind(operation)
        names = {parameter.name for parameter in operation.parameters}
        assert binding.params.keys() <= names
        assert {name.partition(".")[0] for name in binding.missing} <= names
        json.dumps(binding.params)
