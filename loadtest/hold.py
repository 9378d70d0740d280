"""`python -m loadtest.hold WHAT`: does it hold while it is loaded, changed, killed, overloaded, or just runs on?

Starts an instance of its own on loopback (two replicas of what can have two), gives it real specs, has locust's users
ask it (`loadtest/locustfile.py`, a process of its own), does something to it meanwhile, stops everything by pid, and
leaves records and a verdict (`loadtest.verdict`) in a folder. WHAT is load, prove, node, chaos, overload or soak.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import psutil
import typer

from loadtest import faults
from loadtest.faults import Fault
from loadtest.instance import HEALED_S, Instance, Load, Scales, known_specs, overlay, say
from loadtest.machines import Machines
from loadtest.verdict import Phase, Run
from pipeline import settings as configuration

PHASE_S, ENGINE_S = 300.0, 240.0
_LOOKS = 8
app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

Specs = Annotated[Path, typer.Option(help="Folder of specs to load beside those of examples/, if it is there.")]
Out = Annotated[Path, typer.Option(help="Folder of the records and the report.")]
Seed = Annotated[int, typer.Option(help="Decides sessions and faults.")]
Rate = Annotated[float, typer.Option(help="Requests a second.")]
Users = Annotated[int, typer.Option(help="Users at once.")]


class Trial:
    """Phases under load, and what they leave."""

    def __init__(self, instance: Instance, title: str, seed: int, machines: Machines | None = None) -> None:
        self.instance, self.seed, self._machines = instance, seed, machines
        self.run = Run(title, [])
        self._rng = random.Random(seed)

    @contextlib.contextmanager
    def phase(self, name: str, kind: str) -> Iterator[Phase]:
        say(name)
        phase = Phase(name, kind, time.time())
        self.run.phases.append(phase)
        try:
            yield phase
        finally:
            phase.ended = time.time()
            self.keep()

    def while_loaded(
        self, load: Load, name: str, kind: str, requests: int, deed: Callable[[Phase], None], pause_s: float = 6.0
    ) -> None:
        """Do it again and again, healed in between, until `requests` have been asked; healed at the end too."""
        with self.phase(name, kind) as phase:
            before, until = load.count(), time.monotonic() + PHASE_S
            while load.count() - before < requests * 1.02 and time.monotonic() < until:
                deed(phase)
                healed_s = self.instance.heal()
                phase.deeds[-1] = (phase.deeds[-1][0], f"{phase.deeds[-1][1]}, well again after {healed_s:.1f} s")
                time.sleep(pause_s)

    def fault(self, phase: Phase, fault: Fault) -> None:
        """Do it to a process of this instance, or to its second machine; when that was a kill, until it is replaced."""
        phase.deeds.append((time.time(), str(fault)))
        if fault.target == faults.NODE:
            assert self._machines is not None
            faults.inflict(fault, self._machines.inside())
            if fault.kind == "kill":
                self._machines.renew()
            return
        found = self._found(fault.target)
        faults.inflict(fault, [self._rng.choice(found)])
        until = time.monotonic() + HEALED_S
        while fault.kind == "kill" and time.monotonic() < until:
            now = self._found(fault.target)
            if len(now) >= len(found) and set(now) != set(found):
                return
            time.sleep(0.5)

    def _found(self, target: str) -> list[psutil.Process]:
        everywhere = [] if self._machines is None else self._machines.processes()
        return faults.processes(target, [*self.instance.service.processes(), *everywhere])

    def keep(self) -> None:
        """Write down what there is, so that a run that is broken off can still be judged."""
        (self.instance.folder / "run.json").write_bytes(msgspec.json.encode(self.run))

    def write(self) -> bool:
        """Keep what was seen and judge it; True when every limit was kept."""
        self.keep()
        folder = self.instance.folder
        told = subprocess.run([sys.executable, "-m", "loadtest.verdict", str(folder)], check=False)
        say(f"report: {folder / 'report.md'}")
        return told.returncode == 0


def _promote(instance: Instance) -> Callable[[Phase], None]:
    """A deed: another ranker is promoted, by turns one of two that are as large as the packaged one."""
    from pipeline.ranking.ranker import packaged_path
    from pipeline.stores.registry import Registry

    registry = Registry(configuration.under(configuration.load("local"), instance.var).registry)
    saved = json.loads(packaged_path().read_bytes())
    versions = [registry.register(json.dumps(saved | {"version": name})).version for name in ("one", "two")]

    def promote(phase: Phase) -> None:
        version = versions[len(phase.deeds) % 2]
        phase.deeds.append((time.time(), f"promote {version}"))
        instance.ask("POST", f"/models/{version}/promote", json={})

    return promote


def _change(instance: Instance, what: str) -> Callable[[Phase], None]:
    def change(phase: Phase) -> None:
        phase.deeds.append((time.time(), what))
        instance.door(what, PHASE_S)

    return change


def _reload(instance: Instance) -> Callable[[Phase], None]:
    """A deed: a catalog's next edition is uploaded."""

    def upload(phase: Phase) -> None:
        name = sorted(instance.specs)[len(phase.deeds) % len(instance.specs)]
        phase.deeds.append((time.time(), f"upload {name}"))
        data = instance.specs[name].read_bytes()
        instance.ask("PUT", f"/catalogs/{name}", content=data + b"\n" * (1 + len(phase.deeds)))

    return upload


