"""`python -m loadtest.bench`: what a prediction costs, beside what the platform costs, on this machine in one run.

Three services stand side by side: bare uvicorn and FastAPI, a Ray Serve graph that does nothing over
the same hops, and ours, started by `opensesame serve` with the GitHub catalog. They are loaded in
turns (A B A B), so that the drift of the machine cancels in the ratios. Also: how long `opensesame predict` takes from
a cold start, how long specs take to compile, and what memory the processes hold. Everything it starts it stops by pid.
"""

from __future__ import annotations

import http.client
import http.server
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
import psutil
import typer
import yaml
from rich.console import Console

from loadtest import clients, figures
from loadtest.figures import Row, Sample
from loadtest.processes import Service, free_ports
from loadtest.traffic import Traffic
from pipeline import settings as configuration

_SPECS = Path(__file__).resolve().parents[2] / "shared" / "eval" / "specs"
_READY_S = 240.0
_VECTORS_S = 300.0
_NAME = "bench"  # of the uploaded catalog
_out = Console(width=None if sys.stdout.isatty() else 120)
_err = Console(stderr=True)


class Plan(msgspec.Struct, frozen=True):
    """How much is asked; `counts` by concurrency."""

    rounds: int
    counts: dict[int, int]
    unseen: dict[int, int]
    limit_s: float  # of one load
    idle_s: float
    soak_s: float  # 16 clients without a pause, at the end
    compile_repeats: int
    prompts: int = 200


FULL = Plan(3, {1: 1000, 16: 3000}, {1: 300, 16: 600}, 40.0, 5.0, 60.0, 3)
QUICK = Plan(1, {1: 200, 16: 600}, {1: 60, 16: 160}, 20.0, 2.0, 0.0, 1)


