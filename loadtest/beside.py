"""What a retraining costs those who ask meanwhile: latencies with and without one, in the same run.

    python -m loadtest.beside --groups 5000 --rounds 3

A service of its own with a journal of made-up groups is asked at a constant rate; a window without a training and one
with take turns, so that what else the machine does meets both. Latency is counted from when a request was due, not
from when it could be sent. The training is the one of `POST /train`, which gives way, on the same machine. On a virtual
machine a hypervisor may take cores away: requests of such seconds are counted apart, with and without a training.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import httpx2
import numpy as np
import orjson
import psutil
import typer
from rich.console import Console
from rich.table import Table

from loadtest.processes import Service, free_ports
from loadtest.retraining import fill

_READY_S, _TRAINED_S = 300.0, 1800.0
_BODY = {"events": [{"endpoint": "GET /v1/charges/ch_123"}], "prompt": "refund the duplicate charge", "k": 3}
_out, _err = Console(width=None if sys.stdout.isatty() else 100), Console(stderr=True)


_STEAL_S, _STEAL = 1.0, 0.05  # looks at it so often; from this share of all cores on a second was not ours
Taken = list[tuple[float, float]]  # of requests: when it was due, its latency; seconds


class Steal:
    """The seconds in which a hypervisor took more than `_STEAL` of the cores away; none where it does not tell."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    async def watch(self) -> None:
        before, began = psutil.cpu_times(), time.perf_counter()
        while True:
            await asyncio.sleep(_STEAL_S)
            now, ended = psutil.cpu_times(), time.perf_counter()
            if getattr(now, "steal", 0.0) - getattr(before, "steal", 0.0) > _STEAL * (sum(now) - sum(before)):
                self._spans.append((began, ended))
            before, began = now, ended

    def free(self, taken: Taken) -> list[float]:
        """Latencies of the requests that waited in no such second."""
        return [s for due, s in taken if not any(due < ended and due + s > began for began, ended in self._spans)]


class Asker:
    """Requests at a constant rate until it is cancelled; the latency of each lies in the list that is current."""

    def __init__(self, url: str, rate: float) -> None:
        self.current: Taken = []
        self.failed = 0
        self._rate = rate
        self._client = httpx2.AsyncClient(base_url=url, timeout=30.0, trust_env=False)

    async def ask(self) -> None:
        began, pending = time.perf_counter(), set()
        number = 0
        while True:
            due = began + number / self._rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self._one(due, self.current))
            pending.add(task)
            task.add_done_callback(pending.discard)
            number += 1

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self._client.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json()

    async def _one(self, due: float, into: Taken) -> None:
        try:
            answer = await self._client.post("/predict", json=_BODY)
            self.failed += answer.status_code != 200
        except httpx2.HTTPError:
            self.failed += 1
        into.append((due, time.perf_counter() - due))


async def measure(url: str, rate: float, rounds: int, quiet_s: float) -> tuple[Taken, Taken, Steal, int, list[str]]:
    """Requests without and with a training, the seconds taken away, requests that failed, how the trainings ended."""
    asker = Asker(url, rate)
    steal = Steal()
    tasks = [asyncio.create_task(asker.ask()), asyncio.create_task(steal.watch())]
    await asyncio.sleep(10.0)  # warm
    without: Taken = []
    during: Taken = []
    ended: list[str] = []
    for number in range(rounds):
        asker.current = quiet = []
        await asyncio.sleep(quiet_s)
        asker.current = busy = []
        began = time.monotonic()
        job = await asker.call("POST", "/train", {"force": True})
        while (state := await asker.call("GET", f"/train/{job['job_id']}"))["status"] in ("pending", "running"):
            if time.monotonic() - began > _TRAINED_S:
                raise RuntimeError(f"the training has not ended after {_TRAINED_S:.0f} s: {state}")
            await asyncio.sleep(2.0)
        asker.current = []  # the promotion, if there is one, belongs to neither
        without += quiet
        during += busy
        ended.append(f"{state['status']} after {time.monotonic() - began:.0f} s")
        p99s = [1000 * float(np.percentile([s for _, s in taken], 99)) for taken in (quiet, busy)]
        _err.print(f"[dim]round {number + 1}: {ended[-1]}, p99 {p99s[0]:.1f}, {p99s[1]:.1f} ms[/]", highlight=False)
        await asyncio.sleep(8.0)
    for task in tasks:
        task.cancel()
    return without, during, steal, asker.failed, ended


def main(
    groups: Annotated[int, typer.Option(help="Labelled groups in the journal.")] = 5000,
    rounds: Annotated[int, typer.Option(min=1, help="Windows of each kind.")] = 3,
    rate: Annotated[float, typer.Option(help="Requests a second.")] = 20.0,
    quiet_s: Annotated[float, typer.Option(help="Seconds of a window without a training.")] = 60.0,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """Measure /predict with and without a retraining beside it."""
    with tempfile.TemporaryDirectory(prefix="osb-") as name:
        folder = Path(name)
        fill(folder / "var", groups, None)
        port, dashboard = free_ports(2)
        env = {**os.environ, "OPENSESAME__RAY__DASHBOARD_PORT": str(dashboard), "OPENSESAME__MODELS__SCHEDULE_S": "0"}
        argv = [sys.executable, "-m", "serve.cli", "serve", "--port", str(port), "--var", str(folder / "var")]
        service = Service("service", argv, port, folder, env)
        try:
            service.start(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", _READY_S)
            found = asyncio.run(measure(f"http://127.0.0.1:{port}", rate, rounds, quiet_s))
        finally:
            service.stop()
    without, during, steal, failed, ended = found
    table = Table("seconds", "/predict, ms", "requests", "p50", "p95", "p99")
    told: dict[str, Any] = {"failed": failed, "trainings": ended}
    for which, title, seconds in (
        ("ours", "without a training", steal.free(without)),
        ("ours", "during one", steal.free(during)),
        ("all", "without a training", [s for _, s in without]),
        ("all", "during one", [s for _, s in during]),
    ):
        marks = [1000 * float(np.percentile(seconds or [np.nan], mark)) for mark in (50, 95, 99)]
        told.setdefault(which, {})[title] = {
            "requests": len(seconds),
            "p50": marks[0],
            "p95": marks[1],
            "p99": marks[2],
        }
        table.add_row(which, title, str(len(seconds)), *(f"{mark:.1f}" for mark in marks))
    _out.print(table)
    for which in ("ours", "all"):
        both = told[which]
        both["ratio of p99"] = both["during one"]["p99"] / both["without a training"]["p99"]
        _out.print(f"p99 during / without, {which}: {both['ratio of p99']:.2f}", highlight=False)
    _out.print(f"{failed} failed; trainings: {', '.join(ended)}", highlight=False)
    if json is not None:
        json.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    typer.run(main)
