"""`python -m loadtest.lift`: how much better a running service becomes by being used, over HTTP.

A population with hidden habits (`loadtest/population.py`) uses an API that the service has never seen, a made-up one or
that of `--spec`. It is asked about steps that nobody tells it of, then told of other steps, and asked again: hit@1
after 0, 50, 100 and 200 events, beside the service without any feedback, flat counts of what followed, and an oracle
that knows the population. With `--cases` recorded sequences are told too, each foretold before it is told. With
`--retrain` the ranker is then trained on what was told. Starts the service itself unless `--url` names one, and stops
what it started.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import httpx2
import numpy as np
import orjson
import typer
from rich.console import Console
from rich.table import Table

from loadtest.population import Population, Step, concrete, document
from loadtest.processes import Service, free_ports
from pipeline import settings as configuration
from pipeline.catalog.parse import parse_spec
from pipeline.errors import OpenSesameError
from train.cases import Case, read_cases
from train.predictors import Specs
from train.prequential import hindsight, history_of, in_order, sequence

CHECKPOINTS = (0, 50, 100, 200)
_WINDOWS = (0, 25, 50, 100, 150, 200)
_READY_S, _VECTORS_S, _TRAINED_S = 300.0, 180.0, 1800.0
_out, _err = Console(width=None if sys.stdout.isatty() else 100), Console(stderr=True)


class User:
    """Whoever asks the service and tells it what was done."""

    def __init__(self, url: str) -> None:
        self._client = httpx2.Client(base_url=url, timeout=60.0)
        self.degraded: Counter[str] = Counter()

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """The body of the answer; what is overloaded is asked again.

        Raises:
            RuntimeError: the service refused.
        """
        for _ in range(20):
            try:
                answer = self._client.request(method, path, **arguments)
            except httpx2.HTTPError as error:
                raise RuntimeError(f"{method} {path}: no answer ({type(error).__name__})") from None
            if answer.status_code not in (429, 503):
                break
            time.sleep(0.5)
        if answer.status_code >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()

    def upload(self, name: str, data: bytes) -> None:
        """Upload a spec and wait until its vectors are made."""
        self.call("PUT", f"/catalogs/{name}", content=data, headers={"content-type": "application/octet-stream"})
        until = time.monotonic() + _VECTORS_S
        while time.monotonic() < until:
            if "embedding" not in self.ask(name, "", "list", [])["metadata"]["degraded"]:
                return
            time.sleep(0.5)

    def ask(self, catalog: str, user: str, prompt: str, events: list[dict[str, Any]]) -> Any:
        body: dict[str, Any] = {"catalog": catalog, "events": events, "k": 5, "deadline_ms": 10_000}
        answer = self.call(
            "POST", "/predict", json=body | {k: v for k, v in (("user_id", user), ("prompt", prompt)) if v}
        )
        self.degraded.update(answer["metadata"]["degraded"])
        return answer

    def tell(self, prediction: Any, user: str, endpoint: str) -> None:
        """Tell what was called instead of, or as, the first prediction."""
        body: dict[str, Any] = {"prediction_id": prediction["prediction_id"], "feedback": "override"}
        self.call("POST", "/feedback", json=body | {"user_id": user, "chosen": {"endpoint": endpoint}})


def first(answer: Any) -> str:
    """The operation that an answer ranks first, "" when there is none."""
    return answer["predictions"][0]["endpoint"] if answer["predictions"] else ""


def population(
    user: User, spec: bytes, people: Population, probes: int, told: Sequence[int], retrain: bool
) -> list[dict[str, Any]]:
    """hit@1 on `probes` steps that are never told, after each number of events."""
    name = f"lift-{int(time.time())}"  # a lineage that nobody has told anything of
    user.upload(name, spec)
    asked = list(itertools.islice(people.steps("asked"), probes))
    ahead = people.steps("told")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    rows, before = [], 0
    for number in told:
        for step in itertools.islice(ahead, number - before):
            prediction = user.ask(name, step.user, step.prompt, _events(step))
            user.tell(prediction, step.user, concrete(step.answer, step.session))
            counts[step.history[-1] if step.history else ""][step.answer] += 1
        before = number
        rows.append({"events": str(number)} | _probe(user, name, people, asked, counts))
        _say(f"after {number} events: {rows[-1]['adapted']:.2f}")
    if retrain:
        try:
            version = _train(user)
        except RuntimeError as error:
            _say(f"no training: {error}")
        else:
            rows.append({"events": f"{before}, {version}"} | _probe(user, name, people, asked, counts))
    for row in rows:
        row["static"] = rows[0]["adapted"]
    return rows


def _probe(
    user: User, name: str, people: Population, asked: Sequence[Step], counts: dict[str, Counter[str]]
) -> dict[str, Any]:
    hits = np.zeros(3)
    for step in asked:
        followed = counts[step.history[-1] if step.history else ""].most_common(1)
        hits += (
            first(user.ask(name, step.user, step.prompt, _events(step))) == step.answer,
            bool(followed) and followed[0][0] == step.answer,
            people.foresee(step) == step.answer,
        )
    return dict(zip(("adapted", "counts", "oracle"), (hits / len(asked)).tolist(), strict=True))


def _events(step: Step) -> list[dict[str, Any]]:
    return [{"endpoint": concrete(operation, step.session)} for operation in step.history]


def _train(user: User) -> str:
    """Train a ranker on what was told; what came of it, in a few words."""
    job = user.call("POST", "/train", json={"force": True})
    until = time.monotonic() + _TRAINED_S
    while time.monotonic() < until:
        state = user.call("GET", f"/train/{job['job_id']}")
        if state.get("status") in ("succeeded", "failed", "stopped"):
            break
        time.sleep(2.0)
    time.sleep(6.0)  # every replica follows a promotion within 5 s
    version = user.call("GET", "/models").get("champion")
    return f"training {state.get('status')}, champion {version}"


def replay(user: User, cases: Sequence[Case], specs: Specs, seeds: Iterable[int], most: int) -> list[dict[str, Any]]:
    """hit@1 of recorded sequences in windows of events, with feedback and, under another name, without."""
    hits: list[list[tuple[bool, bool, bool]]] = []
    histories = [history_of(case, specs) for case in cases]
    likeliest = dict(zip(histories, hindsight(histories, [case.next for case in cases]), strict=True))
    for seed in seeds:
        rng = random.Random(seed)
        events = in_order(cases, rng, "mixed")[:most]
        stamp = f"{int(time.time())}-{seed}"
        names = [f"lift-{kind}-{stamp}" for kind in ("told", "untold")]
        for name in names:
            user.upload(name, specs.data(events[0].spec))
        users = {name: f"user-{rng.randrange(4)}" for name in dict.fromkeys(sequence(case) for case in events)}
        rows = []
        for case in events:
            who = users[sequence(case)]
            sent = [{"endpoint": event.endpoint, "params": event.params} for event in case.events]
            told, untold = (user.ask(name, who, case.prompt or "", sent) for name in names)
            user.tell(told, who, case.next)
            oracle = likeliest[history_of(case, specs)]
            rows.append((first(untold) == case.next, first(told) == case.next, oracle == case.next))
        hits.append(rows)
        _say(f"order {seed}: {np.mean(rows, axis=0)[:2].round(2)} without and with feedback")
    out = []
    edges = [edge for edge in _WINDOWS if edge < most] + [most]
    for start, stop in itertools.pairwise(edges):
        values = np.array([row for rows in hits for row in rows[start:stop]], dtype=float)
        if len(values):
            found = dict(zip(("static", "adapted", "oracle"), values.mean(axis=0).tolist(), strict=True))
            out.append({"events": f"{start}-{stop}"} | found)
    return out


def show(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    methods = [name for name in ("static", "adapted", "counts", "oracle") if name in rows[0]]
    table = Table(title=title, title_justify="left")
    table.add_column("events")
    for method in methods:
        table.add_column(method, justify="right")
    for row in rows:
        table.add_row(row["events"], *(f"{row[method]:.2f}" for method in methods))
    return table


def draw(parts: dict[str, list[dict[str, Any]]], file: Path) -> None:
    """Writes hit@1 over events as PNG, one panel for each part."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = {"static": "#7a7a7a", "adapted": "#0b5fa5", "counts": "#edae49", "oracle": "#66a182"}
    figure = Figure(figsize=(4.8 * len(parts), 3.8), dpi=130)
    FigureCanvasAgg(figure)
    for axis, (title, rows) in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts.items(), strict=True):
        for method in (name for name in colours if name in rows[0]):
            width = 2.2 if method == "adapted" else 1.4
            axis.plot(
                [r["events"].replace(", ", "\n") for r in rows],
                [r[method] for r in rows],
                "o-",
                color=colours[method],
                linewidth=width,
                label=method,
            )
        axis.set_ylim(0, 1)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("feedback events", fontsize=9)
        axis.grid(True, color="#e6e6e6", linewidth=0.8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.axes[0].set_ylabel("hit@1", fontsize=9)
    figure.axes[0].legend(fontsize=8, frameon=False, loc="upper center", ncols=4)
    figure.tight_layout()
    figure.savefig(file, format="png")


def _say(text: str) -> None:
    _err.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {text}", highlight=False)


def main(
    url: Annotated[str, typer.Option(help="A running service; without it one is started, and stopped.")] = "",
    spec: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The API that people use, not a made-up one.")
    ] = None,
    cases: Annotated[Path | None, typer.Option(exists=True, help="Cases of one suite (JSON lines), told too.")] = None,
    specs: Annotated[Path | None, typer.Option(exists=True, help="Folder of the spec that they name.")] = None,
    seed: Annotated[int, typer.Option(help="Of the population and of the orders.")] = 7,
    probes: Annotated[int, typer.Option(min=1, help="Steps asked about after each number of events.")] = 150,
    orders: Annotated[int, typer.Option(min=1, help="Orders in which the cases are told.")] = 2,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train a ranker on what was told, then ask again.")
    ] = False,
    png: Annotated[Path | None, typer.Option(help="Draw the curves here.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    config: Annotated[str, typer.Option(help="Configuration of the service that is started.")] = "local",
) -> None:
    """Measure how much better predictions become by feedback, on an API the service has never seen."""
    for file in (png, json):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
    try:
        parts, degraded = _measure(url, spec, cases, specs, seed, probes, orders, retrain, config)
    except (RuntimeError, OpenSesameError) as error:
        _err.print(f"error: {error}", style="red", highlight=False)
        raise typer.Exit(1) from None
    for title, rows in parts.items():
        _out.print(show(title, rows))
    if degraded:
        _out.print("degraded: " + ", ".join(f"{name} {count}" for name, count in degraded.items()))
    if png is not None:
        draw(parts, png)
    if json is not None:
        json.write_bytes(orjson.dumps(parts, option=orjson.OPT_INDENT_2))


def _measure(
    url: str,
    spec: Path | None,
    cases: Path | None,
    specs: Path | None,
    seed: int,
    probes: int,
    orders: int,
    retrain: bool,
    config: str,
) -> tuple[dict[str, list[dict[str, Any]]], Counter[str]]:
    """The rows of each part, and what the answers lacked."""
    settings = configuration.load(config)
    data = spec.read_bytes() if spec is not None else document()
    called = [operation.key for operation in parse_spec(data, settings.parse).operations]
    with tempfile.TemporaryDirectory(prefix="osl-") as folder, ExitStack() as stack:
        if not url:
            port, dashboard = free_ports(2)
            argv = [sys.executable, "-m", "serve.cli", "serve", "--config", config, "--port", str(port)]
            env = {**os.environ, "OPENSESAME__RAY__DASHBOARD_PORT": str(dashboard)}
            service = Service("service", [*argv, "--var", str(Path(folder) / "var")], port, Path(folder), env)
            stack.callback(service.stop)
            _say("start the service")
            service.start(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", _READY_S)
            url = f"http://127.0.0.1:{port}"
        user = User(url.rstrip("/"))
        people = Population(seed, called)
        name = spec.stem if spec is not None else "a harbour office"
        parts = {f"habits of its own, {name}": population(user, data, people, probes, CHECKPOINTS, retrain)}
        if cases is not None:
            known = Specs(settings, specs or cases.parent, meaning=False)
            asked = read_cases([cases], known)
            if not asked:
                raise typer.BadParameter(f"there are no cases in {cases}", param_hint="--cases")
            parts[f"{asked[0].suite}, told as recorded"] = replay(user, asked, known, range(seed, seed + orders), 200)
    return parts, user.degraded


if __name__ == "__main__":
    typer.run(main)
