"""Promotions under load: two replicas of Ranker, constant requests, and rankers that come, go back and are spoilt."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
import redis
from typer.testing import CliRunner

from pipeline import settings
from pipeline.ranking.calibrate import Calibration
from pipeline.ranking.experiments import arm_of
from pipeline.ranking.ranker import Artifact, dump, packaged_path
from pipeline.ranking.table import FINGERPRINT, HEADS
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.mirror import identity
from pipeline.stores.pseudonym import pseudonym, secret_of
from pipeline.stores.registry import Registry
from serve.cli import app
from tests.documented import documented
from tests.e2e.conftest import Service
from tests.e2e.load import Load

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

PROMOTIONS = 20
CLIENTS = 4
QUIET_S = 1  # of the same load before each promotion: the two take turns, so that what else the machine does meets both
PACE_S = 0.1  # between two requests of a client: a constant load of a third of what two cores can do
BODY = {"events": [{"endpoint": "GET /v1/charges/ch_123"}], "prompt": "refund the duplicate charge", "k": 3}


def full_size(version: str, temperature: float) -> str:
    """The packaged ranker under another name, with confidences of its own: as large and as slow to load."""
    saved = msgspec.json.decode(packaged_path().read_bytes(), type=Artifact)

    def matrix(head: str) -> np.ndarray:
        rows = saved.golden[head].matrix
        return np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=np.float32)

    calibration = {head: Calibration(temperature, (0.0, 1.0), (0.0, 1.0), 0.0) for head in HEADS}
    samples = {head: matrix(head) for head in HEADS}
    return dump(version=version, created="", data="", heads=saved.heads, calibration=calibration, samples=samples)


@pytest.fixture(scope="module")
def running(service: Service) -> Service:
    until = time.monotonic() + 120
    while (
        service.client.get("/health").json()["components"]["models"]["status"] != "ok"
        or len(service.replicas("Ranker")) < 2  # one may have been killed
    ):
        assert time.monotonic() < until, service.log.read_text()[-2000:]
        time.sleep(0.2)
    return service


@pytest.fixture(scope="module")
def registry(running: Service) -> Registry:
    base = settings.load("local")
    return Registry(settings.under(base, running.var).registry)


@pytest.fixture(scope="module")
def versions(registry: Registry) -> tuple[str, str]:
    made = (registry.register(full_size("one", 1.0)), registry.register(full_size("two", 3.0)))
    return made[0].version, made[1].version


def loaded(service: Service) -> Load:
    return Load(service, BODY, CLIENTS, PACE_S)


def wait_for(service: Service, version: str) -> None:
    with loaded(service) as load:
        load.settle(version, time.monotonic())


def counted(service: Service, reason: str) -> bool:
    """A replica has counted a refused ranker."""
    lines = service.client.get("/metrics").text.splitlines()
    said = [line for line in lines if line.startswith("ray_opensesame_ranker_refused") and f'reason="{reason}"' in line]
    return any(float(line.rpartition("}")[2].split()[0]) > 0 for line in said)


def test_promotions_under_load_fail_nobody_and_reach_every_replica(
    running: Service, versions: tuple[str, str], record_property: Any
) -> None:
    taken, rolled, first = [], 0.0, float("inf")
    quiet: list[float] = []  # seconds
    busy: list[float] = []
    with loaded(running) as load:
        time.sleep(3)  # warm
        for i in range(PROMOTIONS):
            version = versions[i % 2]
            began = time.monotonic()
            time.sleep(QUIET_S)
            moved = time.monotonic()
            answer = running.client.post(f"/models/{version}/promote", json={})
            assert answer.json()["champion"] == version, answer.text
            taken.append(load.settle(version, moved))
            first = min(first, moved + taken[0])  # from here on nobody meets the packaged one
            quiet += load.seconds(began, moved)
            busy += load.seconds(moved, time.monotonic())
        moved = time.monotonic()
        assert running.client.post("/models/rollback", json={}).json()["champion"] == versions[0]
        rolled = load.settle(versions[0], moved)
    assert load.failures == []
    seen = [a for a in load.answers if a.began > first]
    assert {a.version for a in seen} == set(versions)
    confidences = {v: {a.confidence for a in seen if a.version == v} for v in versions}
    assert all(len(values) == 1 for values in confidences.values()), confidences  # nobody met half of one
    assert confidences[versions[0]] != confidences[versions[1]]
    without, beside = (float(np.percentile(part, 99)) * 1000 for part in (quiet, busy))
    figures = {
        "requests": len(load.answers),
        "p99 without, ms": round(without, 1),
        "p99 with promotions, ms": round(beside, 1),
        "ratio": round(beside / without, 2),
        "last old answer after a promotion, s": [round(t, 2) for t in taken],
        "longest, s": round(max(taken), 2),
        "after the rollback, s": round(rolled, 2),
    }
    record_property("figures", figures)
    print(json.dumps(figures))


def test_a_killed_replica_comes_back_with_the_champion(running: Service, versions: tuple[str, str]) -> None:
    running.client.post(f"/models/{versions[1]}/promote", json={})
    wait_for(running, versions[1])
    replica = running.replica("Ranker")
    os.kill(replica.pid, signal.SIGKILL)
    psutil.wait_procs([replica], timeout=10)
    with loaded(running) as load:
        until = time.monotonic() + 60
        while len(running.replicas("Ranker")) < 2:  # the dead one has none
            assert time.monotonic() < until
            time.sleep(0.2)
        time.sleep(2)  # it is asked too
        load.settle(versions[1], time.monotonic())
    assert {a.version for a in load.answers} == {versions[1]}


def test_a_spoilt_champion_in_the_mirror_is_refused_and_the_old_one_goes_on(
    running: Service, versions: tuple[str, str]
) -> None:
    running.client.post(f"/models/{versions[0]}/promote", json={})
    wait_for(running, versions[0])
    embedded = EmbeddedRedis(running.var)  # adopts the service's
    with redis.Redis.from_url(embedded.start()) as client:
        good = client.hgetall("model:champion")
        text = good[b"text"].decode()
        try:
            for reason, spoilt, changes in (
                ("hash", text[:-1000], {"sha256": good[b"sha256"]}),
                ("artefact", "\x00" * 5000, {}),
                ("fingerprint", text, {"fingerprint": "0" * 16}),
            ):
                who = identity(f"bad-{reason}", FINGERPRINT, spoilt)
                fields = {"version": who.version, "sha256": who.sha256, "fingerprint": FINGERPRINT, "text": spoilt}
                client.hset("model:champion", mapping={**fields, **changes})
                until = time.monotonic() + 60
                while not counted(running, reason):
                    assert time.monotonic() < until, reason
                    time.sleep(0.5)
                metadata = [running.predict(**BODY).json()["metadata"] for _ in range(20)]
                assert {told["model_version"] for told in metadata} == {versions[0]}
                assert ["registry"] in [told["degraded"] for told in metadata]
        finally:
            client.hset("model:champion", mapping=good)
    embedded.stop()
    until = time.monotonic() + 30
    clean = 0
    while clean < 20:
        clean = clean + 1 if running.predict(**BODY).json()["metadata"]["degraded"] == [] else 0
        assert time.monotonic() < until


def through(service: Service, words: list[str], *more: str) -> str:
    """What a command of the pages prints that is sent to this service."""
    command = [service.url if word == "http://127.0.0.1:8000" else word for word in (*words, *more)]
    command[0] = str(Path(sys.executable).parent / command[0])
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=180, check=True).stdout


def test_a_challenger_answers_its_arm_and_is_compared(running: Service, versions: tuple[str, str]) -> None:
    client = running.client
    client.post(f"/models/{versions[0]}/promote", json={})
    wait_for(running, versions[0])
    loaded = settings.load("local", experiments={"challenger_percent": 50})
    secret = secret_of(loaded.privacy, running.var)  # arms go by what stands for the user
    users = [f"user-{i}" for i in range(16)]
    arms = {user: arm_of(loaded.experiments, "local", pseudonym(secret, "local", user)) for user in users}
    assert set(arms.values()) == {"champion", "challenger"}
    done = CliRunner().invoke(app, ["models", "challenge", versions[1], "--url", running.url])
    assert done.exit_code == 0, done.output
    theirs = {"champion": versions[0], "challenger": versions[1]}

    def answered(user: str) -> dict[str, Any]:
        told = client.post("/predict", json={**BODY, "user_id": user}).json()
        return {"arm": told["metadata"]["experiment"]["arm"], "version": told["metadata"]["model_version"]}

    def settled(user: str, arm: str) -> None:
        """Wait until a user is answered by the arm: each replica takes the challenger in its time."""
        until = time.monotonic() + 60
        while (seen := answered(user)) != {"arm": arm, "version": theirs[arm]}:
            assert time.monotonic() < until, (user, seen)
            time.sleep(0.1)

    for user, arm in sorted(arms.items(), key=lambda item: item[1]):  # the challenger's first
        settled(user, arm)
        if arm == "challenger":  # who is content with it
            said = client.post("/feedback", json={"user_id": user, "feedback": "accept"})
        else:
            chosen = {"endpoint": "GET /v1/payouts"}
            said = client.post("/feedback", json={"user_id": user, "feedback": "override", "chosen": chosen})
        assert said.status_code == 202, said.text
    told = client.get("/models/compare").json()
    shown = through(running, documented("opensesame models compare --arms"), "--url", running.url, "--json")
    assert json.loads(shown).keys() == told.keys()
    assert (told["champion"], told["challenger"]) == (versions[0], versions[1])
    counted = Counter(arms.values())
    rows = {row["arm"]: row for row in told["arms"]}
    for arm, acceptance in (("champion", 0.0), ("challenger", 1.0)):
        # A champion's prediction by a replica that did not have the challenger yet belongs to no experiment.
        assert 1 <= rows[arm]["counts"]["answered"] <= counted[arm]
        assert rows[arm]["acceptance"] == acceptance
    assert client.delete("/models/challenger").json()["challenger"] is None
    settled(next(user for user, arm in arms.items() if arm == "challenger"), "champion")


def test_an_alias_moved_beside_the_service_is_served(running: Service, versions: tuple[str, str]) -> None:
    config = ["--var", str(running.var)]
    done = CliRunner().invoke(app, ["models", "promote", versions[1], *config])
    assert done.exit_code == 0, done.output
    wait_for(running, versions[1])
    done = CliRunner().invoke(app, ["models", "rollback", "--url", running.url])
    assert done.exit_code == 0, done.output
    wait_for(running, versions[0])


def test_a_service_without_its_models_goes_on_and_says_so(running: Service, versions: tuple[str, str]) -> None:
    replica = running.replica("Models")
    with loaded(running) as load:
        os.kill(replica.pid, signal.SIGKILL)
        with contextlib.suppress(psutil.TimeoutExpired):
            replica.wait(10)
        time.sleep(3)
    assert load.failures == []
    assert {a.version for a in load.answers} == {versions[0]}
    assert running.client.get("/ready").status_code == 200


def test_ctrl_c_leaves_no_process_behind(running: Service) -> None:
    """The last test of those who share the service: it ends it."""
    print(f"ready after {running.ready_s:.1f} s")
    assert [process.cmdline()[:3] for process in running.stop() if process.is_running()] == []
    assert running.process is not None
    assert running.process.returncode == 0
