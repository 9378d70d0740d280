"""Tunes the generator on what users did and on synthetic sessions, through Ray Train on transformers.

Pairs are made (`train/pairs.py`), workers learn from them (`train/tuning.py`), the result is laid where vLLM finds it
(`generator.lora`, or `generator.model` with `--rank 0`), and MLflow keeps the run.
A worker that is killed is replaced and all go on from the last checkpoint; a job that was ended goes on when it is
started again with the same arguments. Everything Ray Train stores lies under `--work`, which all nodes must reach.
Without `--model` a small new one is made (`train/blank.py`) and trained from scratch.

    python -m train.generator --model MODEL --out FOLDER --corpus FOLDER [--journal] [--gpu] [--workers N]
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import itertools
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from pipeline import settings as configuration
from pipeline.candidates import smollm
from pipeline.catalog.compile import compiler_version
from pipeline.errors import BadRequest, OpenSesameError
from pipeline.settings import Settings
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.journal import Journal
from pipeline.stores.registry import Registry
from pipeline.stores.state import State
from pipeline.types import Catalog
from train import blank, pairs, tuning
from train.bootstrap import Vectors
from train.cluster import connected
from train.tuning import Tuning

_FAILURES = 3  # workers that may be lost
_TOLD_STEPS = 10  # between two points of the loss curve
_PROMPTS = 1.0  # weight of the prompts' own tokens in the loss of a new model
_STATE, _RESULT, _MODEL = "state.pt", "result.json", "model"


class Result(msgspec.Struct, frozen=True):
    """What a tuning came to."""

    steps: int
    curve: tuple[tuple[int, float], ...]  # step -> mean loss of the steps since the point before
    resumed: tuple[int, ...]  # steps at which it went on after a worker was lost
    choices: tuple[tuple[int, float], ...]  # step -> share of held-out pairs in which the right option is chosen
    ranker: float  # the same share, by the ranker alone
    judged: int
    trained: int  # pairs that fitted


def tune(folder: Path, out: Path, work: Path, how: Tuning, workers: int, gpu: bool) -> Result:
    """Tunes `how.model` on the pairs under `folder`, into `out`; blocks for as long as it takes.

    Runs on the Ray that this process is connected to. With `gpu` each worker has one.

    Raises:
        BadRequest: there is nothing to learn from.
        OpenSesameError: more workers were lost than are replaced, or the model cannot be tuned.
    """
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    told = {"tuning": dataclasses.asdict(how), "pairs": str(folder.resolve())}
    # Named by all that it depends on: started again, it goes on; started otherwise, it is another run.
    name = hashlib.sha256(repr((told, pairs.content_hash(folder), workers)).encode()).hexdigest()[:12]
    trainer = TorchTrainer(
        _loop,
        train_loop_config=told,
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=gpu, resources_per_worker={"CPU": 1, "GPU": int(gpu)}
        ),
        run_config=RunConfig(
            name=f"tune-{name}",
            storage_path=str(work.resolve()),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(max_failures=_FAILURES),
        ),
    )
    try:
        checkpoint = trainer.fit().checkpoint
    except TrainingFailedError as error:
        raise OpenSesameError(f"The tuning of {how.model} failed: {error}") from error
    if checkpoint is None:
        raise OpenSesameError("The tuning ended without a checkpoint.")
    with checkpoint.as_directory() as kept:
        result = msgspec.json.decode((Path(kept) / _RESULT).read_bytes(), type=Result)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(Path(kept) / _MODEL, out)
    shutil.rmtree(work / f"tune-{name}", ignore_errors=True)
    return result


def _loop(config: dict[str, Any]) -> None:
    """What each worker runs."""
    import ray.train
    import torch
    from ray.train.torch import get_device, prepare_model

    os.nice(5)
    how = Tuning(**config["tuning"])
    context = ray.train.get_context()
    place, workers, device = context.get_world_rank(), context.get_world_size(), get_device()
    torch.manual_seed(how.seed)
    model, tokenizer = tuning.load(how)
    known = tuning.examples(pairs.read(Path(config["pairs"]), "train"), tokenizer, how)
    # Of all that is held out a part spread evenly; at checkpoints every fourth of them.
    valid = pairs.read(Path(config["pairs"]), "valid")
    held = tuning.examples(valid[:: max(1, len(valid) // how.judged)][: how.judged], tokenizer, how)
    if not known:
        raise BadRequest("No pair fits into tokens_max.")
    total = tuning.steps(len(known), how, workers)
    model.to(device)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=how.rate, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: tuning.rate(step, total))
    done, resumed = 0, list[int]()
    curve, choices = list[tuple[int, float]](), list[tuple[int, float]]()
    last = ray.train.get_checkpoint()
    if last is not None:
        with last.as_directory() as folder:
            saved = torch.load(Path(folder) / _STATE, map_location="cpu")
        tuning.restore(model, saved["weights"])
        optimizer.load_state_dict(saved["optimizer"])
        scheduler.load_state_dict(saved["scheduler"])
        done, curve, choices = saved["done"], saved["curve"], saved["choices"]
        resumed = [*saved["resumed"], done]
    parallel = prepare_model(model, move_to_device=False)

    def judge(some: list[tuning.Example]) -> None:
        choices.append((done, _right(model, some, tokenizer, device, how, place, workers)))

    def kept() -> dict[str, Any]:
        return {"done": done, "curve": curve, "resumed": resumed, "choices": choices}

    if not choices:
        judge(held)
    model.train()
    some, size = list[float](), how.batch * how.accumulate
    for at, taken in enumerate(tuning.order(len(known), total, size * workers, how.seed)):
        if at < done:
            continue
        mine = [known[i] for i in taken[place::workers]]
        batches = [mine[i : i + how.batch] for i in range(0, size, how.batch)]
        some.append(tuning.step(parallel, optimizer, batches, device, how))
        scheduler.step()
        done = at + 1
        if done % _TOLD_STEPS == 0 or done == total:
            curve.append((done, sum(some) / len(some)))
            some.clear()
        if done % how.checkpoint_steps == 0 and done < total:
            judge(held[::4])
            _report(place, curve, lambda folder: _keep(folder, kept(), model, optimizer, scheduler))
    judge(held)
    ranker = sum(one.ranked == one.option for one in held) / max(1, len(held))
    result = Result(total, tuple(curve), tuple(resumed), tuple(choices), ranker, len(held), len(known))

    def finish(folder: Path) -> None:
        (folder / _RESULT).write_bytes(msgspec.json.encode(result))
        _keep(folder, kept(), model, optimizer, scheduler)  # for one that is ended just now
        tuning.save(model, tokenizer, how, folder / _MODEL)

    _report(place, curve, finish)


def _keep(folder: Path, kept: dict[str, Any], model: Any, optimizer: Any, scheduler: Any) -> None:
    import torch

    state = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save({"weights": tuning.state(model), **state, **kept}, folder / _STATE)


def _report(place: int, curve: list[tuple[int, float]], fill: Any) -> None:
    """Tells Ray Train how far it is, with a checkpoint that `fill` puts into a folder; the first worker's counts."""
    import ray.train

    with tempfile.TemporaryDirectory(prefix="osr-") as folder:
        checkpoint = None
        if place == 0:
            fill(Path(folder))
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        told = {"step": curve[-1][0], "loss": curve[-1][1]} if curve else {"step": 0}
        ray.train.report(told, checkpoint=checkpoint)


