"""Fits the ranker's heads from query groups, through Ray Train on Ray Data.

For the first call of a session: a conditional logit (McFadden 1974) whose weights keep the feature
table's signs, since trees bend to the generator where there is only a prompt. Where there is a
history: LightGBM LambdaRank (Burges 2010), small trees, monotone where the table knows a direction,
stopped early on specs held out from training, blended with such a logit. Groups are rows, so every
worker gets whole ones. Called by `train/default_model.py`; calibration is not made here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pipeline.errors import RankerArtifactError
from pipeline.ranking.ranker import Blend, Logit, Spec, Trees
from pipeline.ranking.table import FEATURES, NAMES
from train import dataset

Array = np.ndarray[Any, np.dtype[Any]]
TREE_HEADS = ("prompt_history", "history_only")
LOGIT_HEAD = "prompt_only"


@dataclasses.dataclass(frozen=True, slots=True)
class Params:
    """How the heads are fitted; the defaults come from a small sweep on specs held out from training."""

    leaves: int = 15
    rate: float = 0.06
    rounds: int = 250
    patience: int = 40  # rounds without a better NDCG@3 on held-out specs
    min_rows: int = 80  # of a leaf
    feature_fraction: float = 0.6
    bagging_fraction: float = 0.8
    l2: float = 10.0
    truncation: int = 10
    monotone: bool = True
    share: float = 0.5  # of the trees in a blended head
    logit_rate: float = 0.03
    logit_steps: int = 160
    logit_l2: float = 3e-4
    seed: int = 7
    threads: int = 1  # of LightGBM in each worker


@dataclasses.dataclass(frozen=True, slots=True)
class Fitted:
    """Heads as the artefact stores them, and how the fit went."""

    heads: dict[str, Spec]
    rounds: dict[str, int]
    ndcg3: dict[str, float]  # of the trees on held-out specs


def fit(groups: Path, params: Params | None = None, workers: int = 1) -> Fitted:
    """Fits all heads on the groups under `groups` with `workers` Ray Train workers; blocks for minutes.

    Uses the Ray it finds started, else starts a private one and stops it.
    """
    import ray
    from ray.train import CheckpointConfig, DataConfig, RunConfig, ScalingConfig
    from ray.train.lightgbm import LightGBMTrainer

    params = params or Params()
    with _ray(workers) as scratch:
        tables = {
            "trees": _files(groups, "train", TREE_HEADS),
            "logit": _files(groups, "train", (LOGIT_HEAD, *TREE_HEADS)),
            "held_out": _files(groups, "valid", TREE_HEADS),
        }
        trainer = LightGBMTrainer(
            _loop,
            train_loop_config=dataclasses.asdict(params),
            scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            datasets={name: ray.data.read_parquet(files) for name, files in tables.items() if files},
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
    return sorted(str(f.resolve()) for head in heads for f in (groups / split / head).glob("part-*.parquet"))


@contextlib.contextmanager
def _ray(workers: int) -> Iterator[Path]:
    """A folder for the run's checkpoints, and a Ray to run on: the one that is there, else a private one."""
    import ray

    scratch = Path(tempfile.mkdtemp(prefix="osr-", dir="/tmp"))  # short: Ray puts unix sockets under it
    own = not ray.is_initialized()
    try:
        if own:
            os.environ["RAY_AUTH_MODE"] = "disabled"  # it listens on loopback, for minutes
            os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
            ray.init(
                num_cpus=workers + 2,  # of Ray's count: tasks of Ray Data run beside the workers
                include_dashboard=False,
                object_store_memory=2 * 1024**3,
                log_to_driver=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(scratch / "ray"),
            )
        yield scratch
    finally:
        if own:
            ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


def _loop(config: dict[str, Any]) -> None:
    """What each worker runs."""
    import ray.train
    from ray.train.lightgbm import get_network_params

    params = Params(**config)
    context = ray.train.get_context()
    network = get_network_params() if context.get_world_size() > 1 else {}
    mine, held_out, whole = _shard("trees"), _shard("held_out"), _shard("logit")
    heads: dict[str, Spec] = {}
    rounds, ndcg3 = {}, {}
    for head in TREE_HEADS:
        train, valid = _of_head(mine, head), _of_head(held_out, head)
        trees, rounds[head], ndcg3[head] = fit_trees(train, valid, params, network)
        heads[head] = Blend(trees, fit_logit(_of_head(whole, head), params), params.share)
    heads[LOGIT_HEAD] = fit_logit(_of_head(whole, LOGIT_HEAD), params)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if context.get_world_rank() == 0:
            fitted = Fitted(heads=heads, rounds=rounds, ndcg3=ndcg3)
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


