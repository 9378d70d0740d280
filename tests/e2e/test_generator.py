"""The graph with a real vLLM engine on a tiny random checkpoint: it answers, dies, and never fails a prediction."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx2
import psutil
import pytest
import yaml

from tests.conftest import ROOT
from tests.e2e.conftest import Service
from tests.tiny_checkpoint import make_tiny_checkpoint

pytestmark = [pytest.mark.cluster, pytest.mark.vllm]

ASK = {
    "events": [{"endpoint": "GET /v1/charges/ch_123"}],
    "prompt": "refund the duplicate charge",
    "catalog": "billing",
    "deadline_ms": 20_000,
}


Begun = tuple[Service, str, httpx2.Response]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begun]:
    """A service of configs/local-vllm.yaml, its generator's status as soon as it was ready, and what it answered then.

    Its checkpoint comes only after that: until then no engine can be up.
    """
    folder = tmp_path_factory.mktemp("generating")
    model = folder / "tiny"
    overlay = yaml.safe_load((ROOT / "configs" / "local-vllm.yaml").read_text())
    overlay["generator"] |= {"model": str(model), "max_model_len": 4096, "buffer": 0, "overview_tokens": 2000}
    overlay["generator"]["price"] = {
        "usd_per_million_in": 0.1,
        "usd_per_million_cached": 0.01,
        "usd_per_million_out": 0.4,
        "usd_per_hour": 3.6,
    }
    overlay["router"] |= {"usd_per_hit": 1000.0}  # worth it however slow the machine is
    running = Service(folder, overlay | {"ray": {"dashboard_port": 0}})
    try:
        running.start()
        status = running.client.get("/health").json()["components"]["generator"]["status"]
        answer = running.predict(**ASK)
        make_tiny_checkpoint(folder / "made").rename(model)
        yield running, status, answer
    finally:
        running.stop()


@pytest.fixture(scope="module")
def generating(begun: Begun) -> Service:
    return begun[0]


def _wait(service: Service, status: str, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        part = service.client.get("/health").json()["components"]["generator"]
        if part["status"] == status:
            return
        time.sleep(1)
    pytest.fail(f"the generator is {part}, not {status}:\n{service.log.read_text()[-2000:]}")


def _generated(service: Service, seconds: float = 120, **ask: object) -> dict:
    """An answer that the engine had a part in; on a busy machine it may be too late for one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = service.predict(**ask)
        assert answer.status_code == 200, answer.text
        metadata = answer.json()["metadata"]
        if metadata["served_by"] == "generator+ranker":
            return answer.json()
        time.sleep(0.5)
    pytest.fail(f"the engine takes no part: {metadata['route']}, {metadata['degraded']}")


def test_the_service_is_ready_before_its_generator_and_answers_without_it(begun: Begun) -> None:
    _, status, answer = begun
    assert status in ("starting", "failed", "unavailable")
    assert answer.status_code == 200
    body = answer.json()
    assert body["predictions"]
    assert body["metadata"]["served_by"] == "ranker"
    assert "generator" in body["metadata"]["degraded"]


def test_the_engine_chooses_among_the_shortlist(generating):
    _wait(generating, "ok")
    body = _generated(generating, **ASK)
    assert body["metadata"]["generator"]["tier"] == body["metadata"]["route"]["tier"] == "small"
    assert "generator" not in body["metadata"]["degraded"]
    assert body["metadata"]["generator"]["tokens_out"] > 0
    cost = body["metadata"]["route"]["cost_usd"]
    assert 0 < cost == body["metadata"]["generator"]["cost_usd"]
    assert generating.client.get("/cost-analytics").json()["tiers"]["small"]["cost_usd"] >= cost
    known = {o["endpoint"] for o in generating.client.get("/catalogs/billing").json()["endpoints"]}
    assert {p["endpoint"] for p in body["predictions"]} <= known


def test_a_known_catalog_is_mostly_served_from_the_prefix_cache(generating):
    """Catalogs tells the generator what the catalog is about, and the engine reads it once."""
    wishes = ("refund it", "list the disputes", "who is the customer", "capture the charge")
    for please in ("", "please ", "now ", "then "):  # those before the first reading count, too
        for wish in wishes:
            _generated(generating, **ASK | {"prompt": f"{please}{wish}"})
        if generating.client.get("/health").json()["components"]["generator"]["prefix_hit_rate"] > 0.5:
            return
    pytest.fail("most of the prompts was read anew")


def test_a_short_deadline_is_kept_without_the_engine(generating):
    started = time.monotonic()
    answer = generating.predict(**ASK | {"deadline_ms": 60})
    assert answer.status_code == 200
    assert "generator" in answer.json()["metadata"]["degraded"]
    assert time.monotonic() - started < 5  # a hung answer would take until the engine is done


def test_history_alone_does_not_ask_it(generating):
    metadata = generating.predict(events=ASK["events"], catalog="billing").json()["metadata"]
    assert metadata["served_by"] == "ranker"
    assert "generator" not in metadata["degraded"]


def test_a_killed_engine_degrades_answers_and_its_replica_is_replaced(generating):
    replica = generating.replica("Generator")
    engines = [
        p
        for p in replica.children(recursive=True)
        if "EngineCore" in p.name() or "vllm" in " ".join(p.cmdline()).lower()
    ]
    victim = engines[0] if engines else replica
    victim.kill()
    answer = generating.predict(**ASK | {"deadline_ms": 3000})
    assert answer.status_code == 200
    assert "generator" in answer.json()["metadata"]["degraded"]
    assert answer.json()["predictions"]
    psutil.wait_procs([replica], timeout=60)
    _wait(generating, "ok")
