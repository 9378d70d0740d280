"""The adapter of the packaged encoder: prompts come near to the operations that serve them.

    python -m train.encoder --specs FOLDER --written train/sessions --out pipeline/models/encoder

Low-rank changes of the encoder's attention and feed-forward layers (LoRA; E. Hu et al., "LoRA: Low-Rank Adaptation of
Large Language Models", 2021), the same for prompts and cards, are fitted on the hand-written sessions of the specs to
train on: all operations of a session count as what its prompt asks for, the others of the same API do not (multi-
positive InfoNCE; A. van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018). It
comes before `train/default_model.py`, whose ranker learns from vectors so changed. An adapter knows the specs that it
was fitted on better than others, and a ranker must not believe it more than it deserves on an API never seen: what it
trains on has the vectors of further adapters, in `--work`, each of which never saw the providers of one fold (cross-
fitting). Vectors stay there too, so that a second run encodes nothing twice.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import random
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
import typer
from rich.console import Console

from pipeline import settings as configuration
from pipeline.catalog.embed import ADAPTER, Encoder, operation_card
from train import bootstrap, corpus, recorded
from train.synthesize import progress_bar

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel

_console = Console(stderr=True)
_MODULES = [  # of every layer
    "query",
    "key",
    "value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
]
_BATCH = 32  # texts of one pass
_CHANCE = threading.Lock()  # torch's generator is everybody's: where an adapter begins is drawn by one at a time


@dataclasses.dataclass(frozen=True, slots=True)
class Params:
    """How the adapter is fitted; tuned on sessions of specs held out and on the evaluation cases."""

    rank: int = 16
    alpha: int = 32  # what is learned counts alpha / rank
    steps: int = 1200
    specs: int = 2  # of a step
    prompts: int = 16  # of one of them at most
    cards: int = 36  # operations of one of them, those that its prompts ask for among them
    rate: float = 7e-4
    temperature: float = 0.05
    keep: float = 1.0  # on the change of every cosine, so that what the encoder knows is kept
    decay: float = 0.01
    seed: int = 7


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """The written sessions of one spec."""

    provider: str
    cards: tuple[str, ...]
    prompts: tuple[str, ...]
    wanted: tuple[tuple[int, ...], ...]  # of each prompt: the operations of its session


def main(
    specs: Annotated[Path, typer.Option(help="Folder of OpenAPI documents (JSON) that sessions name.")],
    written: Annotated[Path, typer.Option(help="Hand-written sessions (*.jsonl).")] = Path("train/sessions"),
    out: Annotated[Path, typer.Option(help="Folder that the adapter goes to.")] = ADAPTER,
    work: Annotated[Path, typer.Option(help="Folder for vectors.")] = Path("var/default-model"),
    folds: Annotated[int, typer.Option(help="Adapters that each never saw the providers of one fold; 0: none.")] = 2,
    seed: Annotated[int, typer.Option(help="As for the ranker: it splits the specs.")] = 7,
    workers: Annotated[int, typer.Option(help="Threads.")] = 2,
) -> None:
    """Fit the adapter of the packaged encoder."""
    os.nice(5)
    settings = configuration.load()
    plain = Encoder(settings.embedder.model_copy(update={"threads": workers}), adapter=None)
    tasks = read_tasks(written, specs, settings.parse, seed)
    texts = [text for task in tasks for text in (*task.cards, *task.prompts)]
    with progress_bar() as bar:
        encoding = bar.add_task("encode cards and prompts", total=None)
        vectors = bootstrap.Vectors.encode(
            texts,
            plain,
            work / "vectors" / plain.name,
            lambda done, total: bar.update(encoding, completed=done, total=total),
        )
        bar.update(encoding, completed=1, total=1)
        params = Params(seed=seed)
        parts: dict[Path, list[Task]] = {out: tasks}
        for fold in range(folds):
            seen = [task for task in tasks if corpus.fold_of(task.provider, folds, seed) != fold]
            parts[adapters_of(work) / str(fold)] = seen
        shutil.rmtree(adapters_of(work), ignore_errors=True)
        exact = settings.embedder.model_copy(update={"threads": max(1, workers // len(parts)), "dtype": "float32"})
        with ThreadPoolExecutor(workers) as pool:  # side by side: threads do less for one
            jobs = []
            for number, (folder, some) in enumerate(parts.items()):
                name = "the adapter" if not number else f"one of {len(parts) - 1} without some providers"
                steps = max(1, params.steps * len(some) // len(tasks))
                told = functools.partial(bar.update, bar.add_task(f"fit {name}", total=steps))
                its = dataclasses.replace(params, steps=steps)
                jobs.append(pool.submit(fit, some, vectors, Encoder(exact, adapter=None), its, folder, told))
            for job in jobs:
                job.result()
    prompts = sum(len(task.prompts) for task in tasks)
    _console.print(f"{out}: rank {params.rank}, from {prompts:,} prompts of {len(tasks)} specs")


def adapters_of(work: Path) -> Path:
    """Where the adapters are that never saw the providers of a fold, each in a folder of the fold's number."""
    return work / "adapters"


