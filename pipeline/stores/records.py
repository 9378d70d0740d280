"""A labelled query group as a row of the journal: its columns, and the way back to matrices.

    id, tenant, lineage, digest, owner     of the impression; `owner` is a hash of the user, "" for anonymous
    ts, shown_ts                           when it was labelled, when it was shown
    outcome, chosen, weight, best          what happened; the operation, which may be none of the rows; highest label
    operations, labels, scores             of each row, those shown first, in the order of their ranks
    adapted                                what was learnt online made of the scores; empty when nothing was
    shown                                  how many were shown: row i < shown stood at rank i + 1
    features, columns, fingerprint         float16 [rows, columns] in C order; 0 columns when dropped; of which table
    model_version, head, arm               who ordered it
    propensity, explored                   how likely rank 1 was to be what it is; it is there by exploration
    experiment, teams, shadow              what it counts for, who drafted what, what the challenger had shown unseen
    has_prompt, terms, history             hashed stems of the prompt; operations of the last three calls

What the experts of adaptation lost is not kept: no ranker is fitted on it, and only the latest, in Redis, are read.
Written and read by `journal.py`; `matrix` and `sizes` give a batch of rows to a learner without a
copy. pyarrow is imported when it is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.stores.counts import owner_hash
from pipeline.types import QueryGroup

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1  # raised when a column changes its meaning; a new column alone is null in older files


@functools.cache
def schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.string()),
            ("tenant", pa.string()),
            ("lineage", pa.string()),
            ("digest", pa.string()),
            ("owner", pa.string()),
            ("ts", pa.timestamp("us", "UTC")),
            ("shown_ts", pa.timestamp("us", "UTC")),
            ("outcome", pa.string()),
            ("chosen", pa.string()),
            ("weight", pa.float32()),
            ("best", pa.int8()),
            ("operations", pa.list_(pa.string())),
            ("labels", pa.list_(pa.int8())),
            ("scores", pa.list_(pa.float32())),
            ("adapted", pa.list_(pa.float32())),
            ("shown", pa.int16()),
            ("features", pa.large_binary()),
            ("columns", pa.int16()),
            ("fingerprint", pa.string()),
            ("model_version", pa.string()),
            ("head", pa.string()),
            ("arm", pa.string()),
            ("propensity", pa.float32()),
            ("explored", pa.bool_()),
            ("experiment", pa.string()),
            ("teams", pa.string()),
            ("shadow", pa.list_(pa.string())),
            ("has_prompt", pa.bool_()),
            ("terms", pa.list_(pa.uint32())),
            ("history", pa.list_(pa.string())),
        ]
    )


def table(groups: Sequence[QueryGroup]) -> pa.Table:
    """Groups as rows."""
    import pyarrow as pa

    rows = []
    for group in groups:
        shown = group.impression
        operations = shown.shown + shown.others
        columns = len(shown.features) // (2 * len(operations)) if operations else 0
        rows.append(
            {
                "id": shown.id,
                "tenant": shown.tenant,
                "lineage": shown.lineage,
                "digest": shown.digest,
                "owner": owner_hash(shown.tenant, shown.user),
                "ts": int(group.ts * 1e6),
                "shown_ts": int(shown.ts * 1e6),
                "outcome": group.outcome,
                "chosen": group.chosen,
                "weight": group.weight,
                "best": max(group.labels, default=0),
                "operations": operations,
                "labels": group.labels,
                "scores": shown.scores,
                "adapted": shown.adapted,
                "shown": len(shown.shown),
                "features": shown.features,
                "columns": columns,
                "fingerprint": shown.fingerprint,
                "model_version": shown.model_version,
                "head": shown.head,
                "arm": shown.arm,
                "propensity": shown.propensity,
                "explored": shown.explored,
                "experiment": shown.experiment,
                "teams": shown.teams,
                "shadow": shown.shadow,
                "has_prompt": shown.has_prompt,
                "terms": shown.terms,
                "history": shown.history,
            }
        )
    return pa.Table.from_pylist(rows, schema=schema())


def conform(found: pa.Table) -> pa.Table:
    """A table of an older file in today's schema: columns it lacks are null, those no longer known go."""
    import pyarrow as pa

    fields = schema()
    return pa.table(
        [
            found[field.name].cast(field.type) if field.name in found.column_names else pa.nulls(len(found), field.type)
            for field in fields
        ],
        schema=fields,
    )


def matrix(batch: pa.RecordBatch) -> np.ndarray:
    """The features of a batch of groups that have the same columns: float16 [n_rows, n_columns], not copied.

    Rows of a group stand together, in the order of `operations`; `sizes` says how many each has.
    """
    blocks = batch["features"]
    columns = batch["columns"][0].as_py() if batch.num_rows else 0
    _, offsets, data = blocks.buffers()
    if data is None or not columns:
        return np.empty((0, columns), np.float16)
    bounds = np.frombuffer(offsets, np.int64)[blocks.offset : blocks.offset + len(blocks) + 1]
    return np.frombuffer(data, np.float16, (bounds[-1] - bounds[0]) // 2, bounds[0]).reshape(-1, columns)


def sizes(batch: pa.RecordBatch) -> np.ndarray:
    """How many rows each group has: int32 [n_groups], LightGBM's `group`."""
    return batch["operations"].value_lengths().to_numpy()


def labels(batch: pa.RecordBatch) -> np.ndarray:
    """The label of each row: int8 [n_rows]."""
    return batch["labels"].flatten().to_numpy(zero_copy_only=False)
