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
from pipeline.errors import BadRequest, OpenSesameError
from pipeline.ranking import measures
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
    """The baselines of all specs, each made once."""

    def __init__(self, cases: Sequence[Case], specs: Specs) -> None:
        specs.prepare(cases)
        self._specs = specs
        self._markov = Markov(cases, specs)
        self._baselines: dict[str, Baselines] = {}

    def add(self, tally: Tally, case: Case) -> None:
        compiled = self._specs.compiled(case.spec)
        if case.spec not in self._baselines:
            self._baselines[case.spec] = Baselines(compiled.catalog, compiled.vectors)
        vector, last = self._specs.vector(case.prompt), self._specs.last(case)
        scores = self._baselines[case.spec].scores(case.prompt or "", vector, last)
        scores["markov"] = self._markov.scores(case, len(compiled.catalog.operations))
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
    ranker: Annotated[
        str,
        typer.Option(help="A saved ranker, or 'cold-start' for the declared linear order; '' is the configured one."),
    ] = "",
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Give each case a prompt of another one.")] = False,
    recall: Annotated[bool, typer.Option("--recall", help="Also measure each source of the shortlist.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write everything measured here as JSON.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw a chart here.")] = None,
    config: Annotated[str, typer.Option(help="A name in configs/ or a path.")] = "local",
) -> None:
    """Measure predictions on cases, beside the baselines."""
    from rich.console import Console

    try:
        for file in (json, png):
            if file is not None:  # before the work, not after it
                file.parent.mkdir(parents=True, exist_ok=True)
        report = _report(cases, specs, url, ranker, shuffle, recall, config)
        if json is not None:
            json.write_bytes(orjson.dumps(dataclasses.asdict(report), option=orjson.OPT_INDENT_2))
        if png is not None:
            from train.chart import draw

            draw(report, png)
    except OpenSesameError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error.detail}", style="red", highlight=False)
        raise typer.Exit(1) from None
    console = Console(width=width(report))
    console.print(f"ranker {report.ranker}" + (f" at {url}" if url else ""), highlight=False)
    for table in tables(report):
        console.print(table)


def _report(
    files: Sequence[Path], folder: Path, url: str, ranker: str, shuffle: bool, recall: bool, config: str
) -> Report:
    """What `run` was asked for; its progress goes to stderr."""
    from rich.console import Console
    from rich.progress import Progress

    from pipeline.ranking import ranker as rankers

    settings = configuration.load(config)
    chosen = rankers.cold_start() if ranker == rankers.COLD_START else None
    if ranker and chosen is None:
        try:
            chosen = rankers.Ranker.load_text(Path(ranker).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BadRequest(f"The ranker {ranker} cannot be read: {error}.") from error
    predictor: LocalPredictor | ServerPredictor
    predictor = ServerPredictor(url, Specs(settings, folder)) if url else LocalPredictor(settings, folder, chosen)
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


if __name__ == "__main__":
    typer.run(run)
