"""The clients against a real service, and against servers that refuse, break and take their time."""

from __future__ import annotations

import asyncio
import datetime
import http.server
import inspect
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import anyio
import httpx2
import pytest

from opensesame_client import AsyncClient, Client, errors
from opensesame_client.retry import retry_after_s
from opensesame_client.wire import sample

REFUND = {"prompt": "refund the duplicate charge", "catalog": "billing"}
CALL = "GET /v1/charges/ch_123"


def test_a_prediction_is_typed_and_knows_its_request(url: str) -> None:
    with Client(url, user_id="ana") as client:
        answer = client.predict([CALL], **REFUND, k=10)
        told = client.predict([], prompt="show charge ch_123", catalog="billing")
    assert answer.top is not None
    assert answer.top.endpoint == "POST /v1/refunds"
    assert answer.top.request() == ("POST", "/v1/refunds", {"charge": "ch_123", "reason": "duplicate"})
    read = next(p for p in told if p.endpoint == "GET /v1/charges/{charge}")
    assert read.request() == ("GET", "/v1/charges/ch_123", {})
    assert len(answer) == 10
    assert answer.metadata["operations"] == 35


def test_feedback_is_kept_once_and_another_outcome_is_a_conflict(url: str) -> None:
    with Client(url, user_id="fay") as client:
        answer = client.predict([CALL], **REFUND)
        assert client.accept(answer).status == "recorded"
        assert client.accept(answer, answer.top).status == "duplicate"
        with pytest.raises(errors.Conflict) as refused:
            client.reject(answer)
    assert refused.value.slug == "conflict"
    assert "takes one outcome" in refused.value.detail


def test_a_session_reports_what_it_records_and_the_calls_answer_its_predictions(url: str) -> None:
    with Client(url) as client:
        with client.session("sam", catalog="billing") as session:
            session.record(CALL, status=200, body={"id": "ch_123", "amount": 1200})
            first = session.next(k=10)
            session.record("GET /v1/customers/cus_7")
            assert session.next().prediction_id != first.prediction_id
            assert not session.unreported
            with pytest.raises(errors.Conflict):  # the observed call has answered it already
                client.override(first, "GET /v1/refunds")
            session.record("GET /v1/invoices")
        assert not session.unreported
        again = client.events(list(session.calls), user_id="sam", catalog="billing")
        assert (again.recorded, again.duplicates) == (0, 3)


def test_what_was_shown_is_accepted_by_rank(url: str) -> None:
    with Client(url) as client:
        session = client.session("rae", catalog="billing")
        with pytest.raises(errors.OpenSesameError, match="call next"):
            session.accept()
        session.next(prompt="list the customers", k=3)
        with pytest.raises(errors.OpenSesameError, match="no rank 9"):
            session.accept(9)
        assert session.override(2).status == "recorded"


async def test_the_asynchronous_client_does_the_same(url: str) -> None:
    async with AsyncClient(url) as client:
        assert (await client.health())["components"]["state"]["status"] == "ok"
        async with client.session("ben", catalog="billing") as session:
            session.record(CALL)
            answer = await session.next(**{"prompt": REFUND["prompt"]})
            assert answer.top is not None
            assert answer.top.endpoint == "POST /v1/refunds"
            assert (await session.accept()).status == "recorded"
        with pytest.raises(errors.NotFound):
            await client.catalog("nowhere")


def test_the_asynchronous_client_runs_on_trio_too(url: str) -> None:
    async def ask() -> None:
        async with AsyncClient(url) as client:
            async with client.session("tri", catalog="billing") as session:
                session.record(CALL)
                answer = await session.next(prompt=REFUND["prompt"])
                assert answer.top is not None
                assert answer.top.endpoint == "POST /v1/refunds"
                assert (await session.accept()).status == "recorded"
            with pytest.raises(errors.NotFound):
                await client.catalog("nowhere")
        async with AsyncClient("http://127.0.0.1:1", attempts=2) as nobody:
            with pytest.raises(errors.Unreachable, match="2 attempts"):
                await nobody.predict()

    anyio.run(ask, backend="trio")


