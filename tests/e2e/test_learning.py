"""The whole loop on a running service, under load: what people do becomes a ranker, serves everywhere, and is taken
back; and whatever is killed meanwhile, no feedback is lost that was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from typer.testing import CliRunner

from pipeline import settings
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.journal import Journal
from pipeline.stores.state import State
from serve.cli import app
from tests.conftest import NOTES, ROOT
from tests.documented import documented
from tests.e2e.conftest import Service
from tests.e2e.load import Load

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

GROUPS = 240  # what is told before the training: the gate judges on the last fifth
HABIT = 0.5  # so often these people do what only they do; else anything
COLLECTIONS = ("customers", "subscriptions", "invoices", "charges", "disputes")
OTHERS = (
    *(f"GET /v1/{name}" for name in ("products", "prices", "refunds", "payouts", "customers/c_1/payment_methods")),
    *(f"GET /v1/{name}/other" for name in COLLECTIONS),
)
# The same API under a name that nobody gave feedback on: only another ranker changes the answer there.
PROBE = {"catalog": "elsewhere", "events": [{"endpoint": "GET /v1/charges"}, {"endpoint": "GET /v1/charges/ch_1"}]}
LEARNT = "GET /v1/charges"

WRITERS = 6
EVENTS, EVENTS_OF_MINUTES = 600, 10_000  # acknowledged at least, while things are killed; the second with --minutes


@pytest.fixture(scope="module")
def running(service: Service) -> Service:
    until(lambda: service.client.get("/health").json()["components"]["models"]["status"] == "ok", 120, service)
    return service


def until(said: Callable[[], Any], seconds: float, service: Service) -> Any:
    """What `said` says, once it says something; an answer that does not come says nothing."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(httpx2.HTTPError, LookupError, psutil.Error):
            if found := said():
                return found
        time.sleep(0.1)
    pytest.fail(f"not within {seconds} s:\n{service.log.read_text()[-2000:]}")


def person(client: httpx2.Client, chance: random.Random, number: int) -> None:
    """Opens a thing out of its list, and then goes back to the list as often as not: no spec tells that."""
    name = chance.choice(COLLECTIONS)
    events = [{"endpoint": f"GET /v1/{name}"}, {"endpoint": f"GET /v1/{name}/x_{number}"}]
    asked = client.post("/predict", json={"catalog": "billing", "user_id": f"person-{number}", "events": events})
    assert asked.status_code == 200, asked.text
    chosen = f"GET /v1/{name}" if chance.random() < HABIT else chance.choice(OTHERS)
    said = {"user_id": f"person-{number}", "feedback": "override", "chosen": {"endpoint": chosen}}
    told = client.post("/feedback", json=said)
    assert told.status_code == 202, told.text


def start_training(service: Service) -> str:
    """The job that trains; Ray takes one some seconds after its own start, and the service says 503 until then."""
    return until(lambda: service.client.post("/train", json={"force": True}).json().get("job_id"), 120, service)


