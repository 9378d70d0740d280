"""The real service, started once as people start it: `opensesame serve` in a folder of its own."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import httpx2
import psutil
import pytest
import yaml

from tests.documented import documented
from tests.fakes import SpanReceiver

START_S = 400  # on a machine that does much else; alone it is under half a minute
RAYS_JOB_PORT = 52365  # the same for every Ray of a machine: taken here, as if there were another instance
DRAINED = 25  # groups that a drain moves at once: so small that a kill meets it between two


class Service:
    """A running `opensesame serve` and a client for it."""

    def __init__(self, folder: Path, overlay: dict) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._config = folder / "test.yaml"
        self._config.write_text(yaml.safe_dump(overlay))
        self._folder = folder
        self.var = folder / "var"
        self.log = folder / "serve.log"
        self.client = httpx2.Client(base_url=self.url, timeout=60, trust_env=False)
        self.process: subprocess.Popen | None = None
        self.family: list[psutil.Process] = []

    def start(self) -> None:
        began = time.monotonic()
        program, *serve = documented("opensesame serve")
        command = [str(Path(sys.executable).parent / program), *serve, "--config", str(self._config)]
        command += ["--port", str(self.port), "--var", str(self.var)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True)
        while True:
            with contextlib.suppress(httpx2.HTTPError):
                if self.client.get("/ready").status_code == 200:
                    break
            if self.process.poll() is not None or time.monotonic() - began > START_S:
                pytest.fail(f"the service did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.2)
        self.ready_s = time.monotonic() - began
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def replica(self, deployment: str) -> psutil.Process:
        """The process of a deployment's replica."""
        for process in self.replicas(deployment):
            return process
        raise LookupError(deployment)

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """The processes of a deployment's replicas, by the title Ray gives them."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if f"ServeReplica:opensesame:{deployment}" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def redis(self) -> psutil.Process:
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "redis-server" in process.name():
                    return process
        raise LookupError("redis-server")

    def stop(self) -> list[psutil.Process]:
        """Ctrl-C; returns the processes that outlived it."""
        self.client.close()
        if self.process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            self.family += psutil.Process(self.process.pid).children(recursive=True)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(90)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        _, left = psutil.wait_procs(list(set(self.family)), timeout=5)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return left

    def predict(self, **body: object) -> httpx2.Response:
        return self.client.post("/predict", json=body)


@pytest.fixture(scope="package")
def collector() -> Iterator[SpanReceiver]:
    """Where the service sends its spans: those of requests that bring a sampled traceparent."""
    receiver = SpanReceiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="package")  # not longer: an idle service takes its share of two cores
def service(tmp_path_factory: pytest.TempPathFactory, collector: SpanReceiver) -> Iterator[Service]:
    """What all files but the generator's share: two replicas of Ranker, and it trains and promotes."""
    folder = tmp_path_factory.mktemp("service")
    # Decoys: the names of our packages are common words, and a user's folder may hold them too.
    for decoy in ("train.py", "serve.py", "pipeline/__init__.py", "pipeline/types.py"):
        (folder / decoy).parent.mkdir(exist_ok=True)
        (folder / decoy).write_text("raise RuntimeError('a decoy was imported')\n")
    running = Service(
        folder,
        {
            "ray": {"dashboard_port": free_port()},
            "ranker": {"replicas": {"min": 2, "max": 2}},
            "experiments": {"challenger_percent": 50},
            "journal": {"batch": DRAINED},
            "state": {"timeout_s": 2.0},  # a busy machine is no Redis that is away: then everybody is the champion's
            "train": {"rounds": 60, "groups": 1_000_000},  # only when a test asks: none promotes amid another
            "models": {"train_idle": False},  # what gives way to other tests does not end in time
            "fetch": {"allow_hosts": ["127.0.0.1"], "read_s": 1.0, "total_s": 2.0},
            "parse": {"operations_max": 2000},
            "log": {"format": "json"},
            "tracing": {"endpoint": collector.url, "sample": 0.0},
        },
    )
    another = socket.socket()
    try:
        with contextlib.suppress(OSError):  # somebody's Ray holds it already
            another.bind(("", RAYS_JOB_PORT))
            another.listen()
        running.start()
        yield running
    finally:
        another.close()
        left = running.stop()
    assert not left


@pytest.fixture(scope="session")
def web() -> Iterator[str]:
    """A web server of specs, good and bad, on loopback; its base URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


SPEC = (
    b'{"openapi":"3.0.0","info":{"title":"Zoo","version":"1"},"paths":{"/animals":{"get":{"summary":"List animals",'
    b'"responses":{"200":{"description":"ok"}}}},"/animals/{animal_id}":{"get":{"summary":"Get an animal","parameters":'
    b'[{"name":"animal_id","in":"path","required":true,"schema":{"type":"string"}}],"responses":{"200":{"description":'
    b'"ok"}}}}}}'
)


class _Pages(http.server.BaseHTTPRequestHandler):
    pages: ClassVar[dict[str, bytes]] = {
        "/zoo.json": SPEC,
        "/list.json": b"[1, 2, 3]",
        "/page.html": b"<!doctype html><html><body>Not found</body></html>",
        "/truncated.json": SPEC[: len(SPEC) // 2],
        "/bomb.yaml": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(8)),
        "/deep.yaml": b"[" * 50000,
        "/empty.json": b"",
    }

    def do_GET(self) -> None:
        if self.path == "/slow.json":
            time.sleep(4)
        body = self.pages.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("content-length", str(len(body or b"")))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None: ...


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
