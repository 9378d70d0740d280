"""One parameter of the fit at a time: what each is worth on specs that nothing was fitted on.

    python -m train.sweep var/default-model/groups [--cases EVAL/dev --specs EVAL/specs]

Fits the heads in this process for every variation of `Params` below, and prints hit@1 / hit@3 on the validation
specs, walked and hand-written sessions apart, and on evaluation cases where they are given. The values in
`train/heads.py` were chosen with it; differences under two points are noise.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from pipeline import settings as configuration
from pipeline.ranking import measures
from pipeline.ranking.ranker import Blend, Ranker, uncalibrated
from pipeline.ranking.table import HEADS, Head
from train import dataset
from train.cases import read_cases
from train.evaluate import evaluate
from train.heads import Params, fit_logit, fit_trees, with_prior
from train.predictors import LocalPredictor

VARIATIONS: dict[str, tuple[Any, ...]] = {
    "leaves": (8, 31),
    "rounds": (125, 400),
    "monotone": (False,),
    "truncation": (4,),
    "min_rows": (40, 200),
    "feature_fraction": (0.4, 1.0),
    "share": (0.3, 1.0),
    "prior": (0.0, 0.1, 0.4),
    "network": (0.0, 2.0),
    "seed": (8, 9),
}
_console = Console()


def sweep(
    groups: Annotated[Path, typer.Argument(help="Groups of `train.default_model`.")],
    only: Annotated[list[str] | None, typer.Option(help="Parameters to vary; all of them by default.")] = None,
    cases: Annotated[Path | None, typer.Option(help="Evaluation cases.")] = None,
    specs: Annotated[Path | None, typer.Option(help="Their specs.")] = None,
) -> None:
    """Print what each variation of the fit's parameters reaches."""
    os.nice(5)
    held = {head: dataset.read(groups, "valid", head) for head in HEADS}
    table = Table("variation", *(f"{head}\nwalked | written{' | cases' if cases else ''}" for head in HEADS))
    for name, params in variations(only):
        ranker = uncalibrated("sweep", {head: fit_head(groups, head, params) for head in HEADS})
        cells = {head: measure(ranker, held[head], head) for head in HEADS}
        if cases is not None and specs is not None:
            report = evaluate(read_cases([cases]), LocalPredictor(configuration.load(), specs, ranker))
            for variant, by_suite in report.cells["ranker"].items():
                values = by_suite["macro"].values
                cells[_head(variant)] += f" | {values['hit@1']:.3f}/{values['hit@3']:.3f}"
        table.add_row(name, *(cells[head] for head in HEADS))
        _console.print(name, cells)
    _console.print(table)


def variations(only: list[str] | None) -> Iterator[tuple[str, Params]]:
    """The parameters as they are, then with one changed at a time."""
    unknown = set(only or ()) - set(VARIATIONS)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: one of {', '.join(VARIATIONS)}", param_hint="--only")
    yield "as they are", Params()
    for name, values in VARIATIONS.items():
        if not only or name in only:
            for value in values:
                yield f"{name} {value}", dataclasses.replace(Params(), **{name: value})


def fit_head(groups: Path, head: Head, params: Params) -> Blend:
    """One head, in this process."""
    train = dataset.read(groups, "train", head)
    trees, _, _ = fit_trees(train, dataset.read(groups, "valid", head), params)
    return Blend(trees, with_prior(fit_logit(train, params), head, params), params.share)


def measure(ranker: Ranker, held: dataset.Groups, head: Head) -> str:
    """hit@1/hit@3 on groups: walked, then hand-written ones."""
    ranks = np.array(
        [
            float(size) if answer < 0 else measures.rank_of(ranker.score(matrix, head).raw, int(answer))
            for matrix, answer, size in zip(held.matrices(), held.answers, held.operations, strict=True)
        ]
    )
    parts = (ranks[held.weights == 1.0], ranks[held.weights != 1.0])
    return " | ".join("/".join(f"{np.mean(part <= k):.3f}" for k in (1, 3)) if len(part) else "-" for part in parts)


def _head(variant: str) -> Head:
    return next(head for head in HEADS if head == variant)


if __name__ == "__main__":
    typer.run(sweep)