def read_tasks(written: Path, specs: Path, limits: configuration.Parse, seed: int) -> list[Task]:
    """The written sessions of the specs to train on."""
    told = recorded.read_sessions(written, specs, limits=limits, split_of=lambda name: corpus.split_of(name, seed))
    tasks = []
    for spec, catalog, sessions in told:
        if spec.split != "train" or corpus.EVALUATION_FAMILIES.search(spec.name):
            continue
        place = {operation.key: i for i, operation in enumerate(catalog.operations)}
        tasks.append(
            Task(
                provider=spec.provider,
                cards=tuple(operation_card(o) for o in catalog.operations),
                prompts=tuple(s.prompt for s in sessions),
                wanted=tuple(tuple(place[key] for key in dict.fromkeys(s.operations)) for s in sessions),
            )
        )
    return tasks


def fit(
    tasks: Sequence[Task],
    vectors: bootstrap.Vectors,
    encoder: Encoder,
    params: Params,
    out: Path,
    progress: Callable[..., object] = lambda completed: None,
) -> None:
    """Write the adapter under which the prompts of `tasks` find their operations among those of the same API.

    `vectors` are what the encoder without adapter gives for the texts. `encoder` is it in float32, in which small steps
    add up; it multiplies in bfloat16, is changed by this and of no use afterwards.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.nn.functional import log_softmax

    rng = random.Random(params.seed)
    config = LoraConfig(r=params.rank, lora_alpha=params.alpha, target_modules=_MODULES)
    with _CHANCE:
        torch.manual_seed(params.seed)
        model = get_peft_model(cast("PreTrainedModel", encoder.model[0].auto_model), config)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=params.rate, weight_decay=params.decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step / params.steps))
    for step in range(params.steps):
        for _ in range(params.specs):
            cards, prompts, target = _sample(rng.choice(tasks), params, rng)
            before = [torch.from_numpy(vectors.of(texts)) for texts in (prompts, cards)]
            # The cache of what was cast is everybody's: what another thread clears of it would be added up otherwise.
            with torch.autocast(encoder.model.device.type, torch.bfloat16, cache_enabled=False):
                prompt, card = _vectors(encoder.model, prompts), _vectors(encoder.model, cards)
            scores = prompt @ card.T
            wanted = -(torch.from_numpy(target) * log_softmax(scores / params.temperature, dim=1)).sum(dim=1).mean()
            moved = (card @ card.T - before[1] @ before[1].T).square().mean()
            moved = moved + (scores - before[0] @ before[1].T).square().mean()
            ((wanted + params.keep * moved) / params.specs).backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        progress(completed=step + 1)
    _save(model, out)


def _rate(share: float) -> float:
    """Of the learning rate, `share` of the way: up over the first 6 %, then down along a cosine."""
    return min(1.0, share / 0.06 + 0.02) * 0.5 * (1 + math.cos(math.pi * share))


def _sample(task: Task, params: Params, rng: random.Random) -> tuple[list[str], list[str], np.ndarray]:
    """Cards, prompts, and of each prompt the share of each card in what it asks for; float32."""
    asked: list[int] = []
    wanted: set[int] = set()
    for prompt in rng.sample(range(len(task.prompts)), min(params.prompts, len(task.prompts))):
        if not asked or len(wanted.union(task.wanted[prompt])) <= params.cards - 4:
            asked.append(prompt)
            wanted.update(task.wanted[prompt])
    rest = [i for i in range(len(task.cards)) if i not in wanted]
    kept = sorted(wanted | set(rng.sample(rest, min(max(0, params.cards - len(wanted)), len(rest)))))
    column = {operation: j for j, operation in enumerate(kept)}
    target = np.zeros((len(asked), len(kept)), dtype=np.float32)
    for row, prompt in enumerate(asked):
        target[row, [column[i] for i in task.wanted[prompt]]] = 1.0 / len(task.wanted[prompt])
    return [task.cards[i] for i in kept], [task.prompts[i] for i in asked], target


def _vectors(model: SentenceTransformer, texts: Sequence[str]) -> torch.Tensor:
    """Unit vectors [n_texts, n_dims] that know what they were made of; texts of like length in one pass."""
    import torch
    from torch.nn.functional import normalize

    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = [
        model(model.preprocess([texts[i] for i in order[start : start + _BATCH]]))["sentence_embedding"].float()
        for start in range(0, len(order), _BATCH)
    ]
    return normalize(torch.cat(parts)[torch.tensor(order).argsort()], dim=1)


def _save(model: PeftModel, out: Path) -> None:
    config: Any = model.peft_config["default"]
    config.base_model_name_or_path = "all-MiniLM-L6-v2"  # not the folder it lies in here
    config.target_modules = _MODULES  # a set until now, which has no order
    model.half().save_pretrained(str(out), save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)  # a form that nobody filled in
    (out / "adapter_model.safetensors").chmod(0o644)


if __name__ == "__main__":
    typer.run(main)
