"""STORY 3: labels become a better ranker.

Told from top to bottom by `retrain`: drain the inbox to the journal; promote what a training that died had found
good; is one due; make the dataset, split by time; fit, going on from the packaged ranker's heads; calibrate and
evaluate; let the gate judge challenger against champion; register, with the report; promote when it passed. One
training at a time on one folder; nothing of it is on the request path. A Ray job, `POST /train`, `opensesame train`
and a schedule all run

    python -m train.retrain --var FOLDER [--state URL] [--force] [--workers N] [--json]
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import msgspec
import numpy as np
import orjson
import typer

from pipeline import settings as configuration
from pipeline.errors import Conflict, OpenSesameError, RankerArtifactError, StateUnavailable
from pipeline.ranking import calibrate
from pipeline.ranking.ranker import Artifact, Ranker, Spec, dump, packaged_path, serving, uncalibrated
from pipeline.ranking.table import FINGERPRINT, HEADS, NAMES, Head
from pipeline.settings import Settings
from pipeline.stores import due
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.journal import Journal as JournalFiles
from pipeline.stores.registry import Overview, Version
from pipeline.stores.registry import Registry as RegistryFiles
from pipeline.stores.state import State
from pipeline.stores.trainings import Ending
from train import dataset, figures, gate, replay
from train.anchor import Anchor
from train.cluster import connected
from train.fit import Fitted, fit
from train.heads import Params
from train.progress import Count, Progress, Tell

_CALIBRATED_ON = 200  # groups of a head that calibrate it; where there are fewer real ones the anchor's fill up
_PATIENCE = 30  # rounds without a better NDCG@10 on the valid part
_STATE_WAIT_S = 60.0  # for a Redis that restarts


class Journal(replay.Journal, Protocol):
    """What was learnt from people (`pipeline/stores/journal.py`)."""

    async def drain(self, state: Any) -> int: ...

    def compact(self) -> int: ...


class Registry(Protocol):
    """Where rankers are kept (`pipeline/stores/registry.py`)."""

    def overview(self) -> Overview: ...

    def text(self, version: str) -> str: ...

    def register(
        self,
        text: str,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        gate: Mapping[str, Any] | None = None,
        figures: Mapping[str, bytes] | None = None,
        passed_over: str | None = None,
    ) -> Version: ...

    def finish(self) -> Version | None: ...


class Outcome(msgspec.Struct, frozen=True):
    """What a training came to."""

    status: Literal["waiting", "refused", "promoted"]
    why: str
    version: str = ""  # in the registry, promoted or not
    groups: int = 0  # of the journal
    seconds: float = 0.0
    report: gate.Report | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Stores:
    """What a training reads and writes. Without a state the journal is taken as it is."""

    journal: Journal
    registry: Registry
    state: Any = None


def retrain(
    work: Path,
    settings: Settings,
    stores: Stores,
    *,
    force: bool = False,
    workers: int = 0,
    anchor: Anchor | None = None,
    cluster: Callable[[int], contextlib.AbstractContextManager[None]] = lambda workers: contextlib.nullcontext(),
    fitting: Callable[..., Fitted] = fit,
    tell: Tell = lambda step, done, total=None: None,
) -> Outcome:
    """What a training came to; it takes minutes. `force` trains though it is not due; the gate judges all the same.

    Files lie under `work` meanwhile. `cluster` brings up the Ray that groups are made and heads are fitted on, for so
    many workers, once that is wanted: most of the time nothing is due.

    Raises:
        Conflict: another training is at work.
        JournalError, StateUnavailable, RegistryUnavailable, RankerArtifactError.
    """
    began = time.monotonic()
    limits, journal, registry = settings.train, stores.journal, stores.registry
    workers = workers or limits.workers
    with _alone(work):
        # Drain: what waits in the inbox lies in the journal before anything is decided.
        drained = 0
        if stores.state is not None:
            tell("drain", 0, 1)
            drained = asyncio.run(_drain(journal, stores.state))
            journal.compact()  # nobody else merges its small files and deletes expired days
        tell("drain", 1, 1, groups=drained)

        # Finish: what passed in a training that died before it promoted it.
        passed = registry.finish()

        # Due?
        names = replay.names(journal, limits.groups_max)
        until = due.last_trained(registry.overview())
        waiting = due.waiting([name.ts for name in names if name.ts > until], limits)
        if waiting and not (force and names):
            return _no_training(waiting, passed, len(names), began)

        start = _start(settings)
        with cluster(workers):
            # Dataset: the journal by time, and the anchor.
            cut = replay.split(names, limits.later_share, limits.valid_share, limits.groups_max)
            anchor = anchor or Anchor()
            counts = write_dataset(work, cut, journal, anchor, limits, tell)
            heads: list[Head] = [head for head in HEADS if counts["train", head] >= limits.head_groups]
            if not heads:
                few = f"{counts.total()} groups can be learnt from, a head needs {limits.head_groups}"
                return _no_training(few, passed, len(names), began)

            # Fit: each head with enough groups goes on from where the packaged one stands; the others stay.
            params = {head: _params(counts["train", head], limits) for head in heads}
            tell("fit", 0, len(heads))
            packaged = {head: start.heads[head] for head in heads}
            fitted = fitting(work, params, workers, heads, packaged, lambda done: tell("fit", done, len(heads))).heads
            tell("fit", len(heads), len(heads))
        data = dataset.content_hash(work)
        text = challenger_text(work, data, start, fitted)

        # Evaluate: both rankers on what came later, and on the golden suites.
        judged = registry.overview().champion
        challenger, champion = Ranker.load_text(text), _champion(registry, judged, settings)
        bar = Count(tell, "evaluate", cut.counts["later"])
        later = gate.answer([champion, challenger], replay.trials(journal, cut), bar.more)
        golden = gate.answer([champion, challenger], anchor.golden())
        bar.done()
        created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        report = gate.judge(champion, challenger, later, golden, gate_limits(settings), created)

        # Register, whatever the verdict: a refused one can be looked at.
        tell("register", 0, 1)
        version = registry.register(
            text,
            metrics=measures_of(later, golden),
            params={"data": data}
            | _told(cut, counts, names, heads, workers, start.version, champion.version)
            | {f"fit_{name}": value for name, value in dataclasses.asdict(params[heads[-1]]).items()},
            gate=msgspec.to_builtins(report),
            figures=figures.draw(later, challenger, anchor.golden()),
            passed_over=judged if report.passed else None,
        )
        tell("register", 1, 1, version=version.version)

        # Promote, unless the champion is another one by now, which nobody compared it with.
        done = registry.finish() if report.passed else None
        is_promoted, why = done is not None and done.number == version.number, report.why
        if report.passed and not is_promoted:
            why = f"it passed against {champion.version}, which is the champion no more; the next training judges anew"
        status: Literal["promoted", "refused"] = "promoted" if is_promoted else "refused"
        return Outcome(status, why, version.version, len(names), time.monotonic() - began, report)


def _no_training(why: str, passed: Version | None, groups: int, began: float) -> Outcome:
    seconds = time.monotonic() - began
    if passed is None:
        return Outcome("waiting", why, groups=groups, seconds=seconds)
    said = f"version {passed.version} had passed in a training that died; {why}"
    return Outcome("promoted", said, passed.version, groups, seconds)


def write_dataset(
    work: Path, cut: replay.Split, journal: Journal, anchor: Anchor, limits: configuration.Train, tell: Tell
) -> Counter[tuple[str, str]]:
    """Writes the journal's groups and the anchor's under `work`; returns how many real ones, by split and head.

    The anchor's count as much as `anchor_share` of the real ones together, and no less than one each. They also
    fill up what stops the fit and calibrates.
    """
    bar = Count(tell, "dataset", len(cut.sides))
    counts = replay.write(journal, cut, work, bar.more)
    bar.done()
    kept = list(anchor.groups("train", "anchor"))
    held = Counter(group.head for group in kept)
    weights = {head: max(1.0, limits.anchor_share * counts["train", head] / held[head]) for head in held}
    weighed = (dataclasses.replace(group, weight=weights[group.head]) for group in kept)
    dataset.write_part(weighed, work, "anchor", half=True)
    room: dict[str, int] = {head: _CALIBRATED_ON - counts["valid", head] for head in HEADS}
    filling = []
    for group in anchor.groups("valid", "valid"):
        room[group.head] -= 1
        if room[group.head] >= 0:
            filling.append(group)
    dataset.write_part(filling, work, "anchor", half=True)
    return counts


def challenger_text(work: Path, data: str, start: Artifact, fitted: Mapping[str, Spec]) -> str:
    """The artefact: what was fitted calibrated on the valid part, the other heads as they were.

    `data` is the hash of the dataset under `work`.
    """
    heads: dict[str, Spec] = {**start.heads, **fitted}
    calibration = dict(start.calibration)
    ranker = uncalibrated("", fitted)
    for head in fitted:
        valid = dataset.read(work, "valid", head)
        calibration[head] = calibrate.fit(
            [
                (ranker.score(matrix, head).raw, answer)
                for matrix, answer in zip(valid.matrices(), valid.answers.tolist(), strict=True)
            ]
        )
    version = "trained-" + hashlib.sha256(repr((data, FINGERPRINT, heads)).encode()).hexdigest()[:10]
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    samples: dict[str, Any] = {head: _matrix(start.golden[head].matrix) for head in HEADS}
    return dump(version=version, created=created, data=data, heads=heads, calibration=calibration, samples=samples)


def measures_of(later: gate.Answers, golden: gate.Answers) -> dict[str, float]:
    """The challenger's figures, and the champion's beside them: on later data by task, and on each golden suite."""
    told: dict[str, float] = {}
    for suite, some in (("later", later.where(later.known)), *_suites(golden)):
        heads = np.array(some.heads, dtype=object)
        for name, mask in (("", np.ones(len(some), dtype=bool)), *((f"/{head}", heads == head) for head in HEADS)):
            if mask.any():
                part = some.where(mask)
                told[f"{suite}{name}/groups"] = float(len(part))
                for who, column in (("", 1), ("/champion", 0)):
                    told[f"{suite}{name}/hit@1{who}"] = float(part.hit[:, column].mean())
                    told[f"{suite}{name}/mrr{who}"] = float(part.reciprocal[:, column].mean())
    return told


def gate_limits(settings: Settings) -> gate.Limits:
    """What the gate lets through, as configured; the rest stands in `gate.Limits`."""
    return gate.Limits(groups_min=settings.train.gate_groups, score_s=settings.ranker.score_limit_s)


def _suites(golden: gate.Answers) -> list[tuple[str, gate.Answers]]:
    names = np.array(golden.suites, dtype=object)
    return [(suite, golden.where(names == suite)) for suite in sorted(set(golden.suites))]


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    """`work` empty and ours; what a killed training left there goes."""
    work.parent.mkdir(parents=True, exist_ok=True)
    with (work.parent / f"{work.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("Another training is at work on this folder.") from None
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(work, ignore_errors=True)


async def _drain(journal: Journal, state: Any) -> int:
    """How many groups were drained; a Redis that is being started again is waited for."""
    until = time.monotonic() + _STATE_WAIT_S
    try:
        while True:
            try:
                return await journal.drain(state)
            except StateUnavailable:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(1.0)
    finally:
        await state.close()  # its sockets belong to this event loop


def _start(settings: Settings) -> Artifact:
    """The ranker that came with this installation: always the same, so that trainings do not pile up on each other.

    Raises:
        RankerArtifactError: it is not one to go on from.
    """
    path = Path(settings.ranker.artifact) if settings.ranker.artifact else packaged_path()
    try:
        artifact = msgspec.json.decode(path.read_bytes(), type=Artifact)
    except (OSError, msgspec.DecodeError) as error:
        raise RankerArtifactError(f"{path} is no ranker to go on from: {error}") from error
    if artifact.fingerprint != FINGERPRINT:
        raise RankerArtifactError(f"{path} has feature table {artifact.fingerprint}, this release {FINGERPRINT}.")
    return artifact


def _params(real: int, limits: configuration.Train) -> Params:
    """How a head with so many real groups is fitted."""
    mass = max(float(limits.anchor_groups), limits.anchor_share * real)
    return Params(rounds=limits.rounds, min_rounds=1, patience=_PATIENCE, anchor=mass)


def _champion(registry: Registry, version: str, settings: Settings) -> Ranker:
    """What answers now: the registry's champion, `version`, else what is served without one."""
    if version:
        with contextlib.suppress(RankerArtifactError):  # one that replicas refuse too; they keep the other
            return Ranker.load_text(registry.text(version))
    return serving(settings.ranker.artifact)


