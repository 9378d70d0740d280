"""Query groups as Parquet: one row per group, so that no split, shard or worker can ever cut one.

A folder holds `{split}/{head}/part-*.parquet` with list columns: `x` is the group's matrix in C
order, `y` its labels. `answer` is the position of the call that came next, -1 where it is no
candidate at all; `weight` is what the group counts in a fit. Written by `train/bootstrap.py` and, from
the journal, by `train/replay.py`; read by `train/fit.py` through Ray Data and by calibration and
evaluation as plain arrays.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import RankerArtifactError
from pipeline.ranking.table import FEATURES, FINGERPRINT

Array = np.ndarray[Any, np.dtype[Any]]
SPLITS = ("train", "valid", "test")
_HASHED = ["qid", "answer", "weight", "x", "y", "texts"]  # what is learnt from


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """One labelled query group."""

    qid: int
    spec: str
    provider: str
    split: str
    head: str
    operations: int  # in the catalog
    answer: int  # position among the candidates, -1 where it is none of them
    x: Array  # [n_candidates, n_features] float32
    y: Array  # [n_candidates] int32, 0-3
    weight: float = 1.0
    texts: Sequence[int] = ()  # places in the store of vectors: prompt, last calls, candidates (`train/network.py`)


@dataclasses.dataclass(frozen=True, slots=True)
class Groups:
    """Many groups end to end."""

    x: Array  # [n_rows, n_features] float32
    y: Array  # [n_rows] int32
    sizes: Array  # [n_groups] int32
    answers: Array  # [n_groups] int32
    operations: Array  # [n_groups] int32
    providers: tuple[str, ...]
    weights: Array = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.float32))  # [n_groups] float32

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.sizes):  # none were given: every group counts the same
            object.__setattr__(self, "weights", np.ones(len(self.sizes), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.sizes)

    def only(self, some: Array) -> Groups:
        """The groups for which `some` [n_groups] bool is true."""
        rows = np.repeat(some, self.sizes)
        return Groups(
            x=self.x[rows],
            y=self.y[rows],
            sizes=self.sizes[some],
            answers=self.answers[some],
            operations=self.operations[some],
            providers=tuple(itertools.compress(self.providers, some)),
            weights=self.weights[some],
        )

    def matrices(self) -> Iterator[Array]:
        """Each group's matrix [n_candidates, n_features]."""
        start = 0
        for size in self.sizes.tolist():
            yield self.x[start : start + size]
            start += size


def qid_of(text: str) -> int:
    """A stable id of a group: where it comes from decides where it stands after sorting."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def write_part(groups: Iterable[Group], folder: Path, part: str, half: bool = False) -> int:
    """Writes groups under `folder/{split}/{head}/part-{part}.parquet`; returns how many.

    `half` keeps the features as float16, which is what they were computed in: half the bytes to move.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind, arrow_kind = (np.float16, pa.float16()) if half else (np.float32, pa.float32())
    places: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in groups:
        places[group.split, group.head].append(group)
    for (split, head), rows in places.items():
        rows.sort(key=lambda g: g.qid)
        target = folder / split / head
        target.mkdir(parents=True, exist_ok=True)
        table = pa.table(
            {
                "qid": pa.array([g.qid for g in rows], pa.int64()),
                "spec": [g.spec for g in rows],
                "provider": [g.provider for g in rows],
                "head": [g.head for g in rows],
                "operations": pa.array([g.operations for g in rows], pa.int32()),
                "n": pa.array([len(g.y) for g in rows], pa.int32()),
                "answer": pa.array([g.answer for g in rows], pa.int32()),
                "weight": pa.array([g.weight for g in rows], pa.float32()),
                "x": pa.array([np.ascontiguousarray(g.x, dtype=kind).ravel() for g in rows], pa.list_(arrow_kind)),
                "y": pa.array([g.y.astype(np.int32) for g in rows], pa.list_(pa.int32())),
                "texts": pa.array([list(g.texts) for g in rows], pa.list_(pa.int32())),
            },
            metadata={"fingerprint": FINGERPRINT},
        )
        pq.write_table(table, target / f"part-{part}.parquet", compression="zstd", row_group_size=512)
    return sum(map(len, places.values()))