def test_the_operator_looks_at_costs_and_experiments_and_whether_it_is_ready(url: str) -> None:
    with Client(url) as client:
        assert client.ready() == {"status": "ready"}
        assert client.cost_analytics()["budget"]["state"] == "ok"
        assert client.compare_models()["experiments"] == []
        with pytest.raises(errors.NotFound):
            client.compare_models("ranker 1 2")


async def test_a_challenge_is_begun_and_ended_by_both_clients() -> None:
    asked = list[tuple[str, str]]()

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.method, request.url.raw_path.decode()))
        return httpx2.Response(200, json={"challenger": None})

    with Client("http://service", transport=httpx2.MockTransport(answer)) as client:
        client.challenge("v 2")
        assert client.end_challenge() == {"challenger": None}
        client.compare_models("ranker 1 2")
    async with AsyncClient("http://service", transport=httpx2.MockTransport(answer)) as other:
        await other.challenge("v 2")
        await other.end_challenge()
        await other.compare_models("ranker 1 2")
    once = [
        ("POST", "/models/v%202/challenge"),
        ("DELETE", "/models/challenger"),
        ("GET", "/models/compare?experiment=ranker+1+2"),
    ]
    assert asked == once * 2


def test_both_clients_have_the_same_methods_and_parameters() -> None:
    def shape(kind: type) -> dict[str, Any]:
        found = {n: m for n, m in vars(kind).items() if callable(m) and not n.startswith("_")}
        return {n.removeprefix("a"): list(inspect.signature(m).parameters) for n, m in found.items()}

    assert shape(Client) == shape(AsyncClient)


