"""Groups that come with the package: what a retraining holds on to when it learns from people.

A small sample of the groups behind the packaged ranker, in one Parquet file beside it: `train` keeps the fit near
what the ranker knows, `valid` stops and calibrates where there are few real groups, `golden` is what no
challenger may do worse on, with the sessions of the packaged examples among them. Written by
`train/default_model.py`, read by `train/retrain.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pipeline.errors import RankerArtifactError
from pipeline.ranking import drift
from pipeline.ranking.ranker import packaged_path
from pipeline.ranking.table import COLUMN, FEATURES, FINGERPRINT, HEADS
from pipeline.settings import Settings, resource
from train import dataset
from train.cases import SESSIONS, Case, query_of, read_cases
from train.gate import Trial

# Groups of each head: of first calls fewer, as only the spread of their features is asked for (train/warm.py).
TRAIN = {"prompt_only": 1200, "prompt_history": 1500, "history_only": 1500}
VALID, GOLDEN = 250, 400
_SYNTHETIC, _EXAMPLES = "synthetic", "examples"


def anchor_path() -> Path:
    """Where the packaged anchor lies."""
    return packaged_path().with_name("anchor.parquet")


def write_anchor(groups: Path, path: Path, examples: Iterable[tuple[str, dataset.Group]] = (), seed: int = 7) -> int:
    """Writes a sample of the groups under `groups`, and golden `examples` (suite, group); returns how many.

    Training groups are a sample of the training split, by the weight they had in the fit; the others of the validation
    and test specs.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for head in HEADS:
        wanted = (("train", "train", TRAIN[head]), ("valid", "valid", VALID), ("golden", "test", GOLDEN))
        for purpose, split, count in wanted:
            files = sorted((groups / split / head).glob("part-*.parquet"))
            if not files:
                continue
            table = pa.concat_tables([pq.read_table(file) for file in files])
            chosen = _drawn(table["weight"].to_numpy() if purpose == "train" else np.ones(len(table)), count, seed)
            suite = _SYNTHETIC if purpose == "golden" else ""
            tables.append(_half(table.take(np.sort(chosen)), purpose, suite))
    rows = [(suite, group) for suite, group in examples]
    if rows:
        tables.append(_example_table(rows))
    whole = pa.concat_tables(tables).replace_schema_metadata({"fingerprint": FINGERPRINT})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        whole, path, compression="zstd", compression_level=15, use_dictionary=["purpose", "suite", "spec", "head"]
    )
    return len(whole)


def _drawn(weights: Any, count: int, seed: int) -> Any:
    """At most `count` places, drawn by weight without replacement (Efraimidis and Spirakis 2006)."""
    keys = np.random.default_rng(seed).exponential(size=len(weights)) / weights
    return np.argsort(keys, kind="stable")[:count]


_COLUMNS = ("qid", "spec", "provider", "head", "operations", "n", "answer")


def _half(table: Any, purpose: str, suite: str) -> Any:
    """The table's groups with features as float16."""
    import pyarrow as pa

    columns = {name: table[name].combine_chunks() for name in _COLUMNS}
    n = len(table)
    x = [np.asarray(values, dtype=np.float32).astype(np.float16) for values in table["x"].to_pylist()]
    return pa.table(
        columns
        | {
            "x": pa.array(x, pa.list_(pa.float16())),
            "y": table["y"].cast(pa.list_(pa.int32())).combine_chunks(),
            "purpose": pa.array([purpose] * n, pa.string()),
            "suite": pa.array([suite] * n, pa.string()),
        }
    )


def _example_table(rows: list[tuple[str, dataset.Group]]) -> Any:
    import pyarrow as pa

    groups = [group for _, group in rows]
    return pa.table(
        {
            "qid": pa.array([g.qid for g in groups], pa.int64()),
            "spec": [g.spec for g in groups],
            "provider": [g.provider for g in groups],
            "head": [g.head for g in groups],
            "operations": pa.array([g.operations for g in groups], pa.int32()),
            "n": pa.array([len(g.y) for g in groups], pa.int32()),
            "answer": pa.array([g.answer for g in groups], pa.int32()),
            "x": pa.array([g.x.astype(np.float16).ravel() for g in groups], pa.list_(pa.float16())),
            "y": pa.array([g.y.astype(np.int32) for g in groups], pa.list_(pa.int32())),
            "purpose": ["golden"] * len(groups),
            "suite": [suite for suite, _ in rows],
        }
    )


