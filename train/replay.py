"""What users did becomes what a ranker is fitted on and judged by: journal groups split by time, then made into
`dataset` groups (train, valid) and trials (later).

Split by time and by sessions: the latest part judges, a part before it stops the fit and calibrates, the rest
trains; a session lies on one side, the later one where it spans a cut. A group whose answer is no candidate trains
nothing. Everything is streamed: of the whole journal only times and names are held. Called by `train/retrain.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.catalog.verbs import classify
from pipeline.ranking.table import FEATURES, HEADS
from train import dataset
from train.gate import Trial

Array = np.ndarray[Any, np.dtype[Any]]

SIDES = ("train", "valid", "later")
_SESSION_GAP_S = 1800.0  # a pause of half an hour ends a session, as web analytics has it
_ANONYMOUS = "anonymous"
_BATCH = 512  # groups of one Parquet file


class Entry(Protocol):
    """A labelled group, as `pipeline/stores/journal.py` gives it."""

    @property
    def id(self) -> str: ...  # of the prediction

    @property
    def ts(self) -> float: ...  # when it was made

    @property
    def tenant(self) -> str: ...

    @property
    def user(self) -> str: ...

    @property
    def lineage(self) -> str: ...

    @property
    def head(self) -> str: ...

    @property
    def outcome(self) -> str: ...

    @property
    def chosen(self) -> str: ...  # operation key, "" where nothing was chosen

    @property
    def weight(self) -> float: ...

    @property
    def operations(self) -> tuple[str, ...]: ...  # keys, one of each row

    @property
    def labels(self) -> Sequence[int]: ...

    @property
    def features(self) -> Array: ...  # [n_rows, n_features] float16


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """What of an entry decides its side."""

    id: str
    ts: float
    tenant: str
    user: str
    lineage: str


@dataclasses.dataclass(frozen=True, slots=True)
class Split:
    """Which side each entry is on."""

    since: float  # older entries are left out
    valid_from: float
    later_from: float
    moved: dict[str, str]  # id -> side, where its session says otherwise than its time
    counts: dict[str, int]

    def side(self, entry: Entry | Named) -> str:
        """train, valid or later; "" for what is left out."""
        if entry.ts < self.since:
            return ""
        return self.moved.get(entry.id) or self._by_time(entry.ts)

    def _by_time(self, ts: float) -> str:
        return "later" if ts >= self.later_from else "valid" if ts >= self.valid_from else "train"


def split(names: Iterable[Named], later: float, valid: float, most: int) -> Split:
    """The latest `most` entries cut by time: `later` is the share that judges, `valid` the share before it."""
    rows = sorted(names, key=lambda row: row.ts)[-most:]
    if not rows:
        return Split(0.0, 0.0, 0.0, {}, dict.fromkeys(SIDES, 0))
    first_later = min(int(len(rows) * (1.0 - later)), len(rows) - 1)
    first_valid = min(int(len(rows) * (1.0 - later - valid)), first_later)
    cut = Split(rows[0].ts, rows[first_valid].ts, rows[first_later].ts, {}, {})
    counts: Counter[str] = Counter()
    for session in _sessions(rows):
        side = cut.side(session[-1])
        counts[side] += len(session)
        cut.moved.update((row.id, side) for row in session[:-1] if cut._by_time(row.ts) != side)
    return dataclasses.replace(cut, counts={side: counts[side] for side in SIDES})


def _sessions(rows: Sequence[Named]) -> Iterator[list[Named]]:
    """Rows in the order of time, by session; whom nobody knows has none."""
    open_: dict[tuple[str, str, str], list[Named]] = {}
    for row in rows:
        if row.user == _ANONYMOUS:
            yield [row]
            continue
        key = (row.tenant, row.user, row.lineage)
        session = open_.get(key)
        if session is not None and row.ts - session[-1].ts <= _SESSION_GAP_S:
            session.append(row)
            continue
        if session is not None:
            yield session
        open_[key] = [row]
    yield from open_.values()


def write_groups(entries: Iterable[Entry], cut: Split, folder: Path, part: str) -> Counter[tuple[str, str]]:
    """Writes what trains and calibrates under `folder/{train,valid}/{head}`; returns how many, by split and head."""
    counts: Counter[tuple[str, str]] = Counter()
    groups = (group for entry in entries if (group := group_of(entry, cut.side(entry))) is not None)
    for number in itertools.count():
        some = list(itertools.islice(groups, _BATCH))
        if not some:
            break
        dataset.write_part(some, folder, f"{part}-{number:05}", half=True)
        counts.update((group.split, group.head) for group in some)
    return counts


def group_of(entry: Entry, side: str) -> dataset.Group | None:
    """The group that an entry trains or calibrates with; None where it does neither."""
    labels = np.asarray(entry.labels, dtype=np.int32)
    answer = _answer(entry, labels)
    usable = side in ("train", "valid") and entry.head in HEADS and len(labels) > 1 and bool(entry.chosen)
    if not usable or (side == "train" and answer < 0) or entry.features.shape != (len(labels), len(FEATURES)):
        return None
    return dataset.Group(
        qid=dataset.qid_of(f"{entry.tenant} {entry.id}"),
        spec=entry.lineage,
        provider=entry.tenant,
        split=side,
        head=entry.head,
        operations=len(labels),
        answer=answer,
        x=entry.features,
        y=labels,
        weight=float(entry.weight),
    )


def trials(entries: Iterable[Entry], cut: Split) -> Iterator[Trial]:
    """The later entries as trials for both rankers."""
    for entry in entries:
        if cut.side(entry) != "later" or entry.head not in HEADS or not len(entry.labels):
            continue
        if entry.features.shape != (len(entry.labels), len(FEATURES)):
            continue
        named = entry.user != _ANONYMOUS
        yield Trial(
            head=entry.head,
            x=entry.features.astype(np.float32),
            answer=_answer(entry, np.asarray(entry.labels)),
            known=bool(entry.chosen),
            destructive=np.array([_destroys(operation) for operation in entry.operations]),
            tenant=entry.tenant,
            spec=entry.lineage,
            cluster=f"{entry.tenant} {entry.user}" if named else f"{entry.tenant} {entry.id}",
        )


def _answer(entry: Entry, labels: Array) -> int:
    """Position of the operation chosen, -1 where it is none of the rows."""
    return int(labels.argmax()) if entry.chosen and len(labels) and labels.max() > 0 else -1


@functools.lru_cache(maxsize=65536)
def _destroys(operation: str) -> bool:
    """By method and path alone: the journal keeps no spec."""
    method, _, path = operation.partition(" ")
    return bool(classify(method, path, "", "")[1])
