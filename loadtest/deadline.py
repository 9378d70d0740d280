"""`python -m loadtest.deadline`: /predict against its deadline while a language model is slow, hung, broken or killed.

Starts our service with an OpenAI-compatible server of its own (scripted, in this process) as the large tier, or with
`--model` a real vLLM engine as the small one, whose process is stopped and killed. For each fault it loads /predict
with prompts, and in turns without, which asks no model: the anchor of the same moment. The breaker is held closed, so
that every request meets the fault. Fails when a request failed, or p99 was over the deadline by more than 20 ms.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
import yaml
from rich.console import Console
from rich.table import Table

from loadtest import clients
from loadtest.figures import quantile
from loadtest.processes import Service, free_ports

_READY_S = 240.0
_ENGINE_S = 300.0
_OVER_S = 0.02  # by which p99 may be over the deadline
_CALLS = [{"endpoint": "GET /v1/charges/ch_123"}]
_WISHES = ["give ana her money back", "stop billing them", "pause it until march", "who still owes us money?"]
_PICK = json.dumps({"picks": [{"i": 2, "params": {}, "why": "as wished"}]})
_out = Console(width=None if sys.stdout.isatty() else 120)


class Model:
    """An OpenAI-compatible server that does what `fault` says: none, slow, hung, garbage, refuses, breaks, killed."""

    def __init__(self, port: int, slow_s: float) -> None:
        self.fault = "none"
        outer, self._over = self, threading.Event()

        class _Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                fault = outer.fault
                if fault == "breaks":
                    self.close_connection = True
                    return
                outer._over.wait({"slow": slow_s, "hung": 3600.0}.get(fault, 0.0))
                text = "I would refund it." if fault == "garbage" else _PICK
                usage = {"prompt_tokens": 900, "completion_tokens": 20}
                data = json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode()
                with contextlib.suppress(OSError):
                    self.send_response(503 if fault == "refuses" else 200)
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def kill(self) -> None:
        """Nobody listens any more."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