def _told(
    cut: replay.Split,
    counts: Counter[tuple[str, str]],
    names: list[replay.Named],
    heads: list[Head],
    workers: int,
    start: str,
    champion: str,
) -> dict[str, Any]:
    """Parameters of the run; `until` says what the next training counts from."""
    split = {f"groups_{side}": count for side, count in cut.counts.items()}
    learnt = {f"groups_{side}_{head}": count for (side, head), count in sorted(counts.items())}
    told = {"until": max(name.ts for name in names), "since": cut.since, "later_from": cut.later_from}
    more = {"start": start, "champion": champion, "heads": ",".join(heads), "workers": workers}
    return {**told, **split, **learnt, **more}


def _matrix(rows: Iterable[Iterable[float | None]]) -> Any:
    table = [[float("nan") if value is None else value for value in row] for row in rows]
    return np.array(table, dtype=np.float32).reshape(-1, len(NAMES))


def main(
    var: Annotated[Path, typer.Option(help="Folder of the state: journal, registry, Redis data.")] = Path("var"),
    state: Annotated[str, typer.Option(help="URL of the Redis; without it the configured one.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Train though it is not due.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Workers of Ray Train; 0 takes the configuration's.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Tell progress and outcome as JSON, a line each.")] = False,
    config: Annotated[str, typer.Option(help="Configuration: a name in configs/ or a path to a YAML file.")] = "local",
    ray: Annotated[
        str, typer.Option(envvar="RAY_ADDRESS", help="A Ray to train on; without it a private one is started.")
    ] = "",
) -> None:
    """Train a ranker from feedback, and promote it when it is better."""
    from rich.console import Console

    os.nice(5)
    try:
        settings = configuration.load(config)
        with (
            Progress(lines=json) as progress,
            _stores(settings, var, state) as stores,
            _counted(stores.state) as ended,
        ):
            outcome = retrain(
                var.resolve() / "retrain",
                settings,
                stores,
                force=force,
                workers=workers,
                # By Ray's count: its data tasks run beside them.
                cluster=lambda count: connected(ray, count + 2, idle=settings.models.train_idle),
                tell=progress.tell,
            )
            ended.append(outcome.status)
    except OpenSesameError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error.detail}", style="red", highlight=False)
        raise typer.Exit(1) from None
    if json:
        typer.echo(orjson.dumps(msgspec.to_builtins(outcome)).decode())
        return
    typer.echo(f"{outcome.status}: {outcome.report.text() if outcome.report else outcome.why}")