def _train(instance: Instance) -> Callable[[Phase], None]:
    """A deed: a training, to its end."""

    def train(phase: Phase) -> None:
        phase.deeds.append((time.time(), "train"))
        job = instance.ask("POST", "/train", json={"force": True})["job_id"]
        until = time.monotonic() + 600
        while instance.ask("GET", f"/train/{job}")["status"] in ("PENDING", "RUNNING", "pending", "running"):
            if time.monotonic() > until:
                raise RuntimeError("the training does not end")
            time.sleep(2)

    return train


def _end(trial: Trial) -> None:
    if not trial.write():
        sys.exit(1)


@app.command()
def load(
    out: Out = Path("var/load"),
    specs: Specs = Path("../shared/eval/specs"),
    rate: Rate = 30.0,
    users: Users = 16,
    length_s: float = 60.0,
    retrain: bool = True,
    seed: Seed = 1,
) -> None:
    """Steady, ramp, spike, and a steady load while rankers and specs are reloaded and a ranker is trained."""
    out.mkdir(parents=True, exist_ok=True)
    with Instance(emptied(out), overlay(1)) as instance:
        instance.teach(known_specs(specs, ("github", "stripe", "tmdb", "tau2_retail")))
        trial = Trial(instance, "Load", seed)
        for number, profile in enumerate(("steady", "ramp", "spike")):
            with Load(instance, rate, users, seed + number, profile, length_s), trial.phase(profile, "load"):
                time.sleep(length_s)
        with Load(instance, rate, users, seed + 9) as loaded:
            trial.while_loaded(loaded, "reload a ranker", "load", int(rate * length_s / 2), _promote(instance))
            trial.while_loaded(loaded, "reload specs", "load", int(rate * length_s / 2), _reload(instance))
            if retrain:
                trial.while_loaded(loaded, "retrain", "load", 1, _train(instance))
    _end(trial)


@app.command()
def prove(
    what: Annotated[str, typer.Argument(help="Phases by commas: redeploy, config, promote, or kill of a target.")],
    out: Out = Path("var/prove"),
    specs: Specs = Path("../shared/eval/specs"),
    rate: Rate = 50.0,
    users: Users = 16,
    requests: int = 5000,
    seed: Seed = 1,
) -> None:
    """What must lose no request: changes and kills, each under `requests` requests."""
    out.mkdir(parents=True, exist_ok=True)
    folder = emptied(out)
    generates = faults.GENERATOR in what.split(",")
    with Instance(folder, overlay(2, **(_generating(folder) if generates else {}))) as instance:
        instance.teach(known_specs(specs, ("tmdb", "tau2_retail")))
        if generates:
            _engines(instance)
        trial = Trial(instance, "Prove", seed)
        promote = _promote(instance) if "promote" in what.split(",") else None
        with Load(instance, rate, users, seed) as loaded:
            with trial.phase("calm", "calm"):
                time.sleep(20)
            for name in what.split(","):
                if name == "promote":
                    assert promote is not None
                    trial.while_loaded(loaded, "promote", "change", requests, promote)
                elif name in ("redeploy", "config"):
                    trial.while_loaded(loaded, name, "change", requests, _change(instance, name))
                else:
                    kind = {"ingress": "ingress", "controller": "change"}.get(name, "kill")
                    deed = _kill_engine(trial) if name == faults.GENERATOR else _doing(trial, Fault("kill", name))
                    trial.while_loaded(loaded, f"kill {name}", kind, requests, deed)
        if generates:
            tiers = instance.ask("GET", "/cost-analytics")["tiers"]
            trial.run.notes.append(f"What the engine had a part in: {json.dumps(tiers)}.")
    _end(trial)


