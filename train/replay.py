"""What users did becomes what a ranker is fitted on and judged by: the journal, split by time, as `dataset` groups
(train, valid) and as trials (later).

By time and by sessions: the latest part judges, a part before it stops the fit and calibrates, the rest trains; a
session lies on one side, the later one where it spans a cut. A group whose answer is no candidate trains nothing.
Rows are streamed, through Ray Data where there is a Ray; of the journal's latest groups only times and names are
held. Called by `train/retrain.py`.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.catalog.verbs import classify
from pipeline.ranking.table import FEATURES, FINGERPRINT, HEADS
from pipeline.stores import records
from train import dataset
from train.gate import Trial

Array = np.ndarray[Any, np.dtype[Any]]

SIDES = ("train", "valid", "later")
_SESSION_GAP_S = 1800.0  # a pause of half an hour ends a session, as web analytics has it
_BATCH = 512  # groups of one Parquet file
_GENERATOR = [i for i, feature in enumerate(FEATURES) if feature.group == "generator"]
_NAMES = ("id", "tenant", "lineage", "owner", "ts", "shown_ts", "head", "columns")
_ROWS = ("id", "tenant", "lineage", "owner", "ts", "head", "columns", "chosen", "weight", "operations", "labels",
         "features", "fingerprint")  # fmt: skip


class Journal(Protocol):
    """Where labelled groups lie (`pipeline/stores/journal.py`)."""

    def files(self) -> list[Path]: ...

    def reading(self) -> AbstractContextManager[None]: ...

    def groups(self, *, since: Any, fingerprint: str, columns: Sequence[str], batch: int) -> Iterator[Any]: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """What of a group decides its side."""

    id: str
    ts: float  # when it was labelled
    shown_ts: float
    tenant: str
    lineage: str
    owner: str  # "" for anonymous


@dataclasses.dataclass(frozen=True, slots=True)
class Split:
    """Which side each group is on; what is not named here is left out."""

    since: float
    valid_from: float
    later_from: float
    sides: dict[str, tuple[int, str]]  # id -> microseconds when it was labelled, side
    counts: dict[str, int]

    def side(self, id_: str, ts_us: int) -> str:
        """train, valid or later; "" for a group left out."""
        known = self.sides.get(id_)
        return known[1] if known is not None and known[0] == ts_us else ""


def names(journal: Journal, most: int) -> list[Named]:
    """The journal's groups that a head learns from: the latest `most`, and the rest of the day of the first."""
    found = []
    for batch in journal.groups(since=_since(journal, most), fingerprint=FINGERPRINT, columns=_NAMES, batch=4096):
        for row in _usable(batch).to_pylist():
            ts, shown = row["ts"].timestamp(), row["shown_ts"].timestamp()
            found.append(Named(row["id"], ts, shown, row["tenant"], row["lineage"], row["owner"]))
    return found


def split(found: Sequence[Named], later: float, valid: float, most: int) -> Split:
    """The latest `most` groups cut by time: `later` is the share that judges, `valid` the share before it."""
    rows = sorted(found, key=lambda row: (row.shown_ts, row.id))[-most:]
    if not rows:
        return Split(0.0, 0.0, 0.0, {}, dict.fromkeys(SIDES, 0))
    first_later = min(int(len(rows) * (1.0 - later)), len(rows) - 1)
    first_valid = min(int(len(rows) * (1.0 - later - valid)), first_later)
    since, valid_from, later_from = (rows[i].shown_ts for i in (0, first_valid, first_later))
    sides: dict[str, tuple[int, str]] = {}
    for session in _sessions(rows):
        end = session[-1].shown_ts
        side = "later" if end >= later_from else "valid" if end >= valid_from else "train"
        sides.update((row.id, (round(row.ts * 1e6), side)) for row in session)
    counts = Counter(side for _, side in sides.values())
    return Split(since, valid_from, later_from, sides, {side: counts[side] for side in SIDES})


def _sessions(rows: Sequence[Named]) -> Iterator[list[Named]]:
    """Rows in the order of time, by session; whom nobody knows has none."""
    begun: dict[tuple[str, str, str], list[Named]] = {}
    for row in rows:
        if not row.owner:
            yield [row]
            continue
        key = (row.tenant, row.owner, row.lineage)
        session = begun.get(key)
        if session is not None and row.shown_ts - session[-1].shown_ts <= _SESSION_GAP_S:
            session.append(row)
            continue
        if session is not None:
            yield session
        begun[key] = [row]
    yield from begun.values()


def write(
    journal: Journal, cut: Split, folder: Path, told: Callable[[int], None] = lambda n: None
) -> Counter[tuple[str, str]]:
    """Writes what trains and calibrates under `folder/{train,valid}/{head}`; returns how many, by split and head."""
    counts: Counter[tuple[str, str]] = Counter()
    if not any(side != "later" for _, side in cut.sides.values()):
        return counts
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        parts = _written_by_ray(journal, cut, folder)
    else:
        parts = (write_part(batch, cut, folder) for batch in _batches(journal, cut))
    for seen, written in parts:
        counts.update(written)
        told(seen)
    return counts


def write_part(batch: Any, cut: Split, folder: Path) -> tuple[int, Counter[tuple[str, str]]]:
    """Writes the groups of one batch of the journal: how many rows it had, and how many were written of each kind."""
    groups = [group for row, x in usable_rows(batch) if (group := _group(row, x, cut)) is not None]
    if groups:
        # The same batch gives the same name: a task that Ray runs again writes nothing twice.
        dataset.write_part(
            groups, folder, f"journal-{dataset.qid_of(' '.join(str(g.qid) for g in groups)):016x}", half=True
        )
    return batch.num_rows, Counter((group.split, group.head) for group in groups)


