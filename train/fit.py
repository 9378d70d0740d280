"""Fits the ranker's heads from query groups, through Ray Train on Ray Data.

For the first call of a session: a conditional logit, since trees bend to the generator of sessions
where there is only a prompt. Where there is a history: LambdaRank trees blended with such a logit.
Groups are rows, so every worker gets whole ones. What is learnt from them is `train/heads.py`'s;
called by `train/default_model.py`; calibration is not made here.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from pipeline.errors import RankerArtifactError
from pipeline.ranking.ranker import Blend, Spec
from train import dataset
from train.heads import Params, fit_logit, fit_trees

TREE_HEADS = ("prompt_history", "history_only")
LOGIT_HEAD = "prompt_only"


@dataclasses.dataclass(frozen=True, slots=True)
class Fitted:
    """Heads as the artefact stores them, and how the fit went."""

    heads: dict[str, Spec]
    rounds: dict[str, int]
    ndcg10: dict[str, float]  # of the trees on held-out specs


def fit(groups: Path, params: Params | None = None, workers: int = 1) -> Fitted:
    """Fits all heads on the groups under `groups` with `workers` Ray Train workers; blocks for minutes.

    Runs on the Ray that this process is connected to, else in a child process with a private Ray: Ray's signal
    handlers, threads and environment then end with it.

    Raises:
        RankerArtifactError: the fit failed; its log stands above.
    """
    params = params or Params()
    scratch = Path(tempfile.mkdtemp(prefix="osr-", dir="/tmp"))  # short: Ray puts unix sockets under it
    try:
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            return _fit(groups, params, workers, scratch)
        (scratch / "params.json").write_bytes(msgspec.json.encode(params))
        command = [sys.executable, "-P", "-m", "train.fit", str(groups.resolve()), str(scratch), str(workers)]
        if subprocess.run(command, check=False).returncode != 0:
            raise RankerArtifactError(f"The fit on {groups} failed.")
        return msgspec.json.decode((scratch / "fitted.json").read_bytes(), type=Fitted)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _child(groups: Path, scratch: Path, workers: Annotated[int, typer.Argument()]) -> None:
    """Starts a private Ray, fits and stops it; what `fit` runs in a child process."""
    token = scratch / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    # Ray's control ports listen on all interfaces, so nobody gets in without the token.
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token), RAY_USAGE_STATS_ENABLED="0")
    import ray

    ray.init(
        num_cpus=workers + 2,  # by Ray's count: tasks of Ray Data run beside the workers
        include_dashboard=False,
        object_store_memory=2 * 1024**3,
        log_to_driver=False,
        _temp_dir=str(scratch / "ray"),
    )
    try:
        params = msgspec.json.decode((scratch / "params.json").read_bytes(), type=Params)
        fitted = _fit(groups, params, workers, scratch)
        (scratch / "fitted.json").write_bytes(msgspec.json.encode(fitted))
    finally:
        ray.shutdown()


def _fit(groups: Path, params: Params, workers: int, scratch: Path) -> Fitted:
    import ray
    from ray.train import CheckpointConfig, DataConfig, RunConfig, ScalingConfig
    from ray.train.lightgbm import LightGBMTrainer

    context = ray.data.DataContext.get_current()
    context.use_datasource_v2 = False  # it starts up to 32 actors per dataset to read footers
    context.enable_progress_bars = False
    tables = {
        "trees": _files(groups, "train", TREE_HEADS),
        "whole": _files(groups, "train", (LOGIT_HEAD, *TREE_HEADS)),
        "held_out": _files(groups, "valid", TREE_HEADS),
    }
    trainer = LightGBMTrainer(
        _loop,
        train_loop_config=dataclasses.asdict(params),
        scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
        datasets={name: ray.data.read_parquet(files) for name, files in tables.items()},
        # Only what the trees learn from is split: the logit and early stopping see everything on every worker.
        dataset_config=DataConfig(datasets_to_split=["trees"]),
        run_config=RunConfig(storage_path=str(scratch / "runs"), checkpoint_config=CheckpointConfig(num_to_keep=1)),
    )
    checkpoint = trainer.fit().checkpoint
    if checkpoint is None:
        raise RankerArtifactError("The fit ended without a checkpoint.")
    with checkpoint.as_directory() as folder:
        return msgspec.json.decode((Path(folder) / "heads.json").read_bytes(), type=Fitted)


def _files(groups: Path, split: str, heads: tuple[str, ...]) -> list[str]:
    files = sorted(str(f.resolve()) for head in heads for f in (groups / split / head).glob("part-*.parquet"))
    if not files:
        raise RankerArtifactError(f"{groups} has no groups to {split} {', '.join(heads)}: more specs are needed.")
    return files


def _loop(config: dict[str, Any]) -> None:
    """What each worker runs."""
    import ray.train
    from ray.train.lightgbm import get_network_params

    os.nice(5)
    params = Params(**config)
    context = ray.train.get_context()
    network = get_network_params() if context.get_world_size() > 1 else {}
    mine, held_out, whole = _shard("trees"), _shard("held_out"), _shard("whole")
    heads: dict[str, Spec] = {}
    rounds, ndcg10 = {}, {}
    for head in TREE_HEADS:
        train, valid = _of_head(mine, head), _of_head(held_out, head)
        trees, rounds[head], ndcg10[head] = fit_trees(train, valid, params, network)
        heads[head] = Blend(trees, fit_logit(_of_head(whole, head), params), params.share)
    heads[LOGIT_HEAD] = fit_logit(_of_head(whole, LOGIT_HEAD), params)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if context.get_world_rank() == 0:
            fitted = Fitted(heads=heads, rounds=rounds, ndcg10=ndcg10)
            (Path(folder) / "heads.json").write_bytes(msgspec.json.encode(fitted))
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"rows": int(sum(mine["n"].to_pylist()))}, checkpoint=checkpoint)


def _shard(name: str) -> Any:
    """This worker's rows of a dataset as one Arrow table."""
    import pyarrow as pa
    import ray.train

    batches = ray.train.get_dataset_shard(name).iter_batches(batch_size=None, batch_format="pyarrow")
    return pa.concat_tables([batch for batch in batches if batch.num_rows])


def _of_head(table: Any, head: str) -> dataset.Groups:
    import pyarrow.compute as pc

    return dataset.from_table(table.filter(pc.equal(table["head"], head)))


if __name__ == "__main__":
    from train import fit as module  # not __main__: Ray's workers import what they run

    typer.run(module._child)
