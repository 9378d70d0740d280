"""The whole graph over HTTP: predict, feedback, catalogs, wrong input, users beside each other, parts that die."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import random
import sys
import threading
import time
from collections.abc import Iterator

import httpx2
import psutil
import pytest

from opensesame_client import Client
from tests import api_examples
from tests.documented import every

pytestmark = pytest.mark.cluster

REFUND = {
    "user_id": "ana",
    "events": [{"endpoint": "GET /v1/charges/ch_123"}],
    "prompt": "refund the duplicate charge",
    "catalog": "billing",
    "k": 3,
}


def embedded(service, name: str = "billing") -> None:
    """Wait until the vectors of a catalog are made."""
    for _ in range(150):
        if service.client.get(f"/catalogs/{name}").json()["embedded"]:
            return
        time.sleep(0.2)
    pytest.fail(f"the vectors of {name} never came")


def same(answer: httpx2.Response) -> dict:
    """What of an answer must not depend on anybody else."""
    body = answer.json()
    assert answer.status_code == 200, body
    keep = {name: body["metadata"][name] for name in ("catalog", "operations", "unmatched", "model_version")}
    return {"predictions": body["predictions"], **keep}


def test_a_refund_is_suggested_after_reading_the_charge(service):
    embedded(service)
    answer = service.predict(**REFUND)
    body = answer.json()
    assert answer.status_code == 200, body
    best = body["predictions"][0]
    assert (best["endpoint"], best["params"].get("charge")) == ("POST /v1/refunds", "ch_123")
    assert best["is_destructive"]
    assert 0 < best["confidence"] <= 1
    assert [p["rank"] for p in body["predictions"]] == [1, 2, 3]
    assert body["prediction_id"]
    assert body["metadata"]["degraded"] == []
    assert "total;dur=" in answer.headers["server-timing"]


def test_without_intent_nothing_destructive_is_suggested(service):
    for body in (
        {"events": [{"endpoint": "GET /v1/charges/ch_123"}], "k": 50},
        {"prompt": "show me the charge, do not refund it", "k": 50},
    ):
        predictions = service.predict(**body).json()["predictions"]
        assert predictions
        assert not [p["endpoint"] for p in predictions if p["is_destructive"]]


def test_nothing_at_all_still_gets_an_entry_point(service):
    predictions = service.predict().json()["predictions"]
    assert len(predictions) == 5
    assert predictions[0]["method"] == "GET"


def test_a_call_of_no_operation_stays_as_history_and_is_named(service):
    body = service.predict(events=[{"endpoint": "GET /v1/charges"}, {"endpoint": "GET /not/here"}]).json()
    assert body["metadata"]["unmatched"] == [1]


def test_request_ids_come_back_and_v1_is_the_same(service):
    answer = service.client.post("/v1/predict", json=REFUND, headers={"X-Request-ID": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert len(service.client.get("/health").headers["x-request-id"]) >= 32


def test_feedback_is_recorded_once_and_only_once(service):
    id_ = service.predict(**REFUND).json()["prediction_id"]
    accept = {"prediction_id": id_, "user_id": "ana", "feedback": "accept"}
    first, again = (service.client.post("/feedback", json=accept) for _ in range(2))
    assert (first.status_code, first.json()["status"]) == (202, "recorded")
    assert (again.status_code, again.json()["status"]) == (202, "duplicate")
    other = service.client.post("/feedback", json={**accept, "feedback": "reject"})
    assert (other.status_code, other.json()["slug"]) == (409, "conflict")


def test_feedback_without_an_id_means_the_users_last_prediction(service):
    for user in ("bo", "cy"):
        service.predict(**{**REFUND, "user_id": user})
    latest = service.predict(**{**REFUND, "user_id": "bo"}).json()["prediction_id"]
    service.predict(**{**REFUND, "user_id": "cy"})
    answer = service.client.post("/feedback", json={"user_id": "bo", "feedback": "reject"})
    assert answer.json()["prediction_id"] == latest


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"feedback": "accept"}, 400),  # anonymous without an id
        ({"feedback": "like", "user_id": "ana"}, 400),
        ({"feedback": "accept", "prediction_id": "nonsense", "user_id": "ana"}, 404),
        ({"feedback": "accept", "user_id": "dee"}, 404),  # she never asked
    ],
)
def test_feedback_that_joins_nothing_gets_its_clear_error(service, body, status):
    answer = service.client.post("/feedback", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_override_names_what_was_done_instead(service):
    id_ = service.predict(**REFUND).json()["prediction_id"]
    override = {"prediction_id": id_, "user_id": "ana", "feedback": "override"}
    assert service.client.post("/feedback", json=override).status_code == 400
    wrong = {**override, "chosen": {"endpoint": "GET /not/here"}}
    assert service.client.post("/feedback", json=wrong).status_code == 400
    right = {**override, "chosen": {"endpoint": "GET /v1/customers/cus_9"}}
    assert service.client.post("/feedback", json=right).status_code == 202


def test_catalogs_are_uploaded_listed_shown_and_removed(service, web):
    spec = httpx2.get(f"{web}/zoo.json", trust_env=False).content
    put = service.client.put("/catalogs/zoo", content=spec)
    assert put.status_code == 200, put.text
    assert put.json()["operations"] == 2
    assert "zoo" in [row["name"] for row in service.client.get("/catalogs").json()["catalogs"]]
    shown = service.client.get("/catalogs/zoo").json()
    assert [o["endpoint"] for o in shown["endpoints"]] == ["GET /animals", "GET /animals/{animal_id}"]
    assert service.predict(catalog="zoo", prompt="list the animals").json()["predictions"][0]["path"] == "/animals"
    assert service.client.delete("/catalogs/zoo").status_code == 204
    assert service.predict(catalog="zoo").status_code == 404


def test_a_spec_by_url_and_inline(service, web):
    by_url = service.predict(spec_url=f"{web}/zoo.json", prompt="list the animals")
    spec = httpx2.get(f"{web}/zoo.json", trust_env=False).json()
    inline = service.predict(spec=spec, prompt="list the animals")
    again = service.predict(spec=spec, prompt="list the animals")
    for answer in (by_url, inline, again):
        assert answer.json()["predictions"][0]["endpoint"] == "GET /animals", answer.text
    (line,) = (line for line in every("README.md", "curl") if "spec_url" in line)
    asked = json.loads(api_examples.example("README", line, 200, None).body)
    assert service.predict(**asked | {"spec_url": f"{web}/zoo.json"}).status_code == 200


@pytest.mark.parametrize(
    ("page", "slug"),
    [
        ("/list.json", "spec_invalid"),
        ("/page.html", "spec_invalid"),
        ("/truncated.json", "spec_invalid"),
        ("/bomb.yaml", "spec_invalid"),
        ("/deep.yaml", "spec_invalid"),
        ("/empty.json", "spec_invalid"),
        ("/none.json", "spec_unavailable"),
        ("/slow.json", "spec_unavailable"),
    ],
)
def test_an_unusable_spec_url_is_422_with_a_reason(service, web, page, slug):
    answer = service.predict(spec_url=web + page)
    assert (answer.status_code, answer.json()["slug"]) == (422, slug), answer.text


def test_refused_missing_and_slow_urls_are_told_alike(service, web):
    bodies = []
    for url in (f"{web}/none.json", f"{web}/slow.json", "http://169.254.169.254/x", "http://[::ffff:10.0.0.1]/x"):
        body = service.predict(spec_url=url).json()
        bodies.append({name: body[name] for name in ("type", "title", "status", "detail", "slug")})
    assert all(body == bodies[0] for body in bodies)


def _raw(service, body: bytes, kind: str = "application/json", path: str = "/predict") -> httpx2.Response:
    return service.client.post(path, content=body, headers={"content-type": kind})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"k": NaN}', 400),
        (b'{"prompt": "\\ud800"}', 400),
        (b'{"prompt": "' + b"x" * 10_000_000 + b'"}', 413),
        (b'{"events": [' + b",".join([b'{"endpoint":"GET /a"}'] * 500_000) + b"]}", 413),
        (b'{"prompt": "' + b"x" * 5000 + b'"}', 400),
        (b'{"k": 0}', 400),
        (b'{"k": 51}', 400),
        (b'{"k": "5"}', 400),
        (b'{"events": [{"endpoint": "BREW /pot"}]}', 400),
        (b'{"events": [{"endpoint": "/pot"}]}', 400),
        (b'{"events": [{"endpoint": ""}]}', 400),
        (b'{"user_id": "", "prompt": "", "events": []}', 400),
        (b'{"surprise": 1}', 400),
        (b'{"catalog": "never-uploaded"}', 404),
        (b'{"spec": []}', 400),
        (b'{"spec": {}}', 422),
        (b'{"spec": "openapi: 3.0.0"}', 422),
        (b'{"spec_url": "ftp://example.com/x"}', 400),
        (b'{"spec_url": "nonsense"}', 400),
        (b'{"params": ' + b"[" * 2000, 400),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else str(value),
)
def test_wrong_input_gets_a_clear_4xx(service, body, status):
    answer = _raw(service, body)
    assert answer.status_code == status, answer.text[:500]
    said = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert said["detail"]
    assert said["request_id"] == answer.headers["x-request-id"]


def test_other_content_types_hosts_routes_and_methods_are_refused(service):
    assert _raw(service, b"{}", "text/plain").status_code == 415
    assert service.client.get("/ready", headers={"host": "evil.example"}).status_code == 403
    assert service.client.get("/nowhere").status_code == 404
    assert service.client.get("/predict").status_code == 405
    assert service.client.put("/catalogs/sp%20ace", content=b"{}").status_code == 400
    for answer in (service.client.get("/nowhere"), service.client.get("/predict")):
        assert answer.json()["request_id"]


def test_docs_metrics_and_health_answer(service):
    assert "PredictRequest" in service.client.get("/openapi.json").text
    assert service.client.get("/docs").status_code == 200
    health = service.client.get("/health").json()
    assert health["status"] == "ok", health
    for _ in range(100):  # the first export comes some seconds after the first request
        metrics = service.client.get("/metrics").text
        if "ray_opensesame_requests" in metrics:
            break
        time.sleep(0.3)
    assert "ray_opensesame_requests" in metrics
    assert "ray_serve_" in metrics


def test_interleaved_users_and_specs_get_what_they_would_get_alone(service, web):
    embedded(service)
    spec = httpx2.get(f"{web}/zoo.json", trust_env=False).json()
    chance = random.Random(7)
    paths = ["charges/ch_1", "customers/cus_2", "invoices/in_3", "subscriptions/sub_4", "products"]
    prompts = ["", "refund the charge", "cancel the subscription", "send the invoice", "find a customer by email"]
    asked = []
    for i in range(60):
        body = {
            "user_id": f"user-{i % 7}",
            "events": [{"endpoint": f"GET /v1/{chance.choice(paths)}"} for _ in range(chance.randrange(4))],
            "prompt": chance.choice(prompts),
            "k": chance.randrange(1, 9),
        }
        if i % 3 == 0:
            body["spec"] = spec
        elif i % 3 == 1:
            body["spec_url"] = f"{web}/zoo.json"
        asked.append(body)
    for name in ("spec", "spec_url"):  # their vectors come in the background: wait for a steady answer
        for _ in range(100):
            if not service.predict(**next(b for b in asked if name in b)).json()["metadata"]["degraded"]:
                break
            time.sleep(0.2)
    alone = [same(service.predict(**body)) for body in asked]
    order = list(range(60)) * 3
    chance.shuffle(order)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda i: same(service.predict(**asked[i])), order))
    for i, answer in zip(order, together, strict=True):
        assert answer == alone[i], asked[i]


def test_sixteen_clients_see_no_error(service):
    def ask(i: int) -> int:
        return service.predict(**{**REFUND, "user_id": f"u{i}", "prompt": f"refund charge number {i % 20}"}).status_code

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(300))) == {200}


@contextlib.contextmanager
def _suspended(process: psutil.Process, seconds: float) -> Iterator[None]:
    """The process does nothing for so long, then goes on."""
    goes_on = threading.Timer(seconds, process.resume)
    process.suspend()
    goes_on.start()
    try:
        yield
    finally:
        goes_on.join()


def _until(condition, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(httpx2.HTTPError):
            if condition():
                return True
        time.sleep(0.3)
    return False


def test_a_killed_embedder_degrades_the_answer_and_comes_back(service):
    embedded(service)
    service.replica("Embedder").kill()
    answer = service.predict(**{**REFUND, "prompt": "refund a charge nobody asked for before"})
    assert answer.status_code == 200
    assert answer.json()["metadata"]["degraded"] in (["embedding"], [])
    assert answer.json()["predictions"][0]["endpoint"] == "POST /v1/refunds"
    count = iter(range(10_000))
    assert _until(
        lambda: (
            service.predict(prompt=f"a prompt never seen, number {next(count)}").json()["metadata"]["degraded"] == []
        )
    )


def test_a_killed_catalogs_replica_fails_no_request_for_long(service):
    service.replica("Catalogs").kill()
    answers = [service.predict(**REFUND) for _ in range(20)]
    assert {a.status_code for a in answers} <= {200, 503}
    assert all("retry-after" in a.headers for a in answers if a.status_code == 503)
    assert _until(lambda: service.predict(**REFUND).status_code == 200)


@pytest.mark.parametrize("deployment", ["Catalogs", "Ranker"])
def test_a_replica_that_hangs_for_a_while_fails_no_request(service, deployment):
    """All there are: requests are asked again until they go on."""
    with contextlib.ExitStack() as stack:
        for replica in service.replicas(deployment):
            stack.enter_context(_suspended(replica, 2.5))
        answers = [service.predict(**REFUND) for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 200], [a.text for a in answers]


def test_an_embedder_that_hangs_degrades_the_answer_and_comes_back(service):
    prompts = (f"refund the charge of month {number}" for number in range(10_000))
    with _suspended(service.replica("Embedder"), 2.5):
        answer = service.predict(**{**REFUND, "prompt": next(prompts)})
    assert (answer.status_code, answer.json()["metadata"]["degraded"]) == (200, ["embedding"])
    assert _until(lambda: service.predict(**{**REFUND, "prompt": next(prompts)}).json()["metadata"]["degraded"] == [])


def test_a_killed_redis_is_started_again_and_feedback_goes_on(service):
    service.redis().kill()
    assert service.predict(**REFUND).status_code == 200
    assert _until(lambda: service.predict(**REFUND).json()["prediction_id"] is not None)
    shown = service.predict(**REFUND).json()
    accept = {"prediction_id": shown["prediction_id"], "user_id": "ana", "feedback": "accept"}
    assert _until(lambda: service.client.post("/feedback", json=accept).status_code == 202)


def test_without_redis_predictions_go_on_and_feedback_is_refused(service):
    service.redis().suspend()
    try:
        answer = service.predict(**REFUND)
        assert (answer.status_code, answer.json()["prediction_id"]) == (200, None)
        assert "state" in answer.json()["metadata"]["degraded"]
        refused = service.client.post("/feedback", json={"user_id": "ana", "feedback": "accept"})
        assert (refused.status_code, refused.json()["slug"]) == (503, "state_unavailable")
        assert "retry-after" in refused.headers
        assert service.client.get("/health").json()["status"] == "degraded"
    finally:
        service.redis().resume()
    assert _until(lambda: service.predict(**REFUND).json()["prediction_id"] is not None)


@pytest.mark.skipif(sys.platform != "linux", reason="without HAProxy there is Serve's own proxy")
def test_a_killed_haproxy_is_replaced_and_the_client_outlasts_it(service):
    family = psutil.Process(service.process.pid).children(recursive=True)
    (haproxy,) = (process for process in family if process.name().startswith("haproxy"))
    haproxy.kill()
    with Client(service.url, deadline_s=120, attempts=100) as client:  # a busy machine takes its time
        assert client.predict(["GET /v1/charges/ch_123"], catalog="billing", user_id="ana").predictions