def write_reference(anchor: Path, path: Path) -> None:
    """Writes what served features are compared with, of the anchor's whole groups that nothing was fitted on."""
    held = Anchor(anchor)
    groups = [(group.head, group.x) for group in held.groups("valid", "valid")]
    groups += [(trial.head, trial.x) for trial in held.golden() if trial.suite == _SYNTHETIC]
    path.write_bytes(msgspec.json.encode(drift.reference(groups)) + b"\n")


def example_groups(settings: Settings) -> Iterator[tuple[str, dataset.Group]]:
    """The groups of the packaged examples' sessions, with the name of their suite; loads the encoder."""
    from pipeline.predict import assemble
    from pipeline.types import Source
    from train.predictors import Specs

    folder = resource("examples")
    specs = Specs(settings, folder)
    cases = read_cases(sorted(folder.glob(f"*{SESSIONS}")), specs)
    specs.prepare(cases)
    for case in cases:
        compiled = specs.compiled(case.spec)
        query = query_of(case, Source(digest=compiled.catalog.digest))
        grounded, matrix = assemble(query, compiled, specs.vector(case.prompt), {}, settings.shortlist)
        answer = next((i for i, c in enumerate(grounded.candidates) if c.operation == case.next), -1)
        if len(matrix):
            yield _EXAMPLES, _example(case, matrix, answer, len(compiled.catalog.operations))


def _example(case: Case, matrix: Any, answer: int, operations: int) -> dataset.Group:
    labels = np.zeros(len(matrix), dtype=np.int32)
    if answer >= 0:
        labels[answer] = 1
    qid = dataset.qid_of(f"example {case.case} {case.variant}")
    return dataset.Group(qid, case.spec, case.group, "golden", case.variant, operations, answer, matrix, labels)


class Anchor:
    """The anchor in a file, or the packaged one."""

    def __init__(self, path: Path | None = None) -> None:
        """Raises RankerArtifactError when it is missing or of another feature table."""
        import pyarrow.parquet as pq

        self._path = path or anchor_path()
        try:
            found = (pq.read_schema(self._path).metadata or {}).get(b"fingerprint", b"").decode()
        except OSError as error:
            raise RankerArtifactError(f"There is no anchor to retrain with: {error}") from error
        if found != FINGERPRINT:
            raise RankerArtifactError(
                f"The anchor {self._path} has feature table {found}, this release computes {FINGERPRINT}."
            )

    def groups(self, purpose: str, split: str) -> Iterator[dataset.Group]:
        """The groups kept for `purpose` (train, valid), as groups of `split`."""
        for row, x in self._rows(purpose):
            yield dataset.Group(
                qid=row["qid"],
                spec=row["spec"],
                provider=row["provider"],
                split=split,
                head=row["head"],
                operations=row["operations"],
                answer=row["answer"],
                x=x,
                y=np.array(row["y"], dtype=np.int32),
            )

    def golden(self) -> Iterator[Trial]:
        """What no challenger may do worse on; a DELETE is all that is known to destroy here."""
        for row, x in self._rows("golden"):
            yield Trial(
                head=row["head"],
                x=x,
                answer=row["answer"],
                destructive=x[:, COLUMN["is_delete"]] > 0.5,
                spec=row["spec"],
                cluster=f"{row['suite']} {row['provider']}",
                suite=row["suite"],
            )

    def _rows(self, purpose: str) -> Iterator[tuple[dict[str, Any], Any]]:
        import pyarrow.parquet as pq

        table = pq.read_table(self._path, filters=[("purpose", "=", purpose)])
        for batch in table.to_batches(max_chunksize=256):
            matrices = batch.column("x")
            plain = batch.drop_columns(["x"]).to_pylist()
            for row, values in zip(plain, matrices, strict=True):
                x = values.values.to_numpy(zero_copy_only=False).astype(np.float32)
                yield row, x.reshape(row["n"], len(FEATURES))
