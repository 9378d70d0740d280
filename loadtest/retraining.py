"""How long a retraining takes and how much memory: a journal of made-up groups, then the real command.

    python -m loadtest.retraining --groups 100000 --workers 2

The groups are of the packaged anchor, with noise, so that they compress and teach like real ones; the command is
`python -m train.retrain` on an empty registry. Beside the wall clock's seconds stand those of CPU, which say what a
machine with less to do would need; memory is the sum over all of its processes, shared pages counted once (PSS). Both
are looked at every second.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import psutil
import typer

from pipeline import settings as configuration
from pipeline.ranking.table import FINGERPRINT, HEADS
from pipeline.stores.journal import Journal
from pipeline.stores.records import table
from pipeline.types import Impression, QueryGroup
from train.anchor import Anchor

_ROWS = 30
_DAYS = 30


def main(
    groups: Annotated[int, typer.Option(help="Labelled groups in the journal.")] = 100_000,
    workers: Annotated[int, typer.Option(help="Of Ray Train.")] = 2,
    anchor: Annotated[Path | None, typer.Option(help="Another anchor than the packaged one.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Use this folder, and leave it there.")] = None,
) -> None:
    """Measure a retraining."""
    folder = keep or Path(tempfile.mkdtemp(prefix="retraining-"))
    try:
        if not (folder / "journal").is_dir():
            fill(folder, groups, anchor)
        command = [sys.executable, "-P", "-m", "train.retrain", "--var", str(folder), "--force", "--json"]
        began = time.monotonic()
        process = subprocess.Popen([*command, "--workers", str(workers)], stdout=subprocess.PIPE)
        peak, cpu_s = 0, dict[int, float]()
        while process.poll() is None:
            peak = max(peak, _look(process.pid, cpu_s))
            time.sleep(1.0)
        seconds = time.monotonic() - began
        said = (process.stdout.read() if process.stdout else b"").decode().splitlines()
        if process.returncode:
            raise typer.Exit(1)
        outcome = orjson.loads(said[-1])
        typer.echo(
            f"{groups:,} groups of {_ROWS}, {workers} workers: {seconds:.0f} s, {sum(cpu_s.values()):.0f} s of CPU, "
            f"{peak / 2**30:.2f} GiB at the peak"
        )
        typer.echo(f"{outcome['status']}: {outcome['why']}")
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _look(pid: int, cpu_s: dict[int, float]) -> int:
    """PSS of a process and of all that it started; what each has used of the CPU so far goes into `cpu_s`, by pid."""
    total = 0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                cpu_s[process.pid] = times.user + times.system
                total += process.memory_full_info().pss
    return total


def fill(folder: Path, count: int, anchor: Path | None) -> None:
    """Writes so many groups as files of the journal under `folder`, as a drain would have."""
    limits = configuration.load().journal
    journal = Journal.at(limits, folder)
    made: list[QueryGroup] = []
    now = time.time()
    for number, group in enumerate(_groups(count, now, anchor)):
        made.append(group)
        if len(made) == 5000 or number == count - 1:
            by_day: dict[str, list[QueryGroup]] = {}
            for one in made:
                day = time.strftime("day=%Y-%m-%d", time.gmtime(one.impression.ts))
                by_day.setdefault(day, []).append(one)
            for day, some in by_day.items():
                path = journal.folder / day / f"b-{int(some[0].ts * 1000):013d}-{number}-00000000.parquet"
                journal._write(path, [table(some)], batches={})
            made = []


def _groups(count: int, now: float, anchor: Path | None) -> Iterator[QueryGroup]:
    rng = np.random.default_rng(3)
    pool: dict[str, list[tuple[Any, int]]] = {head: [] for head in HEADS}
    for group in Anchor(anchor).groups("train", "train"):
        pool[group.head].append((group.x, group.answer))
    for i in range(count):
        head = HEADS[int(rng.choice(3, p=[0.1, 0.4, 0.5]))]
        x, answer = pool[head][int(rng.integers(len(pool[head])))]
        rows = np.concatenate([[answer], rng.integers(len(x), size=_ROWS - 1)])
        place = int(rng.integers(_ROWS))
        rows[[0, place]] = rows[[place, 0]]
        noisy = x[rows] + (rng.random((_ROWS, x.shape[1])) < 0.1) * rng.normal(0, 0.1, (_ROWS, x.shape[1]))
        ts = now - _DAYS * 86400 * (1 - i / count)
        names = tuple(f"GET /things/{j}" for j in range(_ROWS))
        shown = Impression(
            id=f"{i:026}",
            tenant="local",
            user=f"user-{i % 997}",
            lineage=f"api-{i % 23}",
            digest="sha256:0",
            ts=ts,
            shown=names[:5],
            others=names[5:],
            features=noisy.astype(np.float16).tobytes(),
            fingerprint=FINGERPRINT,
            head=head,
        )
        labels = tuple(3 * int(j == place) for j in range(_ROWS))
        yield QueryGroup(shown, labels, "observed", names[place], ts + 5.0)


if __name__ == "__main__":
    typer.run(main)