class Bench:
    """One run; `folder` takes logs and state, `stack` is where everything started is stopped."""

    def __init__(self, plan: Plan, spec: Path, config: str, folder: Path, stack: ExitStack) -> None:
        self._plan = plan
        self._spec = spec
        self._stack = stack
        plain, noop, ours, dashboard = free_ports(4)
        env = {**os.environ, "OPENSESAME__RAY__DASHBOARD_PORT": str(dashboard)}
        module = [sys.executable, "-m"]
        var = ["--var", str(folder / "noop")]
        self._plain = Service(
            "uvicorn", [*module, "loadtest.noop", "plain", "--port", str(plain), *var], plain, folder, env
        )
        self._noop = Service(
            "no-op graph",
            [*module, "loadtest.noop", "graph", "--port", str(noop), "--config", config, *var],
            noop,
            folder,
            env,
        )
        self._ours = Service(
            "ours",
            [*module, "serve.cli", "serve", "--config", config, "--port", str(ours), "--var", str(folder / "ours")],
            ours,
            folder,
            env,
        )
        self._idle_cores: dict[str, dict[str, float]] = {}  # service -> process -> cores without requests

    def run(self) -> dict[str, Any]:
        _say("predict from a cold start")
        cold_s = cold_start_s(self._plan.compile_repeats)
        _say("compile specs on one core")
        stripe = self._spec.with_name("stripe.json")
        specs = [self._spec, *([stripe] if stripe.is_file() and stripe != self._spec else [])]
        compiled = {path.stem: compile_times(path, self._plan.compile_repeats) for path in specs}

        _say("start ours")
        self._start(self._ours, b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        ready = self._ours.memory()
        _say("first answers of specs never seen, then their vectors in the background")
        first = {path.stem: self._first_answer(path) for path in reversed(specs)}
        upload = _ask(self._ours.port, "PUT", f"/catalogs/{_NAME}", self._spec.read_bytes())
        catalog = _catalog(self._spec)
        traffic = Traffic(catalog, _NAME, seed=1)
        warm = _encode(traffic.mixed(self._plan.prompts))
        _say("see every warm request once")
        self._load(self._ours, warm, 4, len(warm))

        _say("start the no-op graph and uvicorn")
        probe = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        self._start(self._noop, probe)
        self._start(self._plain, probe)
        for service in (self._noop, self._plain):
            self._load(service, warm, 4, len(warm))
        self._measure_idle()
        rows = self._rounds(warm, traffic)
        self._plain.stop()
        self._noop.stop()
        soak = self._soak(warm)
        loaded = self._ours.memory()
        self._ours.stop()
        found = figures.ratios(rows, "ours", "no-op graph")
        limits = yaml.safe_load((configuration.resource("configs") / "slo.yaml").read_text())
        cold_max_s = limits["start"]["predict_s_max"]
        cold = ("seconds of a cold `opensesame predict`", cold_s, f"<= {cold_max_s}", cold_s <= cold_max_s)
        return {
            "machine": _machine(),
            "spec": {"file": self._spec.name, "operations": upload["operations"]},
            "compile": compiled,
            "first_answer": first,
            "start_s": {s.name: s.start_s for s in (self._plain, self._noop, self._ours)},
            "stop_s": {s.name: s.stop_s for s in (self._plain, self._noop, self._ours)},
            "left_behind": {s.name: s.left_behind for s in (self._plain, self._noop, self._ours)},
            "idle_cores": {name: sum(cores.values()) for name, cores in self._idle_cores.items()},
            "rows": rows,
            "ratios": found,
            "limits": [*figures.judge(found, limits["predict"]), cold],
            "soak": soak,
            "memory": {"ready": ready, "loaded": loaded},
        }

    def _start(self, service: Service, probe: bytes) -> None:
        self._stack.callback(service.stop)
        service.start(probe, _READY_S)

    def _first_answer(self, path: Path) -> dict[str, float]:
        """Seconds to the first answer for a spec URL never seen, and until its vectors are made."""
        with Served(path) as url:
            body = {"spec_url": url, "prompt": "list everything that is new", "k": 5}
            began = time.monotonic()
            answer = _ask(self._ours.port, "POST", "/predict", json.dumps(body).encode())
            first_s = time.monotonic() - began
            while "embedding" in answer["metadata"]["degraded"]:
                if time.monotonic() - began > _VECTORS_S:
                    raise RuntimeError(f"no vectors of {path.name} after {_VECTORS_S:.0f} s")
                time.sleep(0.25)
                answer = _ask(self._ours.port, "POST", "/predict", json.dumps(body).encode())
            return {"answer_s": first_s, "vectors_s": time.monotonic() - began}

    def _measure_idle(self) -> None:
        services = (self._plain, self._noop, self._ours)
        time.sleep(2.0)  # what the last load left to do
        before = [service.cpu() for service in services]
        time.sleep(self._plan.idle_s)
        for service, first in zip(services, before, strict=True):
            now = service.cpu()
            self._idle_cores[service.name] = {
                title: (cpu_s - first.get(title, 0.0)) / self._plan.idle_s for title, cpu_s in now.items()
            }

    def _rounds(self, warm: list[bytes], traffic: Traffic) -> list[Row]:
        rows: dict[tuple[str, str, int], list[Sample]] = {}
        for number in range(self._plan.rounds):
            _say(f"round {number + 1} of {self._plan.rounds}")
            for concurrency, count in self._plan.counts.items():
                unseen = _encode(traffic.prompted(self._plan.unseen[concurrency]))
                for service, kind, bodies, size in (
                    (self._plain, "any", warm, count),
                    (self._noop, "any", warm, count),
                    (self._ours, "warm", warm, count),
                    (self._ours, "unseen", unseen, len(unseen)),
                ):
                    taken = self._load(service, bodies, concurrency, size)
                    rows.setdefault((service.name, kind, concurrency), []).append(taken)
        return [Row(*key, samples) for key, samples in rows.items()]

    def _soak(self, warm: list[bytes]) -> Sample | None:
        if not self._plan.soak_s:
            return None
        _say(f"16 clients for {self._plan.soak_s:.0f} s")
        return self._load(self._ours, warm, 16, 10**9, self._plan.soak_s)

    def _load(
        self, service: Service, bodies: list[bytes], concurrency: int, count: int, limit_s: float | None = None
    ) -> Sample:
        job = clients.Job(service.port, bodies, concurrency, count, limit_s or self._plan.limit_s)
        others = _Others([self._plain, self._noop, self._ours])
        before = service.cpu()
        outcome = clients.run(job)
        spent_s = {title: cpu_s - before.get(title, 0.0) for title, cpu_s in service.cpu().items()}
        idle = self._idle_cores.get(service.name, {})
        taken = figures.sample(outcome, spent_s=spent_s, idle_cores=idle, others_cores=others.cores())
        if taken.errors:
            _say(f"[red]{service.name}: {outcome.statuses}, the last one: {outcome.refused[:300]!r}")
        return taken


class _Others:
    """Cores that are busy with neither our services nor our clients, from its birth to `cores`."""

    def __init__(self, services: list[Service]) -> None:
        self._services = [s for s in services if s.is_running]
        self._began = time.monotonic()
        self._at_first = self._rest_s()

    def cores(self) -> float:
        return max(0.0, (self._rest_s() - self._at_first) / (time.monotonic() - self._began))

    def _rest_s(self) -> float:
        machine = psutil.cpu_times()
        busy = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0) - getattr(machine, "guest", 0.0)
        own = os.times()
        mine = own.user + own.system + own.children_user + own.children_system
        return busy - mine - sum(service.cpu_s() for service in self._services)


def cold_start_s(repeats: int) -> float:
    """Seconds of `opensesame predict` in a fresh process, from its start to its end; the median."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        command = [sys.executable, "-m", "serve.cli", "predict", "--prompt", "refund the duplicate charge"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return figures.quantile(times, 0.5)


def compile_times(path: Path, repeats: int) -> dict[str, float]:
    """Seconds to parse and compile a spec without vectors, in a fresh process bound to one core; the median."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_compile, (path, repeats))