def fit_trees(
    train: dataset.Groups, valid: dataset.Groups, params: Params, network: dict[str, Any] | None = None
) -> tuple[Trees, int, float]:
    """LambdaRank on `train`: the head, its rounds, and its NDCG@3 on `valid`.

    `network` are LightGBM's parameters of a group of workers, each with groups of its own; `valid` is then the same
    on all of them, so that all stop at the same round.
    """
    import lightgbm

    settings = {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [3],
        "num_leaves": params.leaves,
        "learning_rate": params.rate,
        "min_data_in_leaf": params.min_rows,
        "feature_fraction": params.feature_fraction,
        "bagging_fraction": params.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": params.l2,
        "lambdarank_truncation_level": params.truncation,
        "seed": params.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": params.threads,
        "verbosity": -1,
    }
    if params.monotone:
        settings["monotone_constraints"] = [feature.direction for feature in FEATURES]
    if network:
        settings |= {"tree_learner": "data", "pre_partition": True, "time_out": 2, **network}
    data = lightgbm.Dataset(train.x, label=train.y, group=train.sizes, feature_name=list(NAMES), free_raw_data=True)
    callbacks: list[Any] = []
    sets = []
    if len(valid):
        sets = [lightgbm.Dataset(valid.x, label=valid.y, group=valid.sizes, reference=data, feature_name=list(NAMES))]
        callbacks = [lightgbm.early_stopping(params.patience, verbose=False)]
    booster = lightgbm.train(settings, data, params.rounds, valid_sets=sets, callbacks=callbacks)
    best = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
    text = booster.model_to_string(num_iteration=best)
    score = float(booster.best_score["valid_0"]["ndcg@3"]) if sets else float("nan")
    if network:
        booster.free_network()
    return Trees(model=text.split("\nparameters:", 1)[0] + "\n"), best, score


def fit_logit(groups: dataset.Groups, params: Params) -> Logit:
    """Conditional logit on groups with one answer each: softmax over the group of a sum of weighted features.

    Features are scaled by their standard deviation, missing values count as the mean, constant columns are left
    out. A weight never takes the sign that the feature table rules out (projected Adam, full batch).
    """
    x = groups.x
    starts = np.concatenate([[0], np.cumsum(groups.sizes)[:-1]])
    with np.errstate(invalid="ignore"):
        known = ~np.isnan(x)
        count = known.sum(axis=0)
        center = np.where(count > 0, np.nansum(x, axis=0, dtype=np.float64) / np.maximum(count, 1), 0.0)
        spread = np.sqrt(np.where(known, (x - center) ** 2, 0.0).sum(axis=0) / np.maximum(count, 1))
    used = np.flatnonzero((count > 0.02 * len(x)) & (spread > 1e-3))
    z = np.where(known[:, used], (x[:, used] - center[used]) / spread[used], 0.0).astype(np.float32)
    direction = np.array([feature.direction for feature in FEATURES])[used]
    target = (groups.y > 0).astype(np.float32)
    owner = np.repeat(np.arange(len(groups)), groups.sizes)

    weights = np.zeros(len(used))
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, params.logit_steps + 1):
        raw = z @ weights.astype(np.float32)
        e = np.exp(raw - np.maximum.reduceat(raw, starts)[owner])
        p = e / np.add.reduceat(e, starts)[owner]
        gradient = (z.T @ (p - target)).astype(np.float64) / len(groups) + params.logit_l2 * weights
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        move = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        weights -= params.logit_rate * move
        weights = np.where(
            direction > 0, np.maximum(weights, 0), np.where(direction < 0, np.minimum(weights, 0), weights)
        )
    kept = [i for i in range(len(used)) if abs(weights[i]) > 1e-4]
    return Logit(
        features=tuple(NAMES[used[i]] for i in kept),
        center=tuple(round(float(center[used[i]]), 6) for i in kept),
        scale=tuple(round(float(spread[used[i]]), 6) for i in kept),
        weights=tuple(round(float(weights[i]), 6) for i in kept),
    )