def _right(model: Any, held: Any, tokenizer: Any, device: Any, how: Tuning, place: int, workers: int) -> float:
    """Share of the held-out examples in which the model chooses right; each worker looks at its own."""
    import torch

    model.eval()
    mine, right = held[place::workers], 0
    for start in range(0, len(mine), how.batch):
        batch = mine[start : start + how.batch]
        picked = tuning.chosen(model, batch, tokenizer, device, how)
        right += sum(option == one.option for option, one in zip(picked, batch, strict=True))
    model.train()
    counts = torch.tensor([right, len(mine)], device=device, dtype=torch.float64)
    if workers > 1:
        torch.distributed.all_reduce(counts)
    return float(counts[0] / counts[1]) if counts[1] else 0.0


def make_pairs(
    corpora: list[Path], vectors: Path | None, var: Path | None, settings: Settings, seed: int, folder: Path
) -> tuple[Counter[str], Counter[str]]:
    """Writes the pairs of corpora, and of the journal under `var`; how many of each split, and what gave none and why.

    Raises:
        BadRequest: nothing is left to learn from, or to judge by.
    """
    lost: Counter[str] = Counter()
    kept = None if vectors is None else Vectors(vectors)
    with contextlib.ExitStack() as stack:
        made = [pairs.of_corpus(corpus, kept, settings, seed, lost) for corpus in corpora]
        if var is not None:
            journal = Journal.at(settings.journal, var)
            catalogs = stack.enter_context(_catalogs(journal, settings, var))
            made.append(pairs.of_journal(journal, catalogs.get, settings, seed, lost))
        counts = pairs.write(itertools.chain.from_iterable(made), folder)
    if not counts["train"] or not counts["valid"]:
        why = ", ".join(f"{count} {reason}" for reason, count in lost.most_common()) or "there is none"
        raise BadRequest(f"There are {counts['train']} pairs to train on and {counts['valid']} to judge by: {why}.")
    return counts, lost


@contextlib.contextmanager
def _catalogs(journal: Journal, settings: Settings, var: Path) -> Iterator[Mapping[str, Catalog]]:
    """The catalogs that the journal's groups were predicted in, as far as the state still has them."""
    digests: set[str] = set()
    for batch in journal.groups(columns=("digest",)):
        digests.update(batch["digest"].to_pylist())

    async def fetch(state: State) -> dict[str, Catalog]:
        try:
            found = {digest: await state.catalogs.get_catalog(compiler_version(), digest) for digest in sorted(digests)}
        finally:
            await state.close()
        return {digest: msgspec.msgpack.decode(data, type=Catalog) for digest, data in found.items() if data}

    with contextlib.ExitStack() as stack:
        url = settings.state.url
        if url == "embedded":
            url = stack.enter_context(EmbeddedRedis(var, settings.state.redis_server)).url
        yield asyncio.run(fetch(State(settings.state, url)))