def _compile(path: Path, repeats: int) -> dict[str, float]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from pipeline.catalog.library import compile_catalog
    from pipeline.catalog.parse import parse_spec

    limits = configuration.load().parse
    data = path.read_bytes()
    times: list[tuple[float, float, float]] = []
    for _ in range(repeats):
        began, cpu = time.perf_counter(), time.process_time()
        catalog = parse_spec(data, limits)
        parsed = time.perf_counter()
        compile_catalog(catalog)
        times.append((parsed - began, time.perf_counter() - began, time.process_time() - cpu))
    parse_s, total_s, cpu_s = (figures.quantile(column, 0.5) for column in zip(*times, strict=True))
    return {"parse_s": parse_s, "total_s": total_s, "cpu_s": cpu_s}


def _catalog(path: Path) -> Any:
    from pipeline.catalog.parse import parse_spec

    return parse_spec(path.read_bytes(), configuration.load().parse)


def _encode(bodies: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(body).encode() for body in bodies]


def _ask(port: int, method: str, path: str, data: bytes) -> Any:
    """The JSON answer; waits out a catalog that is being prepared. Raises RuntimeError on another status."""
    for _ in range(30):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status == 200:
            return json.loads(answer)
        if response.status != 503:
            break
        time.sleep(1.0)
    raise RuntimeError(f"{method} {path}: {response.status} {answer[:500]!r}")


class Served:
    """Context: the URL of a little server on loopback that answers every GET with the file."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._url = f"http://127.0.0.1:{self._server.server_port}/{path.name}"

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self._url

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _machine() -> dict[str, Any]:
    import ray

    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "ray": ray.__version__,
        "load": os.getloadavg(),
    }


def _say(text: str) -> None:
    _err.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {text}", highlight=False)


def _show(report: dict[str, Any]) -> None:
    spec = report["spec"]
    _out.print(f"\n{spec['file']}: {spec['operations']} operations; median of {len(report['rows'][0].samples)} rounds")
    _out.print(figures.load_table(report["rows"]))
    _out.print("others: cores busy with neither the services nor the clients; above 0.2 distrust milliseconds")
    _out.print(figures.ratio_table(report["ratios"]))
    for what, figure, limit, kept in report["limits"]:
        _out.print(f"{'[green]kept  ' if kept else '[red]MISSED'}[/] {what}: {figure:.2f} (limit {limit})")
    for row in report["rows"]:
        if row.concurrency == 1 and row.service != "uvicorn":
            last = row.samples[-1]
            spent = sorted(last.cpu_by_ms.items(), key=lambda item: -item[1])[:6]
            cpu = ", ".join(f"{name.removeprefix('ray::ServeReplica:opensesame:')} {ms:.1f}" for name, ms in spent)
            stages = ", ".join(f"{name} {ms:.1f}" for name, ms in last.stages_ms.items())
            _out.print(f"{row.service}, {row.traffic}, 1 client: CPU ms {cpu}" + (f"; ms {stages}" if stages else ""))
    if soak := report["soak"]:
        _out.print(f"16 clients without a pause: {soak.requests} requests, {soak.errors} errors")
    for name, times in report["compile"].items():
        first = report["first_answer"][name]
        _out.print(
            f"{name}: compiled in {times['total_s']:.2f} s on one core, first answer {first['answer_s']:.2f} s, "
            f"vectors after {first['vectors_s']:.1f} s"
        )
    _out.print("start to ready: " + ", ".join(f"{name} {s:.1f} s" for name, s in report["start_s"].items()))
    _out.print(figures.memory_table(report["memory"]["loaded"]))


def main(
    spec: Annotated[
        Path | None, typer.Option(help="OpenAPI file whose catalog is asked; GitHub's where the evaluation set is.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One short round: does it run, roughly how fast.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write everything that was measured to this JSON file.")] = None,
    config: Annotated[str, typer.Option(help="Configuration of the no-op graph and of ours.")] = "local",
) -> None:
    """Measure this machine: uvicorn, a no-op graph on Ray Serve, and ours; exit 1 when a request failed."""
    if spec is None:
        github = _SPECS / "github.json"
        spec = github if github.is_file() else configuration.resource("examples") / "billing.yaml"
        _say(f"spec {spec}")
    if not spec.is_file():
        raise typer.BadParameter(f"there is no file {spec}", param_hint="--spec")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="osb-") as folder:
        stack = ExitStack()
        try:
            report = Bench(QUICK if quick else FULL, spec, config, Path(folder), stack).run()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
            stack.close()
    _show(report)
    if out is not None:
        out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    errors = sum(s.errors for row in report["rows"] for s in row.samples)
    if errors or (report["soak"] and report["soak"].errors):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
