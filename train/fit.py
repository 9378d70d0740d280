"""Fits the ranker's heads from query groups, through Ray Train on Ray Data.

For the first call of a session: a conditional logit, since trees bend to the generator of sessions
where there is only a prompt. Where there is a history: LambdaRank trees blended with such a logit.
Groups are rows, so every worker gets whole ones. What is learnt from them is `train/heads.py`'s;
called by `train/default_model.py` and `train/retrain.py`; calibration is not made here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import typer

from pipeline.errors import RankerArtifactError
from pipeline.ranking.ranker import Blend, Spec
from pipeline.ranking.table import HEADS, Head
from train import dataset, warm
from train.cluster import connected
from train.heads import Network, Params, fit_logit, fit_trees, with_prior

_LOOK_S = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Fitted:
    """Heads as the artefact stores them, and how the fit went."""

    heads: dict[str, Spec]
    rounds: dict[str, int]
    ndcg10: dict[str, float]  # of the trees on held-out specs


@dataclasses.dataclass(frozen=True, slots=True)
class _FittedHead:
    spec: Spec
    rounds: int
    ndcg10: float


def fit(
    groups: Path,
    params: Params | Mapping[Head, Params],
    workers: int = 1,
    heads: Sequence[Head] = HEADS,
    start: Mapping[str, Spec] | None = None,
    progress: Callable[[int], None] = lambda heads: None,
) -> Fitted:
    """Fits `heads` on the groups under `groups` with `workers` Ray Train workers; blocks for minutes.

    With `start` each head goes on from there (`train/warm.py`); what holds it near lies in `groups/anchor`.
    Runs on the Ray that this process is connected to, else in a child process with a private Ray: Ray's signal
    handlers, threads and environment then end with it. The run's own files lie under `groups` meanwhile, which every
    worker has to see anyway.

    Raises:
        RankerArtifactError: the fit failed; its log stands above.
    """
    each = {head: params if isinstance(params, Params) else params[head] for head in heads}
    run = groups.resolve() / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    try:
        with _told(run, progress):
            if "ray" in sys.modules and sys.modules["ray"].is_initialized():
                return _fit(groups, each, workers, start or {}, run)
            (run / "start.json").write_bytes(msgspec.json.encode(start or {}))
            (run / "params.json").write_bytes(msgspec.json.encode(each))
            command = [sys.executable, "-P", "-m", "train.fit", str(groups.resolve()), str(run), str(workers)]
            if subprocess.run(command, check=False).returncode != 0:
                raise RankerArtifactError(f"The fit on {groups} failed.")
            return msgspec.json.decode((run / "fitted.json").read_bytes(), type=Fitted)
    finally:
        shutil.rmtree(run, ignore_errors=True)


@contextlib.contextmanager
def _told(run: Path, progress: Callable[[int], None]) -> Iterator[None]:
    """Call `progress` with how many heads are fitted, whenever there is another: a checkpoint each."""
    over = threading.Event()

    def look() -> None:
        done = 0
        while not over.wait(_LOOK_S):
            found = len(list(run.glob("*/checkpoint_*/heads.json")))
            if found > done:
                progress(done := found)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _child(groups: Path, run: Path, workers: int) -> None:
    """Starts a private Ray, fits and stops it; what `fit` runs in a child process."""
    with connected(cpus=workers + 2, store_bytes=2 * 1024**3):  # tasks of Ray Data run beside the workers
        params = msgspec.json.decode((run / "params.json").read_bytes(), type=dict[Head, Params])
        start = msgspec.json.decode((run / "start.json").read_bytes(), type=dict[str, Spec])
        (run / "fitted.json").write_bytes(msgspec.json.encode(_fit(groups, params, workers, start, run)))


def _fit(groups: Path, params: Mapping[Head, Params], workers: int, start: Mapping[str, Spec], run: Path) -> Fitted:
    """One run of Ray Train: a group of workers, each with whole groups of its own, that fits head after head."""
    import ray
    from ray.train import DataConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.lightgbm import LightGBMTrainer

    files: dict[str, list[str]] = {}
    wanted: dict[Head, bytes] = {}
    for head, one in params.items():
        learnt = _parts(groups / "train" / head)
        some, share = _some(learnt, one.logit_groups)
        anchor = _parts(groups / "anchor" / head) if head in start else []
        files |= {f"{head} mine": learnt + anchor, f"{head} some": some}
        files |= {f"{head} held out": _parts(groups / "valid" / head)} | ({f"{head} anchor": anchor} if anchor else {})
        wanted[head] = msgspec.json.encode(_Wanted(one, share, start.get(head)))
    trainer = LightGBMTrainer(
        _loop,
        train_loop_config=wanted,
        scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
        datasets={name: ray.data.read_parquet(parts) for name, parts in files.items()},
        # Only what the trees learn from is split: the logit and early stopping see the same on every worker.
        dataset_config=DataConfig(datasets_to_split=[f"{head} mine" for head in params]),
        run_config=RunConfig(
            name="heads",
            storage_path=str(run),
            failure_config=FailureConfig(max_failures=3),  # LightGBM's ports may be taken between choice and use
        ),
    )
    checkpoint = trainer.fit().checkpoint
    if checkpoint is None:
        raise RankerArtifactError(f"The fit on {groups} ended without a checkpoint.")
    done = _read(checkpoint)
    return Fitted(
        heads={head: one.spec for head, one in done.items()},
        rounds={head: one.rounds for head, one in done.items()},
        ndcg10={head: one.ndcg10 for head, one in done.items()},
    )


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


@dataclasses.dataclass(frozen=True, slots=True)
class _Wanted:
    """What workers are told of a head."""

    params: Params
    share: float  # of all groups: those that the logit is fitted on
    start: Spec | None


def _loop(wanted: dict[Head, bytes]) -> None:
    """What each worker runs. A checkpoint has the heads fitted so far: a run that starts again goes on from there."""
    import ray.train
    from ray.train.lightgbm import get_network_params

    os.nice(5)
    context = ray.train.get_context()
    network = Network(get_network_params() if context.get_world_size() > 1 else {})
    before = ray.train.get_checkpoint()
    done = {} if before is None else _read(before)
    for head, told in wanted.items():
        if head in done:
            continue
        done[head] = _fit_head(head, msgspec.json.decode(told, type=_Wanted), network)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if context.get_world_rank() == 0:
                (Path(folder) / "heads.json").write_bytes(msgspec.json.encode(done))
                checkpoint = ray.train.Checkpoint.from_directory(folder)
            ray.train.report({"heads": len(done)}, checkpoint=checkpoint)
    network.leave()


def _fit_head(head: Head, wanted: _Wanted, network: Network) -> _FittedHead:
    params, start = wanted.params, wanted.start
    some = dataset.from_table(_shard(f"{head} some"))
    some = dataclasses.replace(some, weights=some.weights / np.float32(wanted.share))  # as heavy as all
    if start is None or (before := warm.logit_of(start)) is None:
        logit = with_prior(fit_logit(some, params), head, params)
    else:
        logit = warm.move_logit(before, some, dataset.from_table(_shard(f"{head} anchor")), params)
    del some
    mine, held_out = dataset.from_table(_shard(f"{head} mine")), dataset.from_table(_shard(f"{head} held out"))
    grown = None if start is None else warm.trees_of(start)
    trees, rounds, ndcg10 = fit_trees(mine, held_out, params, network, grown)
    share = start.share if isinstance(start, Blend) else params.share
    return _FittedHead(Blend(trees, logit, share), rounds, ndcg10)


def _read(checkpoint: Any) -> dict[str, _FittedHead]:
    with checkpoint.as_directory() as folder:
        return msgspec.json.decode((Path(folder) / "heads.json").read_bytes(), type=dict[str, _FittedHead])


def _shard(name: str) -> Any:
    """This worker's rows of a dataset as one Arrow table."""
    import pyarrow as pa
    import ray.train

    batches = ray.train.get_dataset_shard(name).iter_batches(batch_size=None, batch_format="pyarrow")
    return pa.concat_tables([batch for batch in batches if batch.num_rows])


if __name__ == "__main__":
    from train import fit as module  # not __main__: Ray's workers import what they run

    typer.run(module._child)
