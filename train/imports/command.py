"""`opensesame import`: recorded traffic becomes a corpus, and what became of each request is said.

Recognises the format, reads the spec, and leaves matching to `train/recorded.py`; registered by the
command line. With `--learn` the sessions are lived through (`train/imports/learn.py`). Nothing is written where nothing
matched, and with `--dry-run` nothing at all.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table
from rich.text import Text

from opensesame_client.retry import address
from pipeline import settings as configuration
from pipeline.catalog.compile import content_digest
from pipeline.catalog.fetch import canonical_url
from pipeline.errors import BadRequest
from pipeline.settings import Settings, packaged_spec
from pipeline.types import Source
from train import corpus, recorded
from train.imports.formats import READERS, recognise
from train.imports.learn import Made, here, there
from train.imports.recording import Recording
from train.imports.spec import read as read_spec
from train.recorded import Tally, Target, Targets

_SHOWN = 10  # of what did not match
_TELLING = 200  # foretold calls, of whose last quarter a rate says something
_RATES = {
    "hit@1": "rightly, at rank 1",
    "hit@5": "among the first five",
    "hit@1_last_quarter": "at rank 1 in the last quarter, when the others were known",
}


class Format(enum.StrEnum):
    """Formats of recordings, as `formats.READERS` has them."""

    jsonl = "jsonl"
    har = "har"
    access_log = "access-log"
    postman = "postman"
    spans = "spans"


class Split(enum.StrEnum):
    """How sessions are dealt to train, valid and test."""

    train = "train"
    provider = "provider"


def run(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Recordings: JSON lines, HAR, access logs, Postman, OTLP spans.")],
    spec: Annotated[str, typer.Option(help="An OpenAPI file, its URL, or the name of a packaged example.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for sessions.parquet and catalogs.parquet; older ones are replaced.")
    ] = None,
    format: Annotated[Format | None, typer.Option(help="Format of the files; else it is recognised.")] = None,
    specs: Annotated[Path | None, typer.Option(help="Folder of the specs that rows of JSON lines name.")] = None,
    host: Annotated[
        list[str] | None, typer.Option(help="Take requests to this host (* is any text); else those of the spec.")
    ] = None,
    split: Annotated[
        Split, typer.Option(help="All sessions to train, or by provider as synthetic ones.")
    ] = Split.train,
    seed: Annotated[int, typer.Option(help="Of --split provider.")] = 7,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would match.")] = False,
    learn: Annotated[
        bool,
        typer.Option("--learn", help="Live through the sessions: counts move at once, the next training has them."),
    ] = False,
    catalog: Annotated[
        str, typer.Option(help="With --learn: the name that a service knows the spec by, if neither example nor URL.")
    ] = "",
    url: Annotated[str, typer.Option(help="With --learn: a running service; else the state under --var learns.")] = "",
    var: Annotated[Path, typer.Option(help="Folder of the state, as given to serve.")] = Path("var"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    config: Annotated[str, typer.Option(help="Configuration: a name in configs/ or a path to a YAML file.")] = "local",
) -> None:
    """Import recorded sessions, matched to the operations of a spec."""
    if out is None and not dry_run and not learn:
        raise typer.BadParameter(
            "Say where the sessions go with --out, or --learn from them, or look first with --dry-run."
        )
    if url:
        address(url)  # before the work, not after it
    settings = configuration.load(config)
    tally = Tally()

    def split_of(provider: str) -> str:
        return corpus.split_of(provider, seed) if split is Split.provider else "train"

    given = _target(spec, settings, host or [], split_of) if spec else None
    targets = Targets(settings.parse, given=given, specs=specs, hosts=host or [], split_of=split_of)
    formats: Counter[str] = Counter()
    with Progress(*Progress.get_default_columns()[:2], console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=len(files))

        def read(file: Path) -> Iterator[Recording]:
            name = format.value if format is not None else recognise(file)
            if not name:
                raise BadRequest(f"{file} is in no format we know ({', '.join(READERS)}); say which with --format.")
            formats[name] += 1
            for number, recording in enumerate(READERS[name](file, tally.skipped)):
                if number % 256 == 0:
                    bar.update(task, description=f"{file.name}: {tally.requests:,} requests")
                yield recording
            bar.advance(task)

        made = list(recorded.gather(files, read, targets, tally))
    written = bool(made) and not dry_run and out is not None
    if written and out is not None:
        try:
            corpus.write(made, out)
        except OSError as error:
            raise BadRequest(f"{out} cannot be written: {error.strerror or error}.") from None
    report = summary(tally, made, formats, str(out) if written else None)
    if made and learn and not dry_run:
        api_key = context.find_root().params.get("api_key", "")
        report["learnt"] = _learnt(made, settings, spec, catalog, url, api_key, var)
    if json:
        print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    else:
        show(report, Console(soft_wrap=True, highlight=False))
    if not made and not dry_run:
        hint = ": is it the right spec?" if tally.requests and not tally.matched else "."
        raise BadRequest(f"Nothing was written, for no session could be made of the recordings{hint}")


def _learnt(
    made: Made, settings: Settings, spec: str, catalog: str, url: str, api_key: str, var: Path
) -> dict[str, Any]:
    """What came of living through the sessions."""

    def source_of(name: str, digest: str) -> Source:
        example = packaged_spec(Path(name).stem)
        if catalog or (example is not None and content_digest(example.read_bytes()) == digest):
            return Source(name=catalog or Path(name).stem)
        return Source(url=canonical_url(spec)) if spec.startswith(("http://", "https://")) else Source()

    if catalog and len(made) > 1:
        raise BadRequest("--catalog names one spec; the recordings are of several.")
    with Progress(console=Console(stderr=True), transient=True) as bar:
        total = sum(len(session.calls) for _, _, sessions in made for session in sessions)
        task = bar.add_task("learn", total=total)

        def tell(done: int) -> None:
            bar.update(task, advance=done)

        found = there(made, url, api_key, source_of, tell) if url else here(made, settings, source_of, var, tell)
    return found.json()


def _target(spec: str, settings: Settings, hosts: list[str], split_of: Any) -> Target:
    """The spec that `--spec` names."""
    data, name = read_spec(spec, settings)
    return recorded.open_target(data, name, settings.parse, hosts=hosts, split_of=split_of)


def summary(tally: Tally, made: list[Any], formats: Counter[str], written: str | None) -> dict[str, Any]:
    """What became of everything, as `--json` prints it."""
    return {
        "formats": dict(formats),
        "requests": tally.requests,
        "matched": tally.matched,
        "other_hosts": dict(tally.other_hosts.most_common(_SHOWN)),
        "on_other_hosts": tally.other_hosts.total(),
        "unmatched": [
            {"endpoint": endpoint, "requests": count, "why": why}
            for (endpoint, why), count in tally.unmatched.most_common(_SHOWN)
        ],
        "not_matched": tally.unmatched.total(),
        "no_such_path": sum(count for (_, why), count in tally.unmatched.items() if why == recorded.NO_PATH),
        "skipped": dict(tally.skipped),
        "recordings": tally.recordings,
        "without_session": dict(tally.lost),
        "sessions": tally.sessions,
        "specs": {spec.name: len(sessions) for spec, _, sessions in made},
        "operations_seen": len(tally.operations),
        "operations": dict(tally.operations.most_common(_SHOWN)),
        "written": written,
    }


def show(report: dict[str, Any], console: Console) -> None:
    """The summary as text."""
    requests, matched = report["requests"], report["matched"]
    share = f" ({matched / requests:.0%})" if requests else ""
    console.print(f"{requests:,} requests, {matched:,} matched{share} to {report['operations_seen']:,} operations")
    if report["on_other_hosts"]:
        hosts = ", ".join(f"{host} {count:,}" for host, count in report["other_hosts"].items())
        console.print(f"{report['on_other_hosts']:,} to other hosts (--host takes them): {hosts}")
    for why, count in report["skipped"].items():
        console.print(f"{count:,} entries left out: {why}")
    if report["unmatched"]:
        lacking, other = report["no_such_path"], report["not_matched"] - report["no_such_path"]
        table = Table("requests", Column("no operation of the spec", overflow="fold"), "why")
        table.title = f"{lacking:,} to paths that the spec lacks, {other:,} by methods that a path lacks"
        for row in report["unmatched"]:
            table.add_row(f"{row['requests']:,}", Text(row["endpoint"]), row["why"])
        console.print(table)
    if report["operations"]:
        shown, seen = len(report["operations"]), report["operations_seen"]
        more = f"{shown} of {seen:,} operations" if seen > shown else f"{seen} operations"
        table = Table(
            "requests", Column("operation of the spec", overflow="fold"), title=f"{matched:,} matched to {more}"
        )
        for endpoint, count in report["operations"].items():
            table.add_row(f"{count:,}", Text(endpoint))
        console.print(table)
    for why, count in report["without_session"].items():
        console.print(f"{count:,} recordings gave no session: {why}")
    specs = sorted(report["specs"].items(), key=lambda item: -item[1])
    by_spec = ", ".join(f"{spec} {count:,}" for spec, count in specs[:_SHOWN])
    by_spec += f" and {len(specs) - _SHOWN:,} specs more" if len(specs) > _SHOWN else ""
    place = f": {report['written']}" if report["written"] else "" if "learnt" in report else ", not written"
    console.print(
        f"{report['sessions']:,} sessions of {report['recordings']:,} recordings ({by_spec or 'none'}){place}"
    )
    if "learnt" in report:
        learnt = report["learnt"]
        console.print(
            f"{learnt['calls']:,} calls learnt from, {learnt['known']:,} of them known before; {learnt['foretold']:,}"
            " were foretold first:"
        )
        for name, text in _RATES.items():
            if learnt[name] is not None and (name != "hit@1_last_quarter" or learnt["foretold"] >= _TELLING):
                console.print(f"  {learnt[name]:4.0%} {text}")
