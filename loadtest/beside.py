"""What a retraining costs those who ask meanwhile: latencies with and without one, in the same run.

    python -m loadtest.beside --groups 5000 --rounds 3

A service of its own with a journal of made-up groups is asked at a constant rate; a window without a training and one
with take turns, so that what else the machine does meets both. Latency is counted from when a request was due, not
from when it could be sent. The training is the one of `POST /train`, niced, on the same machine.
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
import typer
from rich.console import Console
from rich.table import Table

from loadtest.processes import Service, free_ports
from loadtest.retraining import fill

_READY_S, _TRAINED_S = 300.0, 1800.0
_BODY = {"events": [{"endpoint": "GET /v1/charges/ch_123"}], "prompt": "refund the duplicate charge", "k": 3}
_out, _err = Console(width=None if sys.stdout.isatty() else 100), Console(stderr=True)


class Asker:
    """Requests at a constant rate until it is cancelled; the latency of each lies in the list that is current."""

    def __init__(self, url: str, rate: float) -> None:
        self.current: list[float] = []
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

    async def _one(self, due: float, into: list[float]) -> None:
        try:
            answer = await self._client.post("/predict", json=_BODY)
            self.failed += answer.status_code != 200
        except httpx2.HTTPError:
            self.failed += 1
        into.append(time.perf_counter() - due)


async def measure(
    url: str, rate: float, rounds: int, quiet_s: float
) -> tuple[list[float], list[float], int, list[str]]:
    """Latencies in seconds without and with a training, requests that failed, and how the trainings ended."""
    asker = Asker(url, rate)
    asking = asyncio.create_task(asker.ask())
    await asyncio.sleep(10.0)  # warm
    without: list[float] = []
    during: list[float] = []
    ended: list[str] = []
    for number in range(rounds):
        asker.current = without
        await asyncio.sleep(quiet_s)
        asker.current = during
        began = time.monotonic()
        job = await asker.call("POST", "/train", {"force": True})
        while (state := await asker.call("GET", f"/train/{job['job_id']}"))["status"] in ("pending", "running"):
            if time.monotonic() - began > _TRAINED_S:
                raise RuntimeError(f"the training has not ended after {_TRAINED_S:.0f} s: {state}")
            await asyncio.sleep(2.0)
        asker.current = []  # the promotion, if there is one, belongs to neither
        ended.append(f"{state['status']} after {time.monotonic() - began:.0f} s")
        _err.print(f"[dim]round {number + 1}: {ended[-1]}[/]", highlight=False)
        await asyncio.sleep(8.0)
    asking.cancel()
    return without, during, asker.failed, ended


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
    without, during, failed, ended = found
    table = Table("/predict, ms", "requests", "p50", "p95", "p99")
    told: dict[str, Any] = {"failed": failed, "trainings": ended}
    for title, seconds in (("without a training", without), ("during one", during)):
        marks = [1000 * float(np.percentile(seconds, mark)) for mark in (50, 95, 99)]
        told[title] = {"requests": len(seconds), **dict(zip(("p50", "p95", "p99"), marks, strict=True))}
        table.add_row(title, str(len(seconds)), *(f"{mark:.1f}" for mark in marks))
    told["ratio of p99"] = told["during one"]["p99"] / told["without a training"]["p99"]
    _out.print(table)
    _out.print(f"p99 during / without: {told['ratio of p99']:.2f}; {failed} failed; trainings: {', '.join(ended)}")
    if json is not None:
        json.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    typer.run(main)
