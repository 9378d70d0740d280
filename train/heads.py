"""What is learnt: one head of the ranker from query groups in memory, without Ray.

LightGBM LambdaRank (Burges 2010): small trees, monotone where the feature table knows a direction,
stopped early on specs held out from training. Conditional logit (McFadden 1974): weights that keep
the table's signs. Called by each worker of `train/fit.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pipeline.ranking.prior import HAND_WEIGHTS
from pipeline.ranking.ranker import Logit, Trees
from pipeline.ranking.table import FEATURES, NAMES, Head
from train import dataset

_BLOCK_ROWS = 65_536  # that are scaled at once


@dataclasses.dataclass(frozen=True, slots=True)
class Params:
    """How the heads are fitted."""

    leaves: int = 15
    rate: float = 0.06
    rounds: int = 250
    min_rounds: int = 200  # the held-out specs are content before: other APIs lose a point with 100 and five with 20
    patience: int = 60  # rounds without a better NDCG@10 on held-out specs
    min_rows: int = 80  # of a leaf
    feature_fraction: float = 0.6
    bagging_fraction: float = 0.8
    l2: float = 10.0
    truncation: int = 10
    monotone: bool = True
    share: float = 0.9  # of the trees in a blended head
    prior: float = 0.2  # of the declared order, in raw score: it steadies both where an API is unlike the others
    network: float = 1.0  # of its log-probability, in raw score: trees learn of networks that saw fewer providers
    anchor: float = 3000.0  # groups that a logit's start counts as where it goes on learning
    logit_rate: float = 0.03
    logit_steps: int = 160
    logit_l2: float = 3e-4
    logit_groups: int = 10_000  # at least so many, where there are more in many files: its weights are a hundred
    seed: int = 7
    threads: int = 1  # of LightGBM in each worker


class Network:
    """LightGBM's network of a group of workers, joined once for all that they fit together.

    A fit that leaves it cannot be followed by another: the port stays taken for a minute. LightGBM leaves with the
    booster that joined, so that one is kept. Fits that come later only have to know how many they are.
    """

    def __init__(self, parameters: dict[str, Any] | None = None) -> None:
        """`parameters` are LightGBM's of this worker; none for a worker that is alone."""
        self._parameters = parameters or {}
        self._joined: Any = None

    def settings(self) -> dict[str, Any]:
        """What the next fit is told."""
        if not self._parameters:
            return {}
        joining = self._parameters if self._joined is None else {"num_machines": self._parameters["num_machines"]}
        return {"tree_learner": "data", "pre_partition": True, "time_out": 2, **joining}

    def keep(self, booster: Any) -> None:
        """After a fit: `booster` is what came of it."""
        self._joined = self._joined or booster

    def leave(self) -> None:
        if self._parameters and self._joined is not None:
            self._joined.free_network()


