"""Cases become measures: how often the true next call stands where it should, beside the baselines.

Three tasks are counted apart (a prompt alone, prompt and history, history alone), per suite and as the
mean over suites; every operation of the spec is a candidate, what is not in the shortlist stands last,
ties count against us. With and without the guard that holds destructive operations back. Arguments are
measured given the right operation, whether or not it was ranked first.
`python -m train.evaluate` runs it in process or against a server; `opensesame evaluate` calls it.
"""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import orjson
import typer

from pipeline import settings as configuration
from pipeline.catalog.embed import operation_card
from pipeline.errors import BadRequest, OpenSesameError
from pipeline.ranking import measures
from pipeline.ranking import ranker as rankers
from pipeline.ranking.ranker import Ranker
from train import slots
from train.baselines import Baselines, Markov, expected_random
from train.cases import Case, read_cases
from train.predictors import LocalPredictor, Predictor, ServerPredictor, Specs
from train.report import DEPTH, KS, Report, Tally, columns, tables, width

__all__ = ["KS", "LocalPredictor", "Report", "ServerPredictor", "evaluate", "run", "shuffle_prompts", "tables"]


def evaluate(
    cases: Sequence[Case],
    predictor: Predictor,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Measures of `predictor` on `cases`, and of the baselines where it says where the specs are.

    Raises:
        BadRequest: no cases, or an answer that is no operation of its spec.
    """
    if not cases:
        raise BadRequest("There are no cases to evaluate.")
    tally = Tally()
    guarded_only = not isinstance(predictor, LocalPredictor)
    floors = None if predictor.specs is None else _Floors(cases, predictor.specs)
    for done, case in enumerate(cases):
        ranking = predictor.rank(case)
        tally.add_ranking(case, ranking, guarded_only)
        if predictor.specs is not None and case.next_params is not None and ranking.params is not None:
            tally.add_slots(case, slots.count(case, predictor.specs.operation(case), ranking.params), guarded_only)
        tally.add("random", case, expected_random(ranking.catalog_size, KS, DEPTH))
        if floors is not None:
            floors.add(tally, case)
        progress(done + 1, len(cases))
    return tally.report(predictor.version)


class _Floors:
    """The baselines of all specs, each made once. They have learnt nothing: the encoder is the one that came."""

    def __init__(self, cases: Sequence[Case], specs: Specs) -> None:
        specs.prepare(cases)
        self._specs, self._encoder = specs, specs.plain()
        self._markov = Markov(cases, specs)
        self._baselines: dict[str, Baselines] = {}
        prompts = list(dict.fromkeys(case.prompt for case in cases if case.prompt))
        self._prompts = {} if self._encoder is None else dict(zip(prompts, self._encoder.encode(prompts), strict=True))

    def add(self, tally: Tally, case: Case) -> None:
        catalog, _ = self._specs.parsed(case.spec)
        if case.spec not in self._baselines:
            cards = [operation_card(operation) for operation in catalog.operations]
            vectors = None if self._encoder is None else self._encoder.encode(cards)
            self._baselines[case.spec] = Baselines(catalog, vectors)
        vector, last = self._prompts.get(case.prompt or ""), self._specs.last(case)
        scores = self._baselines[case.spec].scores(case.prompt or "", vector, last)
        scores["markov"] = self._markov.scores(case, len(catalog.operations))
        wanted = self._specs.index(case)
        for name, one in scores.items():
            tally.add(name, case, columns(measures.rank_of(one, wanted)))


def shuffle_prompts(cases: Sequence[Case], seed: int = 0) -> list[Case]:
    """The cases with the prompts of each suite dealt out anew, to other groups where there are any."""
    rng = random.Random(seed)
    prompts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for case in cases:
        if case.prompt:
            prompts[case.suite].append((case.group, case.prompt))
    out = []
    for case in cases:
        if case.prompt:
            others = [p for group, p in prompts[case.suite] if group != case.group]
            case = msgspec.structs.replace(case, prompt=rng.choice(others)) if others else case
        out.append(case)
    return out


def run(
    cases: Annotated[
        list[Path],
        typer.Argument(
            exists=True, help="Files of cases (JSON lines) or of sessions (NAME.sessions.jsonl), or folders."
        ),
    ],
    specs: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of the specs that they name.")],
    url: Annotated[str, typer.Option(help="A running service; without it the pipeline runs in this process.")] = "",
    api_key: Annotated[str, typer.Option(envvar="OPENSESAME_API_KEY", help="Key of that service.")] = "",
    ranker: Annotated[
        str,
        typer.Option(help="A saved ranker, or 'cold-start' for the declared linear order; '' is the configured one."),
    ] = "",
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Give each case a prompt of another one.")] = False,
    recall: Annotated[bool, typer.Option("--recall", help="Also measure each source of the shortlist.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything measured as JSON instead of tables.")] = False,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="Write everything measured here as JSON.")] = None,
    prequential: Annotated[
        bool,
        typer.Option("--prequential", help="Tell the cases one after the other, and show how use makes it better."),
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Orders of --prequential.")] = 5,
    flipped: Annotated[float, typer.Option(min=0, max=1, help="Share of wrong feedback in --prequential.")] = 0.0,
    drift: Annotated[int, typer.Option(min=0, help="Events of --prequential after which all habits change.")] = 0,
    chooser: Annotated[
        float | None, typer.Option(min=0, max=1, help="Play a generator in --prequential that is so often right.")
    ] = None,
    png: Annotated[Path | None, typer.Option(dir_okay=False, help="Draw a chart here.")] = None,
    config: Annotated[str, typer.Option(help="A name in configs/ or a path.")] = "local",
) -> None:
    """Measure predictions on cases, beside the baselines."""
    from rich.console import Console

    try:
        for file in (out, png):
            if file is not None:  # before the work, not after it
                try:
                    file.parent.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise BadRequest(f"{file} cannot be written: {error.strerror or error}.") from None
        if prequential:
            _tell(cases, specs, url, ranker, config, seeds, flipped, drift, chooser, json, out, png)
            return
        report = _report(cases, specs, url, api_key, ranker, shuffle, recall, config)
        whole = orjson.dumps(dataclasses.asdict(report), option=orjson.OPT_INDENT_2)
        if out is not None:
            out.write_bytes(whole)
        if png is not None:
            from train.chart import draw

            draw(report, png)
    except OpenSesameError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error.detail}", style="red", highlight=False)
        raise typer.Exit(1) from None
    if json:
        print(whole.decode())
        return
    console = Console(width=width(report))
    console.print(f"ranker {report.ranker}" + (f" at {url}" if url else ""), highlight=False)
    for table in tables(report):
        console.print(table)


def _report(
    files: Sequence[Path], folder: Path, url: str, api_key: str, ranker: str, shuffle: bool, recall: bool, config: str
) -> Report:
    """What `run` was asked for; its progress goes to stderr."""
    from rich.console import Console
    from rich.progress import Progress

    settings = configuration.load(config)
    chosen = _ranker(ranker)
    predictor: LocalPredictor | ServerPredictor
    if url:
        predictor = ServerPredictor(url, Specs(settings, folder), api_key)
    else:
        predictor = LocalPredictor(settings, folder, chosen)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("cases", total=None)
        asked = read_cases(files, predictor.specs)
        asked = shuffle_prompts(asked) if shuffle else asked
        report = evaluate(asked, predictor, lambda done, total: bar.update(task, completed=done, total=total))
        if recall:
            from train.recall import by_source

            task = bar.add_task("sources", total=None)
            sources = by_source(
                asked, predictor.specs, lambda done, total: bar.update(task, completed=done, total=total)
            )
            report = dataclasses.replace(report, sources=sources)
    return report


def _tell(
    files: Sequence[Path],
    folder: Path,
    url: str,
    ranker: str,
    config: str,
    seeds: int,
    flipped: float,
    drift: int,
    chooser: float | None,
    json: bool,
    out: Path | None,
    png: Path | None,
) -> None:
    """What `run --prequential` was asked for."""
    from rich.console import Console
    from rich.progress import Progress

    from pipeline.ranking.ranker import serving
    from train import prequential

    if url:
        raise typer.BadParameter(
            "--prequential is told in this process: leave --url away; `make lift` measures a service."
        )
    settings = configuration.load(config)
    chosen = _ranker(ranker) or serving(settings.ranker.artifact)
    specs = Specs(settings, folder)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("streams", total=None)
        asked = read_cases(files, specs)
        specs.prepare(asked)
        suites = prequential.curves(
            asked,
            prequential.Teller(settings, specs, chosen),
            seeds,
            flipped=flipped,
            drift=drift,
            chooser=chooser,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    whole = orjson.dumps({s: prequential.figures(t) for s, t in suites.items()}, option=orjson.OPT_INDENT_2)
    if json:
        print(whole.decode())
    else:
        console = Console(width=100)
        console.print(f"ranker {chosen.version}", highlight=False)
        for suite, streams in suites.items():
            console.print(prequential.table(suite, streams))
            console.print(prequential.summary(streams), highlight=False, soft_wrap=True)
    if out is not None:
        out.write_bytes(whole)
    if png is not None:
        prequential.draw(suites, png)


def _ranker(name: str) -> Ranker | None:
    """The ranker asked for; None for the configured one.

    Raises:
        BadRequest: it cannot be read.
    """
    if not name:
        return None
    if name == rankers.COLD_START:
        return rankers.cold_start()
    try:
        return rankers.Ranker.load_text(Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"The ranker {name} cannot be read: {error}.") from error


if __name__ == "__main__":
    typer.run(run)
