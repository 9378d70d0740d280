"""Fits the ranker's heads from query groups, through Ray Train on Ray Data.

For the first call of a session: a conditional logit, since trees bend to the generator of sessions
where there is only a prompt. Where there is a history: LambdaRank trees blended with such a logit.
Groups are rows, so every worker gets whole ones. What is learnt from them is `train/heads.py`'s;
called by `train/default_model.py` and `train/retrain.py`; calibration is not made here.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer

from pipeline.errors import RankerArtifactError
from pipeline.ranking.ranker import Blend, Spec
from pipeline.ranking.table import HEADS, Head
from train import dataset, warm
from train.cluster import connected
from train.heads import Params, fit_logit, fit_trees, with_prior

TREE_HEADS: tuple[Head, ...] = HEADS


@dataclasses.dataclass(frozen=True, slots=True)
class Fitted:
    """Heads as the artefact stores them, and how the fit went."""

    heads: dict[str, Spec]
    rounds: dict[str, int]
    ndcg10: dict[str, float]  # of the trees on held-out specs


@dataclasses.dataclass(frozen=True, slots=True)
class _FittedHead:
    spec: Spec
    rounds: int = 0
    ndcg10: float = 0.0


def fit(
    groups: Path,
    params: Params | None = None,
    workers: int = 1,
    heads: Sequence[Head] = HEADS,
    start: Mapping[str, Spec] | None = None,
) -> Fitted:
    """Fits `heads` on the groups under `groups` with `workers` Ray Train workers; blocks for minutes.

    With `start` each head goes on from there (`train/warm.py`); what holds it near lies in `groups/anchor`.
    Runs on the Ray that this process is connected to, else in a child process with a private Ray: Ray's signal
    handlers, threads and environment then end with it.

    Raises:
        RankerArtifactError: the fit failed; its log stands above.
    """
    params = params or Params()
    scratch = Path(tempfile.mkdtemp(prefix="osr-", dir="/tmp"))  # short: Ray puts unix sockets under it
    try:
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            return _fit(groups, params, workers, heads, scratch, start or {})
        (scratch / "start.json").write_bytes(msgspec.json.encode(start or {}))
        (scratch / "params.json").write_bytes(msgspec.json.encode(params))
        command = [sys.executable, "-P", "-m", "train.fit", str(groups.resolve()), str(scratch), str(workers), *heads]
        if subprocess.run(command, check=False).returncode != 0:
            raise RankerArtifactError(f"The fit on {groups} failed.")
        return msgspec.json.decode((scratch / "fitted.json").read_bytes(), type=Fitted)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _child(groups: Path, scratch: Path, workers: Annotated[int, typer.Argument()], heads: list[str]) -> None:
    """Starts a private Ray, fits and stops it; what `fit` runs in a child process."""
    with connected(cpus=workers + 2, store_bytes=2 * 1024**3):  # tasks of Ray Data run beside the workers
        params = msgspec.json.decode((scratch / "params.json").read_bytes(), type=Params)
        start = msgspec.json.decode((scratch / "start.json").read_bytes(), type=dict[str, Spec])
        fitted = _fit(groups, params, workers, heads, scratch, start)
        (scratch / "fitted.json").write_bytes(msgspec.json.encode(fitted))


def _fit(
    groups: Path, params: Params, workers: int, heads: Sequence[str], scratch: Path, start: Mapping[str, Spec]
) -> Fitted:
    done = {head: _fit_head(head, groups, params, workers, scratch / "runs", start.get(head)) for head in heads}
    return Fitted(
        heads={head: one.spec for head, one in done.items()},
        rounds={head: one.rounds for head, one in done.items() if head in TREE_HEADS},
        ndcg10={head: one.ndcg10 for head, one in done.items() if head in TREE_HEADS},
    )


def _fit_head(
    head: str, groups: Path, params: Params, workers: int, runs: Path, start: Spec | None = None
) -> _FittedHead:
    """One run of Ray Train: a group of workers, each with whole groups of its own."""
    import ray
    from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.lightgbm import LightGBMTrainer

    trees = head in TREE_HEADS
    learnt = _parts(groups / "train" / head)
    some, share = _some(learnt, params.logit_groups)
    files = {"mine": learnt, "some": some}
    if start is not None:
        files["anchor"] = _parts(groups / "anchor" / head)
        files["mine"] = files["mine"] + files["anchor"]
    if trees:
        files["held_out"] = _parts(groups / "valid" / head)
    trainer = LightGBMTrainer(
        _loop,
        train_loop_config={
            "head": head,
            "params": dataclasses.asdict(params),
            "share": share,
            "start": None if start is None else msgspec.json.encode(start),
        },
        scaling_config=ScalingConfig(num_workers=workers if trees else 1, resources_per_worker={"CPU": 1}),
        datasets={name: ray.data.read_parquet(parts) for name, parts in files.items()},
        # Only what the trees learn from is split: the logit and early stopping see the same on every worker.
        dataset_config=DataConfig(datasets_to_split=["mine"]),
        run_config=RunConfig(
            name=head,
            storage_path=str(runs),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(max_failures=3),  # LightGBM's ports may be taken between choice and use
        ),
    )
    checkpoint = trainer.fit().checkpoint
    if checkpoint is None:
        raise RankerArtifactError(f"The fit of head {head} ended without a checkpoint.")
    with checkpoint.as_directory() as folder:
        return msgspec.json.decode((Path(folder) / "head.json").read_bytes(), type=_FittedHead)


def _parts(folder: Path) -> list[str]:
    files = sorted(str(file.resolve()) for file in folder.glob("part-*.parquet"))
    if not files:
        raise RankerArtifactError(f"{folder} has no groups: more specs are needed.")
    return files


def _some(files: list[str], groups: int) -> tuple[list[str], float]:
    """Files spread evenly over all, with at least so many groups or all there are; and their share of all groups."""
    import pyarrow.parquet as pq

    rows = [pq.read_metadata(file).num_rows for file in files]
    step = max(1, sum(rows) // groups)
    while step > 1 and sum(rows[::step]) < groups:  # files differ in size
        step -= 1
    return files[::step], sum(rows[::step]) / sum(rows)


def _loop(config: dict[str, Any]) -> None:
    """What each worker runs."""
    import ray.train
    from ray.train.lightgbm import get_network_params

    os.nice(5)
    params = Params(**config["params"])
    context = ray.train.get_context()
    start = msgspec.json.decode(config["start"], type=Spec) if config["start"] else None
    before = None if start is None else warm.logit_of(start)
    some = dataset.from_table(_shard("some"))
    some = dataclasses.replace(some, weights=some.weights / np.float32(config["share"]))  # as heavy as all
    if before is None:
        logit = with_prior(fit_logit(some, params), config["head"], params.prior / (1.0 - params.share))
    else:
        logit = warm.move_logit(before, some, dataset.from_table(_shard("anchor")), params)
    del some
    mine = dataset.from_table(_shard("mine"))
    fitted = _FittedHead(logit)
    if config["head"] in TREE_HEADS:
        network = get_network_params() if context.get_world_size() > 1 else {}
        grown = None if start is None else warm.trees_of(start)
        trees, rounds, ndcg10 = fit_trees(mine, dataset.from_table(_shard("held_out")), params, network, grown)
        share = start.share if isinstance(start, Blend) else params.share
        fitted = _FittedHead(Blend(trees, logit, share), rounds, ndcg10)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if context.get_world_rank() == 0:
            (Path(folder) / "head.json").write_bytes(msgspec.json.encode(fitted))
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"groups": len(mine)}, checkpoint=checkpoint)


def _shard(name: str) -> Any:
    """This worker's rows of a dataset as one Arrow table."""
    import pyarrow as pa
    import ray.train

    batches = ray.train.get_dataset_shard(name).iter_batches(batch_size=None, batch_format="pyarrow")
    return pa.concat_tables([batch for batch in batches if batch.num_rows])


if __name__ == "__main__":
    from train import fit as module  # not __main__: Ray's workers import what they run

    typer.run(module._child)