@contextlib.contextmanager
def _counted(state: State) -> Iterator[list[Ending]]:
    """Have counted in the state how the training ended: as the list says, else `failed`."""

    async def count(ending: Ending) -> None:
        try:
            with contextlib.suppress(StateUnavailable):  # then everything else says so
                await state.trainings.count(ending)
        finally:
            await state.close()

    ended: list[Ending] = []
    try:
        yield ended
    except Conflict:  # another one is at work, and will be counted
        raise
    except Exception:
        asyncio.run(count("failed"))
        raise
    asyncio.run(count(ended[0]))


@contextlib.contextmanager
def _stores(settings: Settings, var: Path, url: str) -> Iterator[Stores]:
    """The journal, the registry and the state under `var`, or where the configuration says."""
    var = var.resolve()
    section = settings.registry
    if section.url == "embedded" and not section.folder:
        section = section.model_copy(update={"folder": str(var / "mlflow")})
    with contextlib.ExitStack() as stack:
        url = url or settings.state.url
        if url == "embedded":
            url = stack.enter_context(EmbeddedRedis(var, settings.state.redis_server)).url
        state = State(settings.state, url)
        yield Stores(JournalFiles.at(settings.journal, var), RegistryFiles(section), state)


if __name__ == "__main__":
    from train import retrain as module  # not __main__: what Ray's workers get is named by its module

    typer.run(module.main)
