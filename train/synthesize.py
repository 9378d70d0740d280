"""Synthetic sessions of a folder of OpenAPI specs, written as Parquet: `opensesame synthesize`.

Shows progress, counts what was left out and why; choosing specs and walking over them is
`train/corpus.py`'s. `make_sessions` is also the first step of `train/default_model.py`.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline import settings as configuration
from pipeline.errors import BadRequest
from pipeline.settings import Parse
from pipeline.types import Catalog
from train import corpus


@dataclasses.dataclass(slots=True)
class Made:
    """What was synthesized, and what was left out."""

    chosen: list[corpus.Spec]
    providers: set[str] = dataclasses.field(default_factory=set)
    catalogs: int = 0
    sessions: int = 0
    calls: int = 0
    dropped: Counter[str] = dataclasses.field(default_factory=Counter)  # specs, by reason
    lost: int = 0  # walks that led nowhere


def progress_bar() -> Progress:
    """A bar on stderr for each step."""
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )


def make_sessions(
    specs: Path, out: Path, plan: corpus.Plan, limits: Parse, exclude: Path | None, workers: int, bar: Progress
) -> Made:
    """Writes the synthetic sessions of a folder of specs under `out`.

    Raises:
        BadRequest: no spec of the folder can be used, or `out` cannot be written.
    """
    choosing = bar.add_task("choose specs", total=plan.specs)
    made = Made([])
    made.chosen = corpus.choose(
        specs, plan, exclude, lambda _, found: bar.update(choosing, completed=found), limits, made.dropped
    )
    if not made.chosen:
        raise BadRequest(f"{specs} holds no OpenAPI document to learn from: {reasons(made.dropped) or 'it is empty'}.")
    bar.update(choosing, total=len(made.chosen), completed=len(made.chosen))
    task = bar.add_task("synthesize sessions", total=len(made.chosen))
    found = corpus.synthesize(specs, made.chosen, plan, limits, workers)
    try:
        corpus.write(_counted(bar.track(found, task_id=task, total=len(made.chosen)), made, plan), out)
    except OSError as error:
        raise BadRequest(f"{out} cannot be written: {error.strerror or error}.") from None
    bar.update(task, completed=len(made.chosen))
    if made.catalogs < len(made.chosen):
        made.dropped["unreadable, or too small once read"] += len(made.chosen) - made.catalogs
    return made


def _counted(
    found: Iterable[tuple[corpus.Spec, Catalog, list[corpus.Session]]], made: Made, plan: corpus.Plan
) -> Iterator[tuple[corpus.Spec, Catalog, list[corpus.Session]]]:
    for spec, catalog, sessions in found:
        made.providers.add(spec.provider)
        made.catalogs += 1
        made.sessions += len(sessions)
        made.calls += sum(len(session.calls) for session in sessions)
        made.lost += plan.sessions - len(sessions)
        yield spec, catalog, sessions


def reasons(counted: Counter[str]) -> str:
    """`12 with fewer than 5 operations, 3 not JSON`, the commonest first."""
    return ", ".join(f"{count:,} {why}" for why, count in counted.most_common())


def run(
    specs: Annotated[Path, typer.Option(help="Folder of OpenAPI documents (JSON or YAML).")],
    out: Annotated[
        Path, typer.Option(help="Folder for sessions.parquet and catalogs.parquet; older ones are replaced.")
    ],
    count: Annotated[int, typer.Option(min=1, help="How many specs at most.")] = 100,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions of each spec.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same sessions.")] = 7,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    exclude: Annotated[Path | None, typer.Option(help="Folder of specs: who shares over 30 % of paths is out.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    config: Annotated[str, typer.Option(help="Configuration: a name in configs/ or a path to a YAML file.")] = "local",
) -> None:
    """Synthesize sessions from a folder of OpenAPI specs."""
    for folder in filter(None, (specs, exclude)):
        if not folder.is_dir():
            raise BadRequest(f"{folder} is no folder.")
    os.nice(5)
    began = time.monotonic()
    plan = corpus.Plan(specs=count, sessions=sessions, seed=seed)
    with progress_bar() as bar:
        made = make_sessions(specs, out, plan, configuration.load(config).parse, exclude, workers, bar)
    if json:
        told: dict[str, Any] = {
            "sessions": made.sessions,
            "calls": made.calls,
            "specs": made.catalogs,
            "providers": len(made.providers),
        }
        told |= {"dropped": dict(made.dropped), "lost": made.lost, "written": str(out)}
        print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{made.sessions:,} sessions of {made.calls:,} calls from {made.catalogs:,} specs of"
        f" {len(made.providers):,} providers in {time.monotonic() - began:.0f} s: {out}"
    )
    if made.dropped:
        console.print(f"specs left out: {reasons(made.dropped)}")
    if made.lost:
        console.print(f"walks that led nowhere: {made.lost:,}")