def _generating(folder: Path) -> dict[str, Any]:
    """Settings of two engines of vLLM over a small random model, asked whenever a prompt came."""
    from loadtest.generator import random_model
    from pipeline.catalog.parse import parse_spec

    spec = next(iter(known_specs(folder, ()).values())).read_bytes()
    catalog = parse_spec(spec, configuration.load().parse)
    model = random_model(folder / "model", catalog, "\n".join(o.key for o in catalog.operations))
    generator = {"enabled": True, "model": str(model), "replicas": {"min": 2, "max": 2}}
    generator |= {"mode": "logprob", "max_model_len": 4096, "options": 8, "buffer": 0}
    return {"generator": generator, "router": {"min_gain": 0}}


def _kill_engine(trial: Trial) -> Callable[[Phase], None]:
    def kill(phase: Phase) -> None:
        trial.fault(phase, Fault("kill", faults.GENERATOR))
        _engines(trial.instance)

    return kill


def _engines(instance: Instance) -> None:
    """Wait until every replica's engine is there; which of them a look at /health meets is chance."""
    instance.heal()  # all replicas are asked
    seen, until = 0, time.monotonic() + ENGINE_S
    while seen < _LOOKS and time.monotonic() < until:
        seen = seen + 1 if instance.ask("GET", "/health")["components"]["generator"]["status"] == "ok" else 0
        time.sleep(0.5)
    say("the engines are there" if seen == _LOOKS else "an engine is still away")


@app.command()
def node(
    out: Out = Path("var/nodes"),
    specs: Specs = Path("../shared/eval/specs"),
    rate: Rate = 30.0,
    users: Users = 16,
    after_s: Annotated[float, typer.Option(help="Seconds of load after the loss.")] = 60.0,
    silently: Annotated[bool, typer.Option(help="Pull the cable instead of killing.")] = False,
    seed: Seed = 1,
) -> None:
    """Lose one of two machines under load: killed, or its cable pulled."""
    out.mkdir(parents=True, exist_ok=True)
    folder = emptied(out)
    with Machines(folder) as machines, Instance(folder, overlay(2, **machines.settings)) as instance:
        instance.teach(known_specs(specs, ("tmdb", "tau2_retail")))
        trial = Trial(instance, f"A node {'unplugged' if silently else 'killed'}", seed)
        titles = [" ".join(process.cmdline()) for process in machines.inside()]
        there = sorted(title.split(":")[-1].split(".")[0].strip() for title in titles if "ServeReplica" in title)
        trial.run.notes.append(f"On the node that goes: {', '.join(there)}.")
        say(trial.run.notes[-1])
        with Load(instance, rate, users, seed):
            with trial.phase("calm", "calm"):
                time.sleep(15)
            with trial.phase("node lost", "node") as phase:
                phase.deeds.append((time.time(), "the node goes"))
                if silently:
                    machines.unplug()
                else:
                    faults.inflict(Fault("kill", faults.NODE), machines.inside())
                time.sleep(after_s)
                say(f"well again {instance.heal():.1f} s after that")
    _end(trial)


@app.command()
def chaos(
    out: Out = Path("var/chaos"),
    specs: Specs = Path("../shared/eval/specs"),
    rate: Rate = 30.0,
    users: Users = 16,
    count: Annotated[int, typer.Option(help="How many faults; 0: each kind to each part, once.")] = 0,
    seed: Seed = 1,
) -> None:
    """Kills, pauses and slowness of every part and of a second machine, in the order the seed decides."""
    out.mkdir(parents=True, exist_ok=True)
    folder = emptied(out)
    alone = Machines.why_not()
    targets = [*faults.TARGETS] if alone else [*faults.TARGETS, faults.NODE]
    with contextlib.ExitStack() as stack:
        machines = None if alone else stack.enter_context(Machines(folder))
        more = {} if machines is None else machines.settings
        instance = stack.enter_context(Instance(folder, overlay(2, **more)))
        instance.teach(known_specs(specs, ("tmdb", "tau2_retail")))
        trial = Trial(instance, f"Chaos, seed {seed}", seed, machines)
        if alone:
            trial.run.notes.append(f"Without the loss of a node: {alone}.")
        with Load(instance, rate, users, seed) as loaded:
            with trial.phase("calm", "calm"):
                time.sleep(15)
            for fault in faults.schedule(seed, count or len(faults.KINDS) * len(targets), targets):
                deed = _doing(trial, fault)
                trial.while_loaded(loaded, f"{len(trial.run.phases)}: {fault}", "fault", 1, deed)
    _end(trial)


