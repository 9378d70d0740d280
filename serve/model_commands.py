"""`opensesame models` and `opensesame train`: what the operator does, through a service or beside it.

With `--url` a running service is asked; without it the registry is opened in this process, and a training is a
process of its own. Whoever moves an alias, replicas follow it. Registered by `serve.cli`, which says how a
service is asked and how errors end.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Protocol

import orjson
import typer
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from pipeline import settings as configuration
from pipeline.errors import OpenSesameError, UnknownModel
from serve.terminal import table

_out = Console(soft_wrap=True)
_POLL_S = 1.0
_SERVICE = "http://127.0.0.1:8000"  # where counts by arm are asked for when no --url is given

Config = Annotated[str, typer.Option(help="Configuration: a name in configs/ or a path to a YAML file.")]
Var = Annotated[Path, typer.Option(help="Folder of the state, as given to serve.")]
Url = Annotated[str, typer.Option(help="Address of a running service; without it the registry is opened here.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

Ask = Callable[..., Any]  # (url, method, path, data, kind) -> JSON of the answer
Errors = Callable[[], contextlib.AbstractContextManager[None]]


def _tell_arms(told: dict[str, Any], json: bool) -> None:
    """What GET /models/compare says, as tables."""
    if json:
        _print(told)
        return
    if told["experiment"] is None:
        _out.print("No experiment has counted anything yet: see `experiments` in the configuration.")
        return
    _out.print(
        f"experiment {told['name']}: champion {told['champion']}, challenger {told['challenger']}", highlight=False
    )
    rows = table("arm", "predictions", "acceptance", "hit@1", "ctr", "conversion")
    for arm in told["arms"]:
        rates = (arm[name] for name in ("acceptance", "hit@1", "ctr", "conversion"))
        shown = ("" if rate is None else f"{rate:.4f}" for rate in rates)
        rows.add_row(arm["arm"], str(arm["counts"].get("predictions", "")), *shown)
    _out.print(rows)
    rows = table("measure", "difference", f"at {1 - told['alpha']:.0%}, however often looked at", "verdict")
    drafts = told["interleaving"]
    drafted = {**drafts, "measure": "share of drafts won", "difference": drafts["challenger_share"]}
    for row in (*told["differences"], drafted):
        found = "" if row["difference"] is None else f"{row['difference']:+.4f}"
        rows.add_row(row["measure"], found, f"{row['low']:+.4f} .. {row['high']:+.4f}", row["verdict"])
    _out.print(rows)


def _tell_gate(gate: dict[str, Any]) -> None:
    """What the gate said of a version: each condition with how much the version differs from the champion."""
    _out.print(
        f"{'gate':<12} {'passed' if gate['passed'] else 'refused'}: {gate['why']}", highlight=False, markup=False
    )
    if not gate.get("conditions"):
        return
    rows = table("condition", "verdict", "difference", "95 %", "why")
    for one in gate["conditions"]:
        gap = "" if one["challenger"] is None else f"{one['challenger'] - one['champion']:+.3g}"
        interval = "" if one["low"] is None else f"{one['low']:+.3g} .. {one['high']:+.3g}"
        verdict = Text("pass", style="green") if one["passed"] else Text("FAIL", style="red")
        rows.add_row(Text(one["name"]), verdict, gap, interval, Text(one["why"]))
    _out.print(rows)


class _Models(Protocol):
    """The operator's calls, wherever they are answered."""

    def overview(self) -> dict[str, Any]: ...
    def show(self, version: str) -> dict[str, Any]: ...
    def promote(self, version: str) -> dict[str, Any]: ...
    def rollback(self) -> dict[str, Any]: ...
    def challenge(self, version: str) -> dict[str, Any]: ...


