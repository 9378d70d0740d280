"""Requests made from a catalog and a seed."""

from __future__ import annotations

import json

import pytest

from loadtest.traffic import Traffic
from pipeline import settings
from pipeline.catalog.match import Matcher
from pipeline.catalog.parse import parse_spec
from pipeline.types import Catalog, Operation
from serve import schemas


@pytest.fixture(scope="module")
def billing(billing_spec: bytes) -> Catalog:
    return parse_spec(billing_spec, settings.load().parse)


def test_same_seed_gives_the_same_requests_and_another_seed_others(billing: Catalog) -> None:
    first, second = (json.dumps(Traffic(billing, "billing", seed=3).mixed(50)) for _ in range(2))
    assert first == second
    assert first != json.dumps(Traffic(billing, "billing", seed=4).mixed(50))


def test_prompts_never_repeat_even_where_the_words_run_out(billing: Catalog) -> None:
    traffic = Traffic(billing, "billing")
    prompts = [body["prompt"] for body in traffic.prompted(600) + traffic.prompted(600)]
    assert len(set(prompts)) == 1200
    assert all(prompts)


def test_a_third_of_mixed_traffic_has_history_only(billing: Catalog) -> None:
    bodies = Traffic(billing, "billing").mixed(200)
    bare = [body for body in bodies if "prompt" not in body]
    assert len(bodies) == 300
    assert len(bare) == 100
    assert all(body["events"] for body in bare)


@pytest.mark.parametrize("name", ["billing.yaml", "issue-tracker.json"])
def test_every_event_is_a_call_of_the_catalog(examples_folder, name: str) -> None:
    catalog = parse_spec((examples_folder / name).read_bytes(), settings.load().parse)
    matcher = Matcher(catalog)
    for body in Traffic(catalog, "x").mixed(200):
        for event in body["events"]:
            method, path = event["endpoint"].split(" ", 1)
            match = matcher.match(method, path)
            assert match is not None, event
            names = {p.name for p in catalog.operations[match.index].parameters}
            assert set(event["params"]) <= names


def test_a_history_keeps_the_value_of_a_parameter(billing: Catalog) -> None:
    for body in Traffic(billing, "billing").history_only(100):
        customers = {e["endpoint"].split("/")[3] for e in body["events"] if "/v1/customers/" in e["endpoint"]}
        assert len(customers) <= 1


def test_bodies_are_what_the_service_reads(billing: Catalog) -> None:
    loaded = settings.load()
    for body in Traffic(billing, "billing").mixed(60):
        request = schemas.read_json(json.dumps(body).encode(), schemas.PredictRequest)
        assert schemas.to_query(request, loaded, tenant="local").source.name == "billing"


def test_a_catalog_of_one_bare_operation_has_traffic_too() -> None:
    catalog = Catalog(digest="sha256:0", operations=(Operation("POST", "/", operation_id="pingAll"),))
    bodies = Traffic(catalog, "x").mixed(10)
    assert len({body.get("prompt") for body in bodies}) == 11
    with pytest.raises(ValueError, match="without operations"):
        Traffic(Catalog(digest="sha256:0"), "x")