def _doing(trial: Trial, fault: Fault) -> Callable[[Phase], None]:
    return lambda phase: trial.fault(phase, fault)


@app.command()
def overload(
    out: Out = Path("var/overload"),
    specs: Specs = Path("../shared/eval/specs"),
    users: Users = 50,
    length_s: float = 60.0,
    seed: Seed = 1,
) -> None:
    """50 clients at twice the rate that can be sustained, beside the same clients at that rate."""
    out.mkdir(parents=True, exist_ok=True)
    with Instance(emptied(out), overlay(1)) as instance:
        instance.teach(known_specs(specs, ("tmdb", "tau2_retail")))
        trial = Trial(instance, "Overload", seed)
        with Load(instance, 1000.0, 16, seed) as loaded:  # nobody waits: what comes is what it can
            time.sleep(5)
            with trial.phase("capacity", "capacity"):
                before = loaded.count()
                time.sleep(20)
                capacity = (loaded.count() - before) / 20
        sustainable = 0.7 * capacity
        trial.run.notes.append(f"16 clients without a pause: {capacity:.0f} a second; {sustainable:.0f} is sustained.")
        for name, factor in (("sustainable", 1.0), ("overload", 2.0)):
            # Who waits and asks again asks less: here nobody does.
            with Load(instance, factor * sustainable, users, seed + 1, attempts=1):
                time.sleep(3)
                with trial.phase(name, name):
                    time.sleep(length_s)
    _end(trial)


@app.command()
def soak(
    out: Out = Path("var/soak"),
    specs: Specs = Path("../shared/eval/specs"),
    rate: Rate = 20.0,
    users: Users = 8,
    minutes: float = 30.0,
    seed: Seed = 1,
) -> None:
    """A steady load for long: does memory grow? Impressions live for two minutes, and the inbox is drained."""
    out.mkdir(parents=True, exist_ok=True)
    with Instance(emptied(out), overlay(1, state={"join_window_s": 120, "once_ttl_s": 120})) as instance:
        instance.teach(known_specs(specs, ("github", "stripe", "tmdb", "tau2_retail")))
        trial = Trial(instance, f"Soak, {minutes:.0f} minutes", seed)
        with (
            Load(instance, rate, users, seed),
            Scales(instance, trial.run, 5.0),
            trial.phase("soak", "soak"),
        ):
            until = time.monotonic() + minutes * 60
            while time.monotonic() < until:
                time.sleep(min(60.0, max(0.0, until - time.monotonic())))
                _drain(instance)
    _end(trial)


def _drain(instance: Instance) -> None:
    """What the hourly training does first: the inbox goes to the journal."""
    from pipeline.stores.journal import Journal
    from pipeline.stores.state import State

    async def drain() -> None:
        state = State(settings.state, f"unix://{instance.redis_socket}")
        try:
            await Journal.at(settings.journal, instance.var).drain(state)
        finally:
            await state.close()

    settings = configuration.load("local")
    asyncio.run(drain())


def emptied(folder: Path) -> Path:
    """The folder, absolute, without what an earlier run left there."""
    for name in ("records.jsonl", "run.json", "locust.log", "report.md", "report.png"):
        (folder / name).unlink(missing_ok=True)
    var = folder / "var"
    if (var / "ray-token").exists():  # ours, and of an instance that has ended
        shutil.rmtree(var)
    return folder.resolve()


def stop_on_terminate() -> None:
    """SIGTERM ends a run as Ctrl-C does: in order, and nothing is left behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


if __name__ == "__main__":
    stop_on_terminate()
    app()