def register(app: typer.Typer, ask: Ask, errors: Errors) -> None:
    """Add the commands to `app`."""
    models = typer.Typer(help="List, show, promote, roll back, challenge and compare rankers.")
    app.add_typer(models, name="models")

    def at(url: str, config: str, var: Path) -> _Models:
        return _Remote(url, ask) if url else _Local(config, var)

    @models.callback(invoke_without_command=True)
    def default(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            list_models()

    @models.command("list")
    def list_models(config: Config = "local", var: Var = Path("var"), url: Url = "", json: Json = False) -> None:
        """Every version, newest first, and which serves."""
        with errors():
            found = at(url, config, var).overview()
            if json:
                _print(found)
                return
            rows = table("version", "name", "aliases", "created", "gate")
            for model in found["models"]:
                gate = model["gate"] or {}
                verdict = gate.get("verdict", "promote" if gate.get("passed") else "refuse" if gate else "")
                rows.add_row(
                    model["version"], model["name"], " ".join(model["aliases"]), model["created"], str(verdict)
                )
            _out.print(rows)

    @models.command()
    def show(version: str, config: Config = "local", var: Var = Path("var"), url: Url = "", json: Json = False) -> None:
        """A version with its figures and the report of the gate."""
        with errors():
            model = at(url, config, var).show(version)
            if json:
                _print(model)
                return
            for name in ("version", "name", "origin", "created", "fingerprint", "sha256"):
                _out.print(f"{name:<12} {model[name]}", highlight=False)
            _out.print(f"{'aliases':<12} {' '.join(model['aliases'])}", highlight=False)
            for title in ("metrics", "params"):
                for name, value in sorted(model[title].items()):
                    _out.print(f"{title:<12} {name} = {value}", highlight=False)
            if model["gate"] is not None:
                _tell_gate(model["gate"])

    @models.command()
    def promote(
        version: str, config: Config = "local", var: Var = Path("var"), url: Url = "", json: Json = False
    ) -> None:
        """Make a version the champion; every replica serves it within seconds."""
        with errors():
            _tell(at(url, config, var).promote(version), json)

    @models.command()
    def rollback(config: Config = "local", var: Var = Path("var"), url: Url = "", json: Json = False) -> None:
        """Go back to the champion before this one."""
        with errors():
            _tell(at(url, config, var).rollback(), json)

    @models.command()
    def challenge(
        version: Annotated[str, typer.Argument(help="A version; without it nobody is the challenger any more.")] = "",
        config: Config = "local",
        var: Var = Path("var"),
        url: Url = "",
        json: Json = False,
    ) -> None:
        """Let a version challenge the champion, as the configuration's `experiments` say; every replica follows."""
        with errors():
            now = at(url, config, var).challenge(version)
            if json:
                _print(now)
                return
            _out.print(
                f"champion {now['champion'] or 'none'}, challenger {now['challenger'] or 'none'}", highlight=False
            )

    @models.command()
    def compare(
        one: Annotated[str, typer.Argument(help="A version; without it the champion.")] = "",
        other: Annotated[str, typer.Argument(help="Another; without it the challenger, else the newest.")] = "",
        config: Config = "local",
        var: Var = Path("var"),
        url: Url = "",
        arms: Annotated[
            bool, typer.Option("--arms", help="What users did with both, from the service at --url.")
        ] = False,
        json: Json = False,
    ) -> None:
        """The figures of two versions side by side; with --arms what users did with champion and challenger."""
        with errors():
            if arms:
                _tell_arms(ask(url or _SERVICE, "GET", "/models/compare"), json)
                return
            told = compared(at(url, config, var), one, other)
            if json:
                _print(told)
                return
            rows = table("figure", *told["versions"], "difference")
            for name, (left, right) in told["metrics"].items():
                difference = f"{right - left:+.4f}" if left is not None and right is not None else ""
                shown = ("" if value is None else f"{value:.4f}" for value in (left, right))
                rows.add_row(name, *shown, difference)
            _out.print(rows)

    @app.command()
    def train(
        force: Annotated[bool, typer.Option("--force", help="Train though it is not due.")] = False,
        config: Config = "local",
        var: Var = Path("var"),
        url: Annotated[str, typer.Option(help="Address of a running service, which trains as a Ray job.")] = "",
        wait: Annotated[bool, typer.Option(help="Follow a service's training until it ends.")] = True,
        json: Annotated[bool, typer.Option("--json", help="Tell progress and outcome as JSON, a line each.")] = False,
    ) -> None:
        """Train a ranker from feedback, and promote it when it is better."""
        with errors():
            if url:
                _follow(ask, url, force, wait, json)
                return
            command = [sys.executable, "-P", "-m", "train.retrain", "--config", config, "--var", str(var.resolve())]
            command += ["--force"] * force + ["--json"] * json
            raise typer.Exit(subprocess.run(command, check=False).returncode)


def compared(models: _Models, one: str, other: str) -> dict[str, Any]:
    """The figures of two versions: `{versions, metrics: name -> [one's, other's]}`; raises UnknownModel."""
    if not one or not other:
        found = models.overview()
        one = one or found["champion"] or ""
        other = other or found["challenger"] or next((m["version"] for m in found["models"] if m["version"] != one), "")
        if not one or not other:
            raise UnknownModel("There are no two models to compare.")
    left, right = models.show(one)["metrics"], models.show(other)["metrics"]
    names = sorted(left.keys() | right.keys())
    return {"versions": [one, other], "metrics": {name: [left.get(name), right.get(name)] for name in names}}


class _Remote:
    def __init__(self, url: str, ask: Ask) -> None:
        self._url, self._ask = url, ask

    def overview(self) -> dict[str, Any]:
        return self._ask(self._url, "GET", "/models")

    def show(self, version: str) -> dict[str, Any]:
        return self._ask(self._url, "GET", f"/models/{version}")

    def promote(self, version: str) -> dict[str, Any]:
        return self._ask(self._url, "POST", f"/models/{version}/promote", b"{}", "application/json")

    def rollback(self) -> dict[str, Any]:
        return self._ask(self._url, "POST", "/models/rollback", b"{}", "application/json")

    def challenge(self, version: str) -> dict[str, Any]:
        if not version:
            return self._ask(self._url, "DELETE", "/models/challenger")
        return self._ask(self._url, "POST", f"/models/{version}/challenge", b"{}", "application/json")


class _Local:
    def __init__(self, config: str, var: Path) -> None:
        from pipeline.stores.registry import Registry

        self._settings = configuration.under(configuration.load(config), var)
        self._registry = Registry(self._settings.registry)

    def overview(self) -> dict[str, Any]:
        from serve.registered import overview_json

        return overview_json(self._registry.overview())

    def show(self, version: str) -> dict[str, Any]:
        from serve.registered import version_json

        return version_json(self._registry.show(version))

    def promote(self, version: str) -> dict[str, Any]:
        from serve.registered import aliases_json, promote

        now, _ = promote(self._registry, version, self._settings.ranker.score_limit_s)
        return aliases_json(now)

    def challenge(self, version: str) -> dict[str, Any]:
        from serve.registered import aliases_json, challenge

        return aliases_json(challenge(self._registry, version, self._settings.ranker.score_limit_s))

    def rollback(self) -> dict[str, Any]:
        from serve.registered import aliases_json, rollback

        now, _ = rollback(self._registry, self._settings.ranker.score_limit_s)
        return aliases_json(now)


def _follow(ask: Ask, url: str, force: bool, wait: bool, json: bool) -> None:
    """Start a training by the service and tell its progress: as a bar, or a JSON line each time it changes."""
    job = ask(url, "POST", "/train", orjson.dumps({"force": force}), "application/json")
    if json:
        _line(job)
    elif not wait:
        _out.print(f"training {job['job_id']}", highlight=False)
    said = None
    with Progress(console=Console(stderr=True), disable=json or not wait, transient=True) as bar:
        task = bar.add_task("start", total=None)
        while wait:
            job = ask(url, "GET", f"/train/{job['job_id']}")
            if job != said and json:
                _line(job)
            said, told = job, job.get("progress") or {}
            if "step" in told:
                bar.update(task, description=told["step"], completed=told["done"], total=told["total"])
            if job["status"] in ("failed", "stopped"):
                raise OpenSesameError(f"The training has {job['status']}: {job.get('detail', '')}")
            if job["status"] == "succeeded":
                break
            time.sleep(_POLL_S)
    if wait and not json:
        told = job.get("progress") or {}
        _out.print(f"{told.get('status', 'succeeded')}: {told.get('why', job['job_id'])}", highlight=False)


def _line(job: dict[str, Any]) -> None:
    print(orjson.dumps(job).decode(), flush=True)


def _tell(now: dict[str, Any], json: bool) -> None:
    if json:
        _print(now)
        return
    _out.print(
        f"champion {now['champion']}" + (f", previous {now['previous']}" if now["previous"] else ""), highlight=False
    )


def _print(value: Any) -> None:
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
