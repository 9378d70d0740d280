"""Goal regression: which operations produce what the prompt's goals still need.

A prompt names the goal; the next call is often the one that finds an identifier the goal requires. Goals
are the operations that match the prompt best; producers of their unmet needs score by goal, grade and
whether they could run now; and the same once more for the producers' own needs. Called by `retrieve.py`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from pipeline.catalog.relations import Relations
from pipeline.catalog.session import Session
from pipeline.catalog.wish import Wish

_GOALS = 12
_PRODUCERS = 10
_CALLED = 0.3  # what a goal is still worth once it was called
_HAD = 0.3  # below this a need is unmet
_NOT_READY, _WRITE = 0.3, 0.3  # a producer that cannot run yet; one that changes something


@dataclasses.dataclass(frozen=True, slots=True)
class Goals:
    """What the goals ask of each operation; float32 [n_operations], 0..1."""

    producer: np.ndarray
    producer_2: np.ndarray
    parent: np.ndarray


def find_goals(relations: Relations, session: Session, wish: Wish, state: np.ndarray) -> Goals:
    """Producers for the prompt's goals, producers for those, and the operations whose paths lead to a goal.

    `state` is float32 [n_keys]: how surely session or prompt give a value of each entity.
    """
    weight = ((wish.match + wish.residue) / 2) ** 3
    called = session.history[session.history >= 0]
    weight[called] *= _CALLED
    weight = _share(weight)
    goals = _best(weight, _GOALS)

    ready, _ = relations.ready(state)
    able = (_NOT_READY + (1 - _NOT_READY) * ready) * np.where(relations.verb == 0, 1.0, _WRITE).astype(np.float32)
    producer = _produce(relations, state, goals, weight) * able
    producer_2 = _produce(relations, state, _best(producer, _PRODUCERS), _share(producer)) * able

    reach = np.zeros(relations.nodes + 1, dtype=np.float32)  # the last one is for paths without segments
    for goal in goals.tolist():
        above = relations.ancestors(goal)
        reach[above] = np.maximum(reach[above], weight[goal])
    parent = np.where(relations.depth > 0, reach[relations.node], 0.0).astype(np.float32)
    return Goals(producer.astype(np.float32), producer_2.astype(np.float32), parent)


def _produce(relations: Relations, state: np.ndarray, goals: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Best over goals of weight x the share of the goal's unmet needs that each operation supplies."""
    e = relations.entities
    best = np.zeros(relations.size, dtype=np.float32)
    for goal in goals.tolist():
        unmet = [key for key in e.needs(goal).tolist() if state[key] < _HAD]
        if not unmet:
            continue
        share = float(weight[goal]) / len(unmet)
        if len(unmet) == 1:
            rows, grades = e.makers(unmet[0])
            best[rows] = np.maximum(best[rows], share * grades)
            continue
        supplied = np.zeros(relations.size, dtype=np.float32)
        for key in unmet:
            rows, grades = e.makers(key)
            supplied[rows] += share * grades
        np.maximum(best, supplied, out=best)
    return best


def _share(weight: np.ndarray) -> np.ndarray:
    return weight / max(float(weight.max(initial=0.0)), 1e-6)


def _best(weight: np.ndarray, most: int) -> np.ndarray:
    """Indices of the `most` highest positive weights, ties in document order."""
    if len(weight) > most:
        least = np.partition(weight, len(weight) - most)[len(weight) - most]
        some = np.flatnonzero((weight >= least) & (weight > 0))
    else:
        some = np.flatnonzero(weight > 0)
    return some[np.argsort(-weight[some], kind="stable")][:most]