def trained(service: Service, job_id: str) -> tuple[dict[str, Any], float]:
    """The job once it has ended, and when another champion was first seen; what it runs gives way all the time."""
    client, moved = service.client, 0.0
    niceness: set[int] = set()
    before = client.get("/models").json()["champion"]

    def ended() -> dict[str, Any] | None:
        nonlocal moved
        if not moved and client.get("/models").json()["champion"] != before:
            moved = time.monotonic()
        for process in psutil.Process(service.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "RayTrainWorker" in " ".join(process.cmdline()):
                    niceness.add(process.nice())
        job = client.get(f"/train/{job_id}").json()
        return job if job["status"] not in ("pending", "running") else None

    job = until(ended, 600, service)
    assert min(niceness) >= 10, niceness
    return job, moved or time.monotonic()


@contextlib.contextmanager
def following(service: Service) -> Iterator[list[dict[str, Any]]]:
    """What the command that trains says of the training that runs, one job state after the other, once it has ended."""
    program, *words, _ = documented("opensesame train --force --url http://127.0.0.1:8000")
    command = [str(Path(sys.executable).parent / program), *words, service.url, "--json"]
    said: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield said
            said += map(json.loads, process.communicate(timeout=60)[0].splitlines())
        finally:
            process.kill()


def test_what_people_do_is_learnt_serves_everywhere_and_is_taken_back(running: Service, record_property: Any) -> None:
    client = running.client
    spec = (ROOT / "examples" / "billing.yaml").read_bytes()
    assert client.put("/catalogs/elsewhere", content=spec).status_code == 200
    for name in ("elsewhere", "billing"):
        until(lambda name=name: client.get(f"/catalogs/{name}").json()["embedded"], 120, running)
    installed = client.get("/models").json()["champion"]
    with Load(running, PROBE, clients=2, pace_s=0.2) as load:
        chance = random.Random(4)
        for number in range(GROUPS):
            person(client, chance, number)

        job_id = start_training(running)
        again = client.post("/train", json={})
        assert (again.status_code, again.json()["job_id"]) == (202, job_id)  # one at a time
        with following(running) as lines:
            job, promoted = trained(running, job_id)
        assert job["status"] == "succeeded", str(job)
        assert {line["job_id"] for line in lines} == {job_id}
        assert lines[-1]["status"] == "succeeded", lines
        outcome = job["progress"]
        assert outcome["status"] == "promoted", outcome
        version = outcome["version"]
        follow_s = load.settle(version, promoted)

        rolled_back = time.monotonic()
        assert client.post("/models/rollback", json={}).json()["champion"] == installed
        return_s = load.settle(installed, rolled_back)
    assert client.get("/train/none").status_code == 404
    assert load.failures == []
    whole = [a for a in load.answers if not a.degraded]  # on a busy machine one may go without a part, and says so
    answered = {v: {a.endpoint for a in whole if a.version == v} for v in {a.version for a in load.answers}}
    assert answered.keys() == {installed, version}
    assert answered[version] == {LEARNT}
    assert LEARNT not in answered[installed]

    (row,) = (row for row in client.get("/models").json()["models"] if row["version"] == version)
    assert (row["origin"], row["gate"]["passed"]) == ("trained", True)
    report = client.get(f"/models/{version}").json()["gate"]
    assert {one["name"] for one in report["conditions"]} >= {"later data, hit@1", "golden suites", "scoring time"}
    for place in (["--url", running.url], ["--var", str(running.var)]):
        shown = CliRunner().invoke(app, ["models", "show", version, "--json", *place])
        assert shown.exit_code == 0, shown.output
        assert json.loads(shown.stdout)["gate"] == report
    figures = {
        "requests": len(load.answers),
        "training, s": round(outcome["seconds"], 1),
        "last old answer after the promotion, s": round(follow_s, 2),
        "and after the rollback, s": round(return_s, 2),
        "gate": outcome["why"],
    }
    record_property("figures", figures)
    print(json.dumps(figures))


class Writers:
    """People who ask and tell all the time; each feedback is sent until it is acknowledged, as clients do."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stopped = threading.Event()
        self.acknowledged: list[str] = []
        self.unanswered = 0
        self.refused: list[str] = []  # with another answer than "try again"
        self._threads = [threading.Thread(target=self._write, args=(i,)) for i in range(WRITERS)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        chance = random.Random(number)
        endpoints = ("GET /notes", "POST /notes", "GET /notes/n1", "GET /notes/search")
        with httpx2.Client(base_url=self._service.url, timeout=10, trust_env=False) as client:
            while not self._stopped.is_set():
                events = [{"endpoint": chance.choice(endpoints)}]
                body = {"catalog": "notes", "events": events, "k": 2}
                told = self._post(client, "/predict", body, 200)
                if told is None or told["prediction_id"] is None:
                    continue
                chosen = {"endpoint": chance.choice(endpoints)}
                said = {"prediction_id": told["prediction_id"], "feedback": "override", "chosen": chosen}
                while not self._stopped.is_set():
                    if self._post(client, "/feedback", said, 202) is not None:
                        self.acknowledged.append(told["prediction_id"])
                        break

    def _post(self, client: httpx2.Client, path: str, body: dict[str, Any], expected: int) -> dict[str, Any] | None:
        try:
            answer = client.post(path, json=body)
        except httpx2.HTTPError:
            self.unanswered += 1
        else:
            if answer.status_code == expected:
                return answer.json()
            if answer.status_code < 500:
                self.refused.append(f"{path}: {answer.text}")
            self.unanswered += 1
        self._stopped.wait(0.1)
        return None


def test_no_acknowledged_feedback_is_lost_whatever_is_killed(
    running: Service, request: pytest.FixtureRequest, record_property: Any
) -> None:
    client, events = running.client, EVENTS_OF_MINUTES if request.config.getoption("--minutes") else EVENTS
    assert client.put("/catalogs/notes", content=NOTES.encode()).status_code == 200
    killed: Counter[str] = Counter()
    began = time.monotonic()

    def kill(name: str, process: psutil.Process) -> None:
        process.kill()
        killed[name] += 1

    def training() -> psutil.Process | None:
        for process in psutil.Process(running.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                command = process.cmdline()
                if "train.retrain" in command and command[0] != "nice":
                    return process
        return None

    def failed(job_id: str) -> None:
        until(lambda: client.get(f"/train/{job_id}").json().get("status") == "failed", 120, running)

    with Writers(running) as writers:

        def go_on() -> None:
            """Wait until a sixth of all more is acknowledged."""
            goal = len(writers.acknowledged) + events // 6
            until(lambda: len(writers.acknowledged) >= goal, 300, running)

        go_on()
        kill("redis", running.redis())
        go_on()
        kill("ranker", running.replica("Ranker"))
        go_on()

        # A training dies between two batches of its drain; the next one drains what it had claimed.
        job = start_training(running)
        until(training, 120, running)  # counted from then on: Models drains once a minute too
        files = len(parquet(running.var))
        until(lambda: len(parquet(running.var)) > files + 2, 120, running)
        kill("training, in its drain", training())
        failed(job)
        kill("ingress", running.replica("Ingress"))
        go_on()

        kill("redis", running.redis())
        go_on()
        kill("ranker", running.replica("Ranker"))
        until(lambda: len(writers.acknowledged) >= events, 300, running)
    seconds = time.monotonic() - began

    kept = asyncio.run(journal_and_inbox(running.var))
    assert writers.refused == []
    assert [id_ for id_, count in kept.items() if count > 1] == []
    assert set(writers.acknowledged) - kept.keys() == set()
    figures = {
        "acknowledged": len(writers.acknowledged),
        "asked in vain": writers.unanswered,
        "killed": dict(killed),
        "seconds": round(seconds, 1),
    }
    record_property("figures", figures)
    print(json.dumps(figures))


def parquet(var: Path) -> list[Path]:
    return list((var / "journal").glob("day=*/*.parquet"))


async def journal_and_inbox(var: Path) -> Counter[str]:
    """How often each labelled group lies in the journal, once all that waits in the inbox has come there."""
    loaded = settings.load("local")
    journal = Journal.at(loaded.journal, var)
    with EmbeddedRedis(var) as redis:  # adopts the service's
        state = State(loaded.state, redis.url)
        try:
            await journal.drain(state)
            assert await state.inbox.length("local") == 0
        finally:
            await state.close()
    return Counter(id_ for batch in journal.groups(columns=["id"], batch=4096) for id_ in batch["id"].to_pylist())
