"""The instance under load, its users, the scales it stands on; each stops what it started. Used by `loadtest.hold`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import yaml

from loadtest.processes import Service, free_ports
from loadtest.verdict import Footprint, Run
from opensesame_client.retry import ATTEMPTS
from pipeline import settings as configuration

READY_S, VECTORS_S, HEALED_S = 300.0, 300.0, 90.0
_TWO = {"replicas": {"min": 2, "max": 2}}
_EXAMPLES = {"billing": "billing.yaml", "issues": "issue-tracker.json"}


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


class Instance:
    """The service under test; `overlay` goes over the local configuration."""

    def __init__(self, folder: Path, overlay: dict[str, Any]) -> None:
        port, self._door, dashboard = free_ports(3)
        config = folder / "hold.yaml"
        local: dict[str, Any] = {"fetch": {"allow_hosts": ["127.0.0.1"]}, "ray": {"dashboard_port": dashboard}}
        config.write_text(yaml.safe_dump(_merged(local, overlay)))
        argv = [sys.executable, "-m", "loadtest.stand", "--port", str(port), "--door", str(self._door)]
        argv += ["--config", str(config), "--var", str(folder / "var")]
        self.service = Service("stand", argv, port, folder, os.environ)
        self.port, self.folder, self.var = port, folder, folder / "var"
        self.specs: dict[str, Path] = {}
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)

    def __enter__(self) -> Instance:
        try:
            self.service.start(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", READY_S)
        except BaseException:
            self.service.stop()
            raise
        say(f"ready after {self.service.start_s:.0f} s")
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.service.stop()
        say(f"stopped in {self.service.stop_s:.0f} s; left behind: {self.service.left_behind or 'nothing'}")

    def teach(self, specs: dict[str, Path]) -> None:
        """Upload the specs and wait for their vectors."""
        for name, path in specs.items():
            self.ask("PUT", f"/catalogs/{name}", content=path.read_bytes())
        until = time.monotonic() + VECTORS_S
        for name in specs:
            while not self.ask("GET", f"/catalogs/{name}")["embedded"]:
                if time.monotonic() > until:
                    raise RuntimeError(f"no vectors of {name}")
                time.sleep(0.5)
        self.specs = specs

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """The body of the answer; asked again while there is none. Raises RuntimeError on a refusal."""
        for _ in range(60):
            try:
                answer = self.client.request(method, path, **arguments)
            except httpx2.HTTPError:
                time.sleep(0.5)
                continue
            if answer.status_code < 300:
                return answer.json() if answer.content else None
            if answer.status_code != 503:
                raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
            time.sleep(float(answer.headers.get("retry-after", 1)))
        raise RuntimeError(f"{method} {path}: never answered")

    def door(self, what: str, limit_s: float = 10.0) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._door, timeout=limit_s)
        try:
            connection.request("GET", f"/{what}")
            answer = connection.getresponse()
            told = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{what}: {told}")
        return told

    @property
    def redis_socket(self) -> str:
        return str(json.loads((self.var / "redis.lock").read_bytes())["socket"])

    def heal(self) -> float:
        """Seconds until every deployment is healthy again and /ready answers."""
        began = time.monotonic()
        while time.monotonic() - began < HEALED_S:
            with contextlib.suppress(OSError, RuntimeError, httpx2.HTTPError, json.JSONDecodeError):
                deployments = self.door("replicas").values()
                if all(d["status"] == "HEALTHY" for d in deployments) and self.client.get("/ready").status_code == 200:
                    return time.monotonic() - began
            time.sleep(0.5)
        raise RuntimeError(f"not healthy again after {HEALED_S:.0f} s")


class Load:
    """Locust's users on an instance, from enter to exit; every attempt is a line of `records`."""

    def __init__(
        self,
        instance: Instance,
        rate: float,
        users: int,
        seed: int,
        profile: str = "steady",
        length_s: float = 1.0,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.records = instance.folder / "records.jsonl"
        specs = ",".join(f"{name}={path}" for name, path in instance.specs.items())
        self._argv = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py"))]
        self._argv += ["--headless", "--host", f"http://127.0.0.1:{instance.port}", "-u", str(users), "-r", str(users)]
        self._argv += ["--specs", specs, "--records", str(self.records), "--rate", str(rate), "--seed", str(seed)]
        self._argv += ["--shape", profile, "--length", str(length_s), "--attempts", str(attempts)]
        self._argv += ["--run-time", "3h", "--stop-timeout", "35"]
        self._argv += ["--exit-code-on-error", "0", "--only-summary", "--loglevel", "WARNING"]
        self._log = instance.folder / "locust.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Load:
        lines = self.count()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while self.count() < lines + 20:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"locust does not ask: {self._log.read_text(errors='replace')[-1500:]}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(45)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def count(self) -> int:
        """Attempts so far."""
        if not self.records.exists():
            return 0
        with self.records.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


class Scales:
    """Weighs the processes and Redis while it is entered."""

    def __init__(self, instance: Instance, run: Run, every_s: float) -> None:
        self._instance, self._run, self._every_s = instance, run, every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._weigh, daemon=True)

    def __enter__(self) -> Scales:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _weigh(self) -> None:
        import redis

        client = redis.Redis(unix_socket_path=self._instance.redis_socket)
        while not self._over.wait(self._every_s):
            now = time.time()
            self._run.footprints += [Footprint(now, *row) for row in self._instance.service.resident()]
            with contextlib.suppress(redis.RedisError):
                self._run.redis_bytes.append((now, client.info("memory")["used_memory"]))


def known_specs(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Those of examples/, and those of `folder` that are there."""
    examples = Path(str(configuration.resource("examples")))
    found = {name: examples / file for name, file in _EXAMPLES.items()}
    return found | {name: folder / f"{name}.json" for name in names if (folder / f"{name}.json").is_file()}


def overlay(replicas: int, **more: Any) -> dict[str, Any]:
    """Two of everything that a prediction passes, or one."""
    doubled = dict.fromkeys(("ingress", "catalogs", "embedder", "ranker"), _TWO) if replicas > 1 else {}
    return _merged(doubled, more)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else value
    return merged
