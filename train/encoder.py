"""The linear map behind the packaged encoder: prompts come near to the operations that serve them.

    python -m train.encoder --specs FOLDER --written train/sessions --out pipeline/models/encoder.safetensors

The encoder's weights stay as they are; a map v + up down' v of low rank, the same for prompts and cards, is
fitted on the hand-written sessions of the specs to train on: all operations of a session count as what its prompt
asks for, the others of the same API do not (multi-positive InfoNCE; A. van den Oord et al., "Representation
Learning with Contrastive Predictive Coding", 2018). It comes before `train/default_model.py`, whose ranker
learns from vectors so mapped. Vectors stay under `--work`, so that a second run encodes nothing twice.
"""

from __future__ import annotations

import dataclasses
import math
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from pipeline import settings as configuration
from pipeline.catalog.embed import Encoder, Map, operation_card
from train import bootstrap, corpus, recorded
from train.synthesize import progress_bar

_console = Console(stderr=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Params:
    """How the map is fitted; tuned on sessions of specs held out and on the evaluation cases."""

    rank: int = 16
    steps: int = 300
    rate: float = 3e-3
    temperature: float = 0.05
    l2: float = 0.03  # on up down', so that what the encoder knows is kept where the sessions say nothing
    specs: int = 8  # of a step
    prompts: int = 24  # of one of them at most
    others: int = 100  # operations that none of the prompts asks for, of a large API
    seed: int = 7


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """The written sessions of one spec."""

    cards: np.ndarray  # [n_operations, n_dims] float32, unit length
    prompts: np.ndarray  # [n_prompts, n_dims] float32, unit length
    wanted: tuple[tuple[int, ...], ...]  # of each prompt: the operations of its session


def main(
    specs: Annotated[Path, typer.Option(help="Folder of OpenAPI documents (JSON) that sessions name.")],
    written: Annotated[Path, typer.Option(help="Hand-written sessions (*.jsonl).")] = Path("train/sessions"),
    out: Annotated[Path, typer.Option(help="Where the map goes.")] = Path("pipeline/models/encoder.safetensors"),
    work: Annotated[Path, typer.Option(help="Folder for vectors.")] = Path("var/default-model"),
    seed: Annotated[int, typer.Option(help="As for the ranker: it splits the specs.")] = 7,
) -> None:
    """Fit the linear map behind the packaged encoder."""
    from safetensors.numpy import save_file

    os.nice(5)
    tasks = read_tasks(written, specs, work, seed)
    fitted = fit(tasks, Params(seed=seed))
    save_file({"down": fitted.down.astype(np.float16), "up": fitted.up.astype(np.float16)}, out)
    prompts = sum(len(task.prompts) for task in tasks)
    _console.print(f"{out}: rank {fitted.up.shape[1]}, from {prompts:,} prompts of {len(tasks)} specs")


def read_tasks(written: Path, specs: Path, work: Path, seed: int) -> list[Task]:
    """The written sessions of the specs to train on, encoded without a map."""
    settings = configuration.load()
    told = recorded.read_sessions(
        written, specs, limits=settings.parse, split_of=lambda name: corpus.split_of(name, seed)
    )
    known = [
        (catalog, sessions)
        for spec, catalog, sessions in told
        if spec.split == "train" and not corpus.EVALUATION_FAMILIES.search(spec.name)
    ]
    encoder = Encoder(settings.embedder, with_map=False)
    texts = [operation_card(o) for catalog, _ in known for o in catalog.operations]
    texts += [session.prompt for _, sessions in known for session in sessions]
    with progress_bar() as bar:
        task = bar.add_task("encode cards and prompts", total=None)
        vectors = bootstrap.Vectors.encode(
            texts,
            encoder,
            work / "vectors" / encoder.name,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    tasks = []
    for catalog, sessions in known:
        place = {operation.key: i for i, operation in enumerate(catalog.operations)}
        tasks.append(
            Task(
                cards=vectors.of([operation_card(o) for o in catalog.operations]),
                prompts=vectors.of([s.prompt for s in sessions]),
                wanted=tuple(tuple(place[key] for key in dict.fromkeys(s.operations)) for s in sessions),
            )
        )
    return tasks


def fit(tasks: Sequence[Task], params: Params) -> Map:
    """The map under which the prompts of `tasks` find their operations among those of the same API."""
    import torch
    from torch.nn.functional import normalize

    rng = random.Random(params.seed)
    generator = torch.Generator().manual_seed(params.seed)
    dims = tasks[0].cards.shape[1]
    up = torch.zeros(dims, params.rank, requires_grad=True)
    down = (torch.randn(dims, params.rank, generator=generator) / math.sqrt(dims)).requires_grad_()
    optimiser = torch.optim.Adam([up, down], lr=params.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, params.steps)
    for _ in range(params.steps):
        loss = params.l2 * (up @ down.T).square().sum()
        for _ in range(params.specs):
            cards, prompts, target = (torch.from_numpy(a) for a in _sample(rng.choice(tasks), params, rng))
            cards, prompts = (normalize(v + (v @ down) @ up.T, dim=1) for v in (cards, prompts))
            scores = torch.log_softmax(prompts @ cards.T / params.temperature, dim=1)
            loss = loss - (target * scores).sum(dim=1).mean() / params.specs
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return Map(down=down.detach().numpy(), up=up.detach().numpy())


def _sample(task: Task, params: Params, rng: random.Random) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cards, prompts, and of each prompt the share of each card in what it asks for; float32."""
    asked = rng.sample(range(len(task.prompts)), min(params.prompts, len(task.prompts)))
    wanted = {i for p in asked for i in task.wanted[p]}
    rest = [i for i in range(len(task.cards)) if i not in wanted]
    kept = sorted(wanted | set(rng.sample(rest, min(params.others, len(rest)))))
    column = {operation: j for j, operation in enumerate(kept)}
    target = np.zeros((len(asked), len(kept)), dtype=np.float32)
    for row, p in enumerate(asked):
        target[row, [column[i] for i in task.wanted[p]]] = 1.0 / len(task.wanted[p])
    return task.cards[kept], task.prompts[asked], target


if __name__ == "__main__":
    typer.run(main)