def fit_trees(
    train: dataset.Groups,
    valid: dataset.Groups,
    params: Params,
    network: Network | None = None,
    start: Trees | None = None,
) -> tuple[Trees, int, float]:
    """LambdaRank on `train`, in front of it the trees of `start`: the head, its rounds, and its NDCG@10 on `valid`.

    With a `network` every worker has groups of its own; `valid` is then the same on all of them, so that all stop at
    the same round.
    """
    import lightgbm

    settings = {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [10],
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
    network = network or Network()
    settings |= network.settings()
    data = lightgbm.Dataset(
        train.x, label=train.y, group=train.sizes, weight=_weights(train), feature_name=list(NAMES), free_raw_data=True
    )
    callbacks: list[Any] = []
    sets = []
    if len(valid):
        sets = [
            lightgbm.Dataset(
                valid.x,
                label=valid.y,
                group=valid.sizes,
                weight=_weights(valid),
                reference=data,
                feature_name=list(NAMES),
            )
        ]
        callbacks = [lightgbm.early_stopping(max(params.patience, params.min_rounds), verbose=False)]
    before = lightgbm.Booster(model_str=start.model) if start is not None else None
    booster = lightgbm.train(
        settings,
        data,
        params.rounds,
        valid_sets=sets,
        callbacks=callbacks,
        init_model=before,
        keep_training_booster=True,  # otherwise it comes back cut at its best round, whatever `min_rounds` says
    )
    best = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
    best = min(max(best, params.min_rounds), booster.current_iteration())
    text = booster.model_to_string(num_iteration=best)
    score = float(booster.best_score["valid_0"]["ndcg@10"]) if sets else float("nan")
    booster.model_from_string(text).free_dataset()  # what is learnt from goes: the booster may be kept
    network.keep(booster)
    return Trees(model=text.split("\nparameters:", 1)[0] + "\n"), best, score


def _weights(groups: dataset.Groups) -> Any:
    """Each row's weight, None where all groups count the same."""
    return None if (groups.weights == 1.0).all() else np.repeat(groups.weights, groups.sizes)


def fit_logit(groups: dataset.Groups, params: Params) -> Logit:
    """Conditional logit on groups with one answer each: softmax over the group of a sum of weighted features.

    Features are scaled by their standard deviation, missing values count as the mean, constant columns are left
    out. A weight never takes the sign that the feature table rules out (projected Adam, full batch).
    """
    x = groups.x
    starts = np.concatenate([[0], np.cumsum(groups.sizes)[:-1]])
    blocks = [x[i : i + _BLOCK_ROWS] for i in range(0, len(x), _BLOCK_ROWS)]  # what is made of all rows is `z` alone
    with np.errstate(invalid="ignore"):
        count = sum((~np.isnan(block)).sum(axis=0) for block in blocks)
        center = sum(np.nansum(block, axis=0, dtype=np.float64) for block in blocks) / np.maximum(count, 1)
        spread = np.sqrt(sum(np.nansum((block - center) ** 2, axis=0) for block in blocks) / np.maximum(count, 1))
    used = np.flatnonzero((count > 0.02 * len(x)) & (spread > 1e-3))
    z = np.empty((len(x), len(used)), dtype=np.float32)
    for i, block in enumerate(blocks):
        scaled = (block[:, used] - center[used]) / spread[used]
        z[i * _BLOCK_ROWS : i * _BLOCK_ROWS + len(block)] = np.where(np.isnan(block[:, used]), 0.0, scaled)
    direction = np.array([feature.direction for feature in FEATURES])[used]
    target = (groups.y > 0).astype(np.float32)
    owner = np.repeat(np.arange(len(groups)), groups.sizes)

    counts = (groups.weights / groups.weights.sum())[owner].astype(np.float32)
    weights = np.zeros(len(used))
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, params.logit_steps + 1):
        raw = z @ weights.astype(np.float32)
        e = np.exp(raw - np.maximum.reduceat(raw, starts)[owner])
        p = e / np.add.reduceat(e, starts)[owner]
        gradient = (z.T @ ((p - target) * counts)).astype(np.float64) + params.logit_l2 * weights
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


def with_prior(logit: Logit, head: Head, params: Params) -> Logit:
    """`logit` plus the declared linear order of `head` and the network's column, as much as `params` say of each.

    A sum of weighted features again. Both count in the blended score, of which the logit is a small share.
    """
    share = max(1.0 - params.share, 1e-9)
    added = {name: params.prior * hand / share for name, hand in HAND_WEIGHTS[head].items()}
    added["network"] = added.get("network", 0.0) + params.network / share
    column = {name: i for i, name in enumerate(logit.features)}
    weights, more = list(logit.weights), []
    for name, value in added.items():
        if name in column:
            weights[column[name]] += value * logit.scale[column[name]]
        else:
            more.append((name, value))
    return Logit(
        features=(*logit.features, *(name for name, _ in more)),
        center=(*logit.center, *(0.0 for _ in more)),
        scale=(*logit.scale, *(1.0 for _ in more)),
        weights=tuple(round(w, 6) for w in (*weights, *(w for _, w in more))),
    )