class Engine:
    """The processes of the service's vLLM engine, to be stopped and killed."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def signal(self, number: int) -> None:
        for process in self._service.processes():
            with contextlib.suppress(psutil.Error):
                if "EngineCore" in " ".join((process.name(), *process.cmdline())):
                    process.send_signal(number)


def main(
    model: Annotated[str, typer.Option(help="A checkpoint that vLLM loads; without one the server is scripted.")] = "",
    deadline_ms: Annotated[int, typer.Option(help="Deadline of every request.")] = 300,
    count: Annotated[int, typer.Option(help="Requests for each fault, and as many of the anchor.")] = 400,
    concurrency: Annotated[int, typer.Option(help="Clients.")] = 2,
    path: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file too.")] = None,
) -> None:
    """Print how long predictions take under each fault of a language model; exit 1 when a deadline was not kept."""
    port, dashboard, answering = free_ports(3)
    with tempfile.TemporaryDirectory(prefix="deadline-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        config = folder / "deadline.yaml"
        config.write_text(yaml.safe_dump(_overlay(model, dashboard, answering)))
        argv = [sys.executable, "-m", "serve.cli", "serve", "--config", str(config), "--port", str(port)]
        service = Service("service", [*argv, "--var", str(folder / "var")], port, folder, dict(os.environ))
        stack.callback(service.stop)
        service.start(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", _READY_S)
        faults = _of_engine(service, port) if model else _of_server(Model(answering, 3 * deadline_ms / 1000))
        rows = []
        for fault in faults:
            before = _decisions(port)
            anchor = _load(port, deadline_ms, count, concurrency, prompt=False)
            asked = _load(port, deadline_ms, count, concurrency, prompt=True)
            time.sleep(1.5)  # decisions are counted within a second
            told = {k: v - before.get(k, 0) for k, v in _decisions(port).items() if v > before.get(k, 0)}
            rows.append(_row(fault, deadline_ms, anchor, asked, told))
    _out.print(_table(rows, deadline_ms, concurrency))
    for row in rows:
        _out.print(f"slowest with {row['fault']}: {row['slowest']}", highlight=False)
    if path is not None:
        path.write_text(json.dumps(rows, indent=1))
    broken = [row["fault"] for row in rows if row["failed"] or row["over_ms"] > _OVER_S * 1000]
    if broken:
        _out.print(f"Not kept: {', '.join(broken)}")
        raise typer.Exit(1)


def _overlay(model: str, dashboard: int, answering: int) -> dict[str, Any]:
    overlay: dict[str, Any] = {
        "ray": {"dashboard_port": dashboard},
        "router": {"min_gain": 0, "breaker_failures": 1_000_000_000},
    }
    if model:
        return overlay | {"generator": {"enabled": True, "model": model, "max_tokens": 96, "options": 8, "buffer": 0}}
    return overlay | {"endpoint": {"url": f"http://127.0.0.1:{answering}/v1", "model": "scripted"}}


def _of_server(model: Model) -> Iterator[str]:
    for model.fault in ("none", "slow", "hung", "garbage", "refuses", "breaks"):
        yield model.fault
    model.kill()
    yield "killed"


def _of_engine(service: Service, port: int) -> Iterator[str]:
    until = time.monotonic() + _ENGINE_S
    while _get(port, "/health")["components"]["generator"]["status"] != "ok":
        if time.monotonic() > until:
            raise typer.BadParameter(f"the engine is not up after {_ENGINE_S:.0f} s")
        time.sleep(1)
    engine = Engine(service)
    yield "none"
    engine.signal(signal.SIGSTOP)
    yield "hung"
    engine.signal(signal.SIGCONT)
    engine.signal(signal.SIGKILL)
    yield "killed"


def _load(port: int, deadline_ms: int, count: int, concurrency: int, *, prompt: bool) -> clients.Outcome:
    wishes = _WISHES if prompt else [None]
    asked = [{"events": _CALLS, "prompt": w, "catalog": "billing", "deadline_ms": deadline_ms} for w in wishes]
    bodies = [json.dumps(body).encode() for body in asked]
    return clients.run(clients.Job(port, bodies, concurrency, count, limit_s=count * deadline_ms / 1000))


def _row(
    fault: str, deadline_ms: int, anchor: clients.Outcome, asked: clients.Outcome, told: dict[str, int]
) -> dict[str, Any]:
    p99_ms = 1000 * quantile(asked.latencies_s, 0.99)
    return {
        "fault": fault,
        "requests": asked.requests,
        "failed": asked.errors + anchor.errors,
        "p50_ms": 1000 * quantile(asked.latencies_s, 0.5),
        "p99_ms": p99_ms,
        "max_ms": 1000 * max(asked.latencies_s),
        "over_ms": p99_ms - deadline_ms,
        "slowest": asked.timings[asked.latencies_s.index(max(asked.latencies_s))],
        "anchor_p99_ms": 1000 * quantile(anchor.latencies_s, 0.99),
        "decisions": {reason: n for reason, n in told.items() if reason != "history_only"},
    }


def _table(rows: list[dict[str, Any]], deadline_ms: int, concurrency: int) -> Table:
    table = Table(title=f"POST /predict, deadline {deadline_ms} ms, {concurrency} clients")
    for column in ("model", "requests", "failed", "p50 ms", "p99 ms", "max ms", "p99 - deadline", "anchor p99", "why"):
        table.add_column(column, justify="left" if column in ("model", "why") else "right")
    for row in rows:
        why = ", ".join(f"{reason} {n}" for reason, n in row["decisions"].items())
        figures = [f"{row[name]:.0f}" for name in ("p50_ms", "p99_ms", "max_ms", "over_ms", "anchor_p99_ms")]
        table.add_row(row["fault"], str(row["requests"]), str(row["failed"]), *figures, why)
    return table


def _decisions(port: int) -> dict[str, int]:
    return _get(port, "/cost-analytics")["decisions"]


def _get(port: int, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


if __name__ == "__main__":
    typer.run(main)