def merge_parts(folder: Path) -> None:
    """Makes one file of each split and head, sorted by id: readers open three files instead of hundreds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for target in {file.parent for file in folder.rglob("part-*.parquet")}:
        files = sorted(target.glob("part-*.parquet"))
        table = pa.concat_tables([pq.read_table(file) for file in files]).sort_by("qid")
        for file in files:
            file.unlink()
        pq.write_table(table, target / "part-all.parquet", compression="zstd", row_group_size=512)


def read(folder: Path, split: str, head: str) -> Groups:
    """All groups of one split and head, in the order of their ids."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted((folder / split / head).glob("part-*.parquet"))
    if not files:
        none = np.zeros(0, dtype=np.int32)
        return Groups(np.zeros((0, len(FEATURES)), dtype=np.float32), none, none, none, none, ())

    return from_table(pa.concat_tables([pq.read_table(file) for file in files]))


def from_table(table: Any) -> Groups:
    """Groups of a pyarrow table with this module's columns, sorted by id: the same whatever order shards came in."""
    import pyarrow as pa

    table = table.sort_by("qid").combine_chunks()
    x, y = _flat(table["x"], np.float32), _flat(table["y"], np.int32)
    if x.size != y.size * len(FEATURES):
        raise RankerArtifactError(f"These groups have another feature table than {FINGERPRINT}: make them again.")
    groups = Groups(
        x=x.reshape(-1, len(FEATURES)),
        y=y,
        sizes=table["n"].to_numpy().astype(np.int32),
        answers=table["answer"].to_numpy().astype(np.int32),
        operations=table["operations"].to_numpy().astype(np.int32),
        providers=tuple(table["provider"].to_pylist()),
        weights=table["weight"].to_numpy() if "weight" in table.column_names else np.zeros(0, dtype=np.float32),
    )
    del table
    pa.default_memory_pool().release_unused()  # Arrow keeps three times the matrix otherwise
    return groups


def _flat(column: Any, kind: Any) -> Array:
    """Values of a list column end to end; NaN is a value here, null is not written."""
    parts = [np.asarray(chunk.flatten().to_numpy(zero_copy_only=False), dtype=kind) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)


def content_hash(folder: Path) -> str:
    """Hash of all groups under `folder`, whatever files they lie in: of everything that a model is fitted on."""
    import pyarrow.parquet as pq

    digest = hashlib.sha256()
    for target in sorted({file.parent for file in folder.rglob("part-*.parquet")}):
        groups: list[bytes] = []
        for path in target.glob("part-*.parquet"):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(512, columns=_HASHED):
                    groups += _group_hashes(batch)
        digest.update(target.relative_to(folder).as_posix().encode())
        digest.update(b"".join(sorted(groups)))
    return f"sha256:{digest.hexdigest()}"


def _group_hashes(batch: Any) -> list[bytes]:
    """A hash of each group of a record batch."""
    rows = [hashlib.sha256() for _ in range(batch.num_rows)]
    for name in _HASHED:
        column = batch[name]
        if not hasattr(column, "offsets"):
            for row, value in zip(rows, column.to_numpy(zero_copy_only=False), strict=True):
                row.update(value.tobytes())
            continue
        sizes = column.value_lengths().to_numpy()
        values, ends = column.flatten().to_numpy(zero_copy_only=False), np.cumsum(sizes)
        for row, size, end in zip(rows, sizes.tolist(), ends.tolist(), strict=True):
            row.update(np.int64(size).tobytes() + values[end - size : end].tobytes())
    return [row.digest() for row in rows]