def trials(journal: Journal, cut: Split) -> Iterator[Trial]:
    """The later groups as trials for both rankers."""
    for batch in _batches(journal, cut):
        for row, x in usable_rows(batch):
            if cut.side(row["id"], _microseconds(row["ts"])) != "later":
                continue
            yield Trial(
                head=row["head"],
                x=x.astype(np.float32),
                answer=_answer(row),
                known=bool(row["chosen"]),
                destructive=np.array([destroys(operation) for operation in row["operations"]]),
                tenant=row["tenant"],
                spec=row["lineage"],
                cluster=f"{row['tenant']} {row['owner'] or row['id']}",
            )


def _written_by_ray(journal: Journal, cut: Split, folder: Path) -> Iterator[tuple[int, Counter[tuple[str, str]]]]:
    """Batches read, made and written by tasks of Ray Data; what comes back are counts."""
    import pyarrow as pa
    import ray

    held, since = ray.put(cut), _date(cut.since)

    def make(table: pa.Table) -> pa.Table:
        seen, counts = 0, Counter[tuple[str, str]]()
        for batch in table.combine_chunks().to_batches(max_chunksize=_BATCH):
            rows, written = write_part(batch, ray.get(held), folder)
            seen += rows
            counts.update(written)
        keys = list(counts)
        return pa.table(
            {
                "seen": pa.array([seen] + [0] * len(keys), pa.int64()),
                "split": pa.array(["", *(split for split, _ in keys)], pa.string()),
                "head": pa.array(["", *(head for _, head in keys)], pa.string()),
                "count": pa.array([0, *(counts[key] for key in keys)], pa.int64()),
            }
        )

    with journal.reading():  # here, for the tasks wherever they run
        files = [str(file) for file in journal.files() if _day(file) >= since]
        found = ray.data.read_parquet(files, columns=list(_ROWS))
        # A batch that names its size is sliced from blocks as they come: a task never holds a whole file.
        made = found.map_batches(make, batch_format="pyarrow", batch_size=8 * _BATCH, zero_copy_batch=True)
        for row in made.iter_rows():
            yield row["seen"], Counter({(row["split"], row["head"]): row["count"]} if row["split"] else {})


def _batches(journal: Journal, cut: Split) -> Iterator[Any]:
    return journal.groups(since=_date(cut.since), fingerprint=FINGERPRINT, columns=_ROWS, batch=_BATCH)


def _usable(batch: Any) -> Any:
    """The rows of a head that was fitted, with the features it was scored on."""
    import pyarrow as pa
    import pyarrow.compute as pc

    heads = pc.is_in(batch["head"].cast(pa.string()), value_set=pa.array(HEADS))
    return batch.filter(pc.and_(heads, pc.equal(batch["columns"], len(FEATURES))))


def usable_rows(batch: Any) -> Iterator[tuple[dict[str, Any], Array]]:
    """Each usable group of this feature table: its plain columns, and its features [n_rows, n_features] float16."""
    import pyarrow as pa
    import pyarrow.compute as pc

    batch = _usable(batch)
    batch = batch.filter(pc.equal(batch["fingerprint"].cast(pa.string()), FINGERPRINT))
    matrix, start = records.matrix(batch), 0
    for row in batch.drop_columns(["features"]).to_pylist():
        end = start + len(row["operations"])
        yield row, matrix[start:end]
        start = end


def _group(row: dict[str, Any], x: Array, cut: Split) -> dataset.Group | None:
    """The group that a row trains or calibrates with; None where it does neither."""
    side, answer = cut.side(row["id"], _microseconds(row["ts"])), _answer(row)
    if side not in ("train", "valid") or len(x) < 2 or not row["chosen"] or (side == "train" and answer < 0):
        return None
    return dataset.Group(
        qid=dataset.qid_of(row["id"]),
        spec=row["lineage"],
        provider=row["tenant"],
        split=side,
        head=row["head"],
        operations=len(x),
        answer=answer,
        x=_without_generator(row["id"], x) if side == "train" else x,
        y=np.array(row["labels"], dtype=np.int32),
        weight=row["weight"],
    )


def _without_generator(id_: str, x: Array) -> Array:
    """The group's matrix, in one of two groups as if no generator had been asked; which ones, their ids decide.

    So the ranker learns to do with and without: a generator is late, off or not worth its cost at any time.
    """
    if dataset.qid_of(f"generator {id_}") % 2:
        return x
    x = x.copy()
    x[:, _GENERATOR] = np.nan
    return x


def _answer(row: dict[str, Any]) -> int:
    """Position of the operation chosen, -1 where it is none of the rows."""
    labels = row["labels"]
    best = max(labels, default=0)
    return labels.index(best) if row["chosen"] and best > 0 else -1


@functools.lru_cache(maxsize=65536)
def destroys(operation: str) -> bool:
    """By method and path alone: the journal keeps no spec."""
    method, _, path = operation.partition(" ")
    return bool(classify(method, path, "", "")[1])


def _microseconds(moment: datetime.datetime) -> int:
    return round(moment.timestamp() * 1e6)


def _since(journal: Journal, most: int) -> datetime.date:
    """The day from which on there are `most` groups."""
    import pyarrow.parquet as pq

    rows, day = 0, datetime.date.max
    with journal.reading():
        for file in reversed(journal.files()):
            if rows >= most and _day(file) < day:
                break
            rows, day = rows + pq.read_metadata(file).num_rows, min(day, _day(file))
    return day


def _day(file: Path) -> datetime.date:
    return datetime.date.fromisoformat(file.parent.name.removeprefix("day="))


def _date(ts: float) -> datetime.date:
    return datetime.datetime.fromtimestamp(ts, datetime.UTC).date()