def test_catalogs_of_operations_and_of_propositions(url: str) -> None:
    with Client(url) as client:
        client.put_catalog("offers-of-mine", [{"id": "a", "title": "Travel insurance"}, {"id": "b", "title": "Loan"}])
        assert "offers-of-mine" in {one["name"] for one in client.catalogs()["catalogs"]}
        found = client.suggest("insurance for a trip", user_id="zoe", catalog="offers-of-mine")
        assert next(iter(found)).id == "a"
        now = datetime.datetime.now(datetime.UTC)
        logged = client.log_event("click", "a", user_id="zoe", suggestion_id=found.suggestion_id, timestamp=now)
        assert (logged.status, logged.suggestion_id) == ("recorded", found.suggestion_id)
        with pytest.raises(errors.BadRequest, match="timestamp"):
            client.log_event("click", "a", user_id="zoe", timestamp="yesterday")
        client.delete_catalog("offers-of-mine")
        with pytest.raises(errors.SpecProblem) as refused:
            client.put_catalog("broken", "openapi: 3.0.0\npaths: 7\n")
    assert refused.value.slug == "spec_invalid"


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers with the script's lines in turn: (status, headers, body), or None to break the connection."""

    script: ClassVar[list[Any]] = []
    asked: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        line = self.script.pop(0) if self.script else (200, {}, b'{"status": "recorded"}')
        if line is None:
            self.connection.close()
            return
        status, headers, body = line
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        for at in range(0, len(body), 16):
            self.wfile.write(body[at : at + 16])
            self.wfile.flush()
            time.sleep(float(headers.get("x-trickle", 0)))

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def scripted() -> Iterator[Callable[..., str]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()

    def play(*script: Any) -> str:
        Scripted.script[:] = script
        Scripted.asked.clear()
        return f"http://127.0.0.1:{server.server_port}"

    yield play
    server.shutdown()
    server.server_close()


BUSY = json.dumps({"slug": "overloaded", "detail": "Too many.", "title": "Try again", "request_id": "r1"}).encode()


def test_refused_and_broken_requests_are_sent_again_under_the_same_key(scripted: Callable[..., str]) -> None:
    url = scripted((503, {"retry-after": "0"}, BUSY), None, (429, {}, BUSY))
    with Client(url) as client:
        assert client.feedback("accept", user_id="ana").status == "recorded"
    keys = [headers["idempotency-key"] for _, headers in Scripted.asked]
    assert len(keys) == 4
    assert len(set(keys)) == 1


async def test_the_asynchronous_client_repeats_too(scripted: Callable[..., str]) -> None:
    url = scripted(None, (502, {"retry-after": "0"}, b"<html>"))
    async with AsyncClient(url) as client:
        assert (await client.feedback("accept", user_id="ana")).status == "recorded"
    assert len(Scripted.asked) == 3


def test_what_must_not_happen_twice_is_not_repeated_once_it_was_sent(scripted: Callable[..., str]) -> None:
    with Client(scripted(None)) as client, pytest.raises(errors.Unreachable):
        client.rollback()
    assert len(Scripted.asked) == 1


def test_a_proxy_that_has_no_routes_yet_is_asked_again_whatever_is_asked(scripted: Callable[..., str]) -> None:
    bare = b"Path '/rollback' not found. Ping http://.../-/routes for available routes."
    with Client(scripted((404, {}, bare))) as client:
        client.rollback()
    assert len(Scripted.asked) == 2


def test_attempts_end_and_the_last_problem_is_told(scripted: Callable[..., str]) -> None:
    url = scripted(*[(503, {"retry-after": "0"}, BUSY)] * 9)
    with Client(url, attempts=3) as client, pytest.raises(errors.Unavailable) as refused:
        client.predict([CALL])
    assert len(Scripted.asked) == 3
    assert (refused.value.slug, refused.value.request_id, refused.value.retry_after_s) == ("overloaded", "r1", 0.0)
    again = pickle.loads(pickle.dumps(refused.value))
    assert (type(again), str(again)) == (errors.Unavailable, "503 overloaded: Too many.")


def test_a_wait_beyond_the_deadline_is_not_begun(scripted: Callable[..., str]) -> None:
    url = scripted((429, {"retry-after": "60"}, BUSY))
    with Client(url, deadline_s=5) as client, pytest.raises(errors.RateLimited) as refused:
        client.predict([CALL])
    assert refused.value.retry_after_s == 60


def test_an_answer_that_trickles_ends_at_the_deadline(scripted: Callable[..., str]) -> None:
    slow = (200, {"x-trickle": "0.1"}, b" " * 16 * 100 + b"{}")
    with Client(scripted(slow), deadline_s=0.3) as client, pytest.raises(errors.DeadlineExceeded):
        client.predict([CALL])

    async def ask() -> None:
        async with AsyncClient(scripted(slow), deadline_s=0.3) as client:
            await client.predict([CALL])

    with pytest.raises(errors.DeadlineExceeded):
        asyncio.run(ask())


def test_text_of_a_proxy_is_a_problem_too_and_a_page_is_no_answer(scripted: Callable[..., str]) -> None:
    with Client(scripted((500, {}, b"<html>Bad gateway</html>"), (200, {}, b"<html>"))) as client:
        with pytest.raises(errors.ServerFault, match="Bad gateway"):
            client.predict()
        with pytest.raises(errors.OpenSesameError, match="no OpenSesame service"):
            client.predict()


def test_who_calls_is_said_by_key_or_token(scripted: Callable[..., str]) -> None:
    url = scripted()
    with Client(url, api_key="k-1", user_id="ana") as client:
        client.feedback("accept")
    with Client(url, bearer="t-1") as client:
        client.feedback("accept")
    (_, first), (_, second) = Scripted.asked
    assert (first["x-api-key"], first["x-user-id"], "authorization" in first) == ("k-1", "ana", False)
    assert (second["authorization"], "x-api-key" in second) == ("Bearer t-1", False)
    with pytest.raises(ValueError, match="not both"):
        Client(url, api_key="k", bearer="t")


def test_nobody_there_is_unreachable() -> None:
    with Client("http://127.0.0.1:1", attempts=2) as client, pytest.raises(errors.Unreachable, match="2 attempts"):
        client.predict()


def test_retry_after_is_read_as_number_and_as_date() -> None:
    def read(said: str) -> float | None:
        return retry_after_s(httpx2.Headers({"retry-after": said}))

    assert read("3") == 3.0
    assert read("soon") is None
    assert read("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after_s(httpx2.Headers()) is None


def test_of_bodies_a_sample_is_sent() -> None:
    assert sample({"data": [{"id": i} for i in range(99)], "text": "x" * 999}) == {
        "data": [{"id": 0}, {"id": 1}, {"id": 2}],
        "text": "x" * 256,
    }