def _new(folder: Path, work: Path, settings: Settings, seed: int) -> Path:
    """A model that knows nothing, its tokenizer made of the pairs; the same when a run is started again."""
    texts = (message["content"] for pair in pairs.read(folder, "train") for message in pair.messages)
    return blank.make(work / "blank", texts, seed=seed, folds=settings.generator.mode == "logprob")


def main(
    out: Annotated[Path, typer.Option(help="Folder for the adapter, or with --rank 0 for the model; replaced.")],
    model: Annotated[
        str,
        typer.Option(help="What is tuned: a folder or a hub name, as generator.model takes it; none: a new small one."),
    ] = "",
    corpus: Annotated[list[Path] | None, typer.Option(help="Folder that `opensesame synthesize` wrote.")] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Folder of the corpora's vectors; none: shortlists by words.")
    ] = None,
    journal: Annotated[bool, typer.Option("--journal", help="Learn from the journal of --var too.")] = False,
    var: Annotated[Path, typer.Option(help="Folder of the state: journal, registry, Redis data.")] = Path("var"),
    work: Annotated[Path, typer.Option(help="Folder for pairs and checkpoints, which every node reaches.")] = Path(
        "var/generator"
    ),
    rank: Annotated[int, typer.Option(min=0, help="Of the adapter; 0 tunes every weight.")] = 16,
    epochs: Annotated[float, typer.Option(min=0.0, help="How often each pair is learnt from.")] = 1.0,
    batch: Annotated[int, typer.Option(min=1, help="Pairs of a worker in memory at once.")] = 4,
    accumulate: Annotated[int, typer.Option(min=1, help="Such batches of a step.")] = 4,
    rate: Annotated[float, typer.Option(help="Learning rate at its highest.")] = 2e-4,
    judged: Annotated[int, typer.Option(min=1, help="Held-out pairs that choices are counted on.")] = 512,
    checkpoint_steps: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 100,
    workers: Annotated[int, typer.Option(min=1, help="Workers of Ray Train.")] = 1,
    gpu: Annotated[bool, typer.Option("--gpu", help="A GPU for each worker, and bfloat16.")] = False,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="Also without a GPU: half as fast again on processors that have it.")
    ] = False,
    ray: Annotated[str, typer.Option(help="Address of a Ray cluster; none: one of its own on this machine.")] = "",
    seed: Annotated[int, typer.Option()] = 7,
    config: Annotated[
        str, typer.Option(help="Configuration that the result will serve under: a name or a path.")
    ] = "local-vllm",
) -> None:
    """Tune the generator's language model."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    try:
        settings = configuration.under(configuration.load(config), var)
        folder, prompts = work / "pairs", 0.0
        counts, lost = make_pairs(corpus or [], vectors, var if journal else None, settings, seed, folder)
        if not model:
            model, rank = str(_new(folder, work, settings, seed)), 0
            prompts = _PROMPTS
        how = Tuning(
            model=str(Path(model).resolve()) if Path(model).is_dir() else smollm.weights(model),
            mode=settings.generator.mode,
            rank=rank,
            epochs=epochs,
            batch=batch,
            accumulate=accumulate,
            rate=rate,
            prompts=prompts,
            tokens_max=settings.generator.max_model_len,
            judged=judged,
            checkpoint_steps=checkpoint_steps,
            seed=seed,
            bfloat16=gpu or bfloat16,
        )
        with connected(ray, workers + 1):
            result = tune(folder, out, work, how, workers, gpu)
        params = {f"tuning_{name}": value for name, value in dataclasses.asdict(how).items()}
        params |= {"data": pairs.content_hash(folder), "workers": workers, "gpu": gpu, "out": str(out)}
        params |= {f"pairs_{split}": count for split, count in counts.items()}
        params |= {f"lost {reason}": count for reason, count in lost.items()} | {"resumed": list(result.resumed)}
        before, after = result.choices[0][1], result.choices[-1][1]
        metrics = {"choice/before": before, "choice/after": after, "choice/ranker": result.ranker}
        metrics["choice/pairs"] = float(result.judged)
        curves = {"loss": result.curve, "choice": result.choices}
        run = Registry(settings.registry).record(f"generator-{out.name}", params, metrics, curves)
    except OpenSesameError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error.detail}", style="red", highlight=False)
        raise typer.Exit(1) from None
    console.print(
        f"{out}: {result.steps} steps on {result.trained:,} pairs, right choices {before:.3f} -> {after:.3f} "
        f"of {result.judged} held-out pairs, {result.ranker:.3f} by the ranker alone; MLflow run {run}"
    )


if __name__ == "__main__":
    from train import generator as module  # not __main__: Ray's workers import what they run

    typer.run(module.main)
