"""The wire: what is read, what is refused and how the refusal speaks."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pipeline import settings
from pipeline.errors import BadRequest, OpenSesameError, SpecInvalid, TooLarge
from serve import schemas

SETTINGS = settings.load()


def query(body: object):
    request = schemas.read_json(orjson.dumps(body), schemas.PredictRequest)
    return schemas.to_query(request, SETTINGS, tenant="local")


def test_older_forms_are_read_as_the_newer():
    newer = query(
        {
            "events": [{"ts": "2026-01-01T00:00:00Z", "endpoint": "GET /v1/charges/ch_1", "params": {"expand": "x"}}],
            "k": 3,
        }
    )
    older = query(
        {
            "history": [
                {
                    "api_call": "/v1/charges/ch_1",
                    "method": "GET",
                    "timestamp": "2026-01-01T00:00:00+00:00",
                    "parameters": {"expand": "x"},
                }
            ],
            "max_predictions": 3,
        }
    )
    assert older == newer


def test_a_query_string_becomes_parameters_of_the_call():
    call = query({"events": [{"endpoint": "get /v1/charges?limit=3&customer=cus_1", "params": {"limit": 5}}]}).calls[0]
    assert (call.method, call.path, call.params) == ("GET", "/v1/charges", {"limit": 5, "customer": "cus_1"})


def test_the_last_hundred_calls_are_kept():
    calls = query({"events": [{"endpoint": f"GET /c/{i}"} for i in range(150)]}).calls
    assert [calls[0].path, calls[-1].path, len(calls)] == ["/c/50", "/c/149", 100]


def test_without_a_catalog_the_default_one_is_asked():
    assert query({}).source.name == SETTINGS.server.default_catalog


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "must be a JSON object, not a list"),
        ({"k": 0}, "k must be between 1 and 50"),
        ({"k": 51}, "k must be between 1 and 50"),
        ({"k": "5"}, "k: input should be a valid integer"),
        ({"k": True}, "k: "),
        ({"k": 2.5}, "k: "),
        ({"k": 2, "max_predictions": 2}, "k or max_predictions"),
        ({"events": [], "history": []}, "events or history"),
        ({"events": {}}, "events: "),
        ({"events": [7]}, "events.0: it must be a JSON object"),
        ({"events": [{"endpoint": "GET /a", "response": []}]}, "events.0.response: it must be a JSON object"),
        ({"events": [{}]}, "events.0.endpoint: field required"),
        ({"events": [{"endpoint": "/v1/charges"}]}, "events.0.endpoint must be 'METHOD /path'"),
        ({"events": [{"endpoint": "FETCH /v1"}]}, "'FETCH' is no HTTP method"),
        ({"events": [{"endpoint": "GET v1/charges"}]}, "the path must start with '/'"),
        ({"events": [{"endpoint": "GET /a", "ts": "yesterday"}]}, "events.0.ts must be an ISO 8601 time"),
        ({"events": [{"endpoint": "GET /a", "ts": "9999-12-31T23:59:59-14:00"}]}, "must be an ISO 8601 time"),
        ({"events": [{"endpoint": "GET /a", "ts": "0001-01-01T00:00:00+14:00"}]}, "must be an ISO 8601 time"),
        ({"events": [{"endpoint": "GET /a", "params": []}]}, "events.0.params: "),
        ({"history": [{"api_call": "GET /a", "method": "POST"}]}, "different methods"),
        ({"prompt": 5}, "prompt: "),
        ({"prompt": "x" * 4097}, "prompt has 4097 characters; at most 4096"),
        ({"user_id": ""}, "user_id: "),
        ({"nonsense": 1}, "nonsense: there is no such field"),
        ({"events": [{"endpoint": "GET /a", "when": 1}]}, "events.0.when: there is no such field"),
        ({"spec_url": "https://a", "catalog": "b"}, "spec_url and catalog exclude each other"),
        ({"deadline_ms": 0}, "deadline_ms: "),
        ({"deadline_ms": 30001}, "deadline_ms: "),
        ({"temperature": -1}, "temperature: "),
        ({"context": {"mood": "x"}}, "context.mood"),
    ],
)
def test_malformed_requests_are_refused_by_name(body: object, says: str):
    with pytest.raises(BadRequest) as refused:
        query(body)
    assert says in refused.value.detail


@pytest.mark.parametrize("raw", [b"", b"{", b'{"k": NaN}', b'{"prompt": "\\ud800"}', b"\xff", b"[" * 5000])
def test_what_is_no_json_is_refused(raw: bytes):
    with pytest.raises(BadRequest, match="not JSON"):
        schemas.read_json(raw, schemas.PredictRequest)


def test_a_spec_nested_too_deep_is_refused():
    raw = b'{"spec": ' + b'{"properties":' * 400 + b"{}" + b"}" * 401
    request = schemas.read_json(raw, schemas.PredictRequest)
    with pytest.raises(SpecInvalid, match="nested too deep"):
        schemas.to_query(request, SETTINGS, tenant="local")


def test_deep_parameters_are_refused_and_deep_samples_too():
    deep: object = 1
    for _ in range(100):
        deep = {"a": deep}
    for event in ({"params": deep}, {"response": {"status": 200, "body": deep}}):
        with pytest.raises(BadRequest, match="nested deeper"):
            query({"events": [{"endpoint": "GET /a", **event}]})


def test_a_large_inline_spec_is_sent_to_upload():
    with pytest.raises(TooLarge, match="upload it"):
        query({"spec": "x" * (SETTINGS.parse.inline_limit_bytes + 1)})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(sorted(schemas.PredictRequest.model_fields))


@given(st.dictionaries(FIELDS, JSON, max_size=5))
@limits(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_value_of_any_field_raises_anything_but_ours(body: dict[str, object]):
    try:
        request = schemas.read_value(body, schemas.PredictRequest)
        schemas.to_query(request, SETTINGS, tenant="local")
    except OpenSesameError:
        pass


@given(JSON)
def test_everything_can_be_dumped(value: object):
    orjson.loads(schemas.dump({"params": value}))
