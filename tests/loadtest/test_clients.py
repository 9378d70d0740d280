"""The closed-loop clients and the processes they load, against a real uvicorn."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from loadtest import clients
from loadtest.clients import Job
from loadtest.noop import ANSWER
from loadtest.processes import Service, free_ports


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


_PROBE = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("plain")
    (port,) = free_ports(1)
    argv = [sys.executable, "-m", "loadtest.noop", "plain", "--port", str(port), "--var", str(folder)]
    service = Service("plain", argv, port, folder, os.environ)
    try:
        service.start(_PROBE, 60)
        yield service
    finally:
        service.stop()


def test_every_request_is_answered_once(service: Service) -> None:
    outcome = clients.run(Job(service.port, [b'{"n": 1}', b'{"n": 2}'], concurrency=4, count=50, limit_s=20))
    assert outcome.statuses == {200: 50}
    assert len(outcome.latencies_s) == 50
    assert outcome.errors == 0
    assert outcome.last == ANSWER


def test_the_limit_ends_an_endless_job(service: Service) -> None:
    outcome = clients.run(Job(service.port, [b"{}"], concurrency=2, count=10**9, limit_s=0.3))
    assert outcome.errors == 0
    assert 0 < outcome.requests < 10**6


def test_other_statuses_are_counted_and_have_no_latency(service: Service) -> None:
    outcome = clients.run(Job(service.port, [b"{}"], concurrency=1, count=3, limit_s=20, path="/nowhere"))
    assert outcome.statuses == {404: 3}
    assert outcome.latencies_s == []
    assert b"Not Found" in outcome.refused


def test_an_outcome_larger_than_a_pipe_arrives_whole_even_if_it_is_read_late() -> None:
    program = (
        "import asyncio, uvloop; from loadtest.clients import write_out; "
        "uvloop.run(asyncio.sleep(0)); write_out(bytes(300_000))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        time.sleep(1.0)
        assert len(child.stdout.read()) == 300_000


def test_nobody_listening_is_an_error_not_a_hang() -> None:
    (port,) = free_ports(1)
    outcome = clients.run(Job(port, [b"{}"], concurrency=1, count=5, limit_s=0.3))
    assert outcome.latencies_s == []
    assert outcome.errors > 0


def test_a_service_is_watched_and_leaves_nothing(tmp_path: Path) -> None:
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    # A job in the background of a shell is born deaf to SIGINT.
    server = (
        "import http.server, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "http.server.test(http.server.SimpleHTTPRequestHandler, port={}, bind='127.0.0.1')"
    )
    (port,) = free_ports(1)
    service = Service("small", [sys.executable, "-c", f"{child}; {server.format(port)}"], port, tmp_path, os.environ)
    try:
        service.start(b"GET / HTTP/1.0\r\n\r\n", 30)
        tree = service.processes()
        assert len(tree) == 2
        assert service.cpu_s() > 0
        assert all(0 < row.pss_bytes <= row.rss_bytes for row in service.memory())
    finally:
        service.stop()
    assert service.left_behind == ["python -c"]  # the child does not listen to its parent's end
    assert not any(_is_alive(p) for p in tree)


def test_a_service_that_ends_says_why(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    service = Service("broken", [sys.executable, "-c", "raise SystemExit('no licence')"], port, tmp_path, os.environ)
    with pytest.raises(RuntimeError, match="no licence"):
        service.start(b"", 30)
    service.stop()
