"""`opensesame watch`: follows recorded traffic and says, after each call, what likely comes next.

What a file's requests are, and which hosts are the API's, say the readers that `serve.cli` hands in; here each user's
calls are kept apart, asked about in this process or at a service, and told. Calls that are no operation of the spec are
passed over, and so are those to other hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
import orjson
import typer
from rich.text import Text

from opensesame_client.wire import event
from pipeline import settings as configuration
from pipeline.settings import Settings
from pipeline.types import Call
from serve.ask_commands import name_spec, source_of
from serve.terminal import Config, Spec, Url, ask_through, client, err, errors, out, print_json

_USERS = 10_000  # whose calls are held; the longest silent goes first
_HOSTS = 100  # other hosts that are told of, each once
_HISTORY = 100  # calls of each; a prediction reads no more


class Seen(Protocol):
    """A request of a recording (`train/imports/recording.py`)."""

    @property
    def call(self) -> Call: ...
    @property
    def user(self) -> str: ...
    @property
    def host(self) -> str: ...


Follow = Callable[..., Iterator[Seen]]  # (file, from_start, to_end)
Chooser = Callable[[str, list[str], Settings], Callable[[str], bool]]  # (spec, hosts, settings) -> is a host the API's
Predict = Callable[[dict[str, Any]], dict[str, Any]]


def register(app: typer.Typer, follow: Follow, chooser: Chooser) -> None:
    """Add the command to `app`; `follow` gives the requests of a file as they come, `chooser` tells the API's hosts."""

    @app.command()
    def watch(
        file: Annotated[Path, typer.Argument(help="A HAR file or an access log that something writes to.")],
        spec: Spec = "billing",
        prompt: Annotated[str, typer.Option(help="What the users want, in a sentence.")] = "",
        k: Annotated[int, typer.Option(min=1, max=50, help="How many predictions after each call.")] = 3,
        host: Annotated[
            list[str] | None, typer.Option(help="Take requests to this host (* is any text); else those of the spec.")
        ] = None,
        from_start: Annotated[bool, typer.Option("--from-start", help="Begin with what the file has already.")] = False,
        to_end: Annotated[
            bool, typer.Option("--to-end", help="Read what the file has, and end there instead of waiting for more.")
        ] = False,
        config: Config = "local",
        url: Url = "",
        json: Annotated[bool, typer.Option("--json", help="Print a line of JSON after each call.")] = False,
    ) -> None:
        """Follow a HAR file or an access log as it grows, and print after each call what comes next; Ctrl-C ends it."""
        with errors():
            is_ours = chooser(spec, host or [], configuration.load(config))
            asked: dict[str, Any] = {"k": k} | ({"prompt": prompt} if prompt else {})
            if not to_end:
                err.print(f"Watching {file}; Ctrl-C ends it.", markup=False)
            with _predictor(spec, url, config) as predict:
                seen = follow(file, from_start=from_start or to_end, to_end=to_end)
                for one, answer in _answered(_of(seen, is_ours), predict, asked):
                    if json:
                        told = {"call": one.call.endpoint, "user": one.user, "predictions": answer["predictions"]}
                        print_json(told, line=True)
                    else:
                        _show(one, answer)


def _of(seen: Iterator[Seen], is_ours: Callable[[str], bool]) -> Iterator[Seen]:
    """The requests to the API's hosts; of each other host is told once."""
    others: set[str] = set()
    for one in seen:
        if is_ours(one.host):
            yield one
        elif one.host not in others and len(others) < _HOSTS:
            others.add(one.host)
            err.print(f"left out: requests to {one.host} (--host takes them)", markup=False)


def _answered(seen: Iterator[Seen], predict: Predict, asked: dict[str, Any]) -> Iterator[tuple[Seen, dict[str, Any]]]:
    """Each call that is an operation, with what is foretold after it and its user's calls before."""
    histories: OrderedDict[str, deque[dict[str, Any]]] = OrderedDict()
    for one in seen:
        history = histories.setdefault(one.user, deque(maxlen=_HISTORY))
        histories.move_to_end(one.user)
        if len(histories) > _USERS:
            histories.popitem(last=False)
        history.append(_event(one.call))
        answer = predict({**asked, "events": list(history)})
        if len(history) - 1 in answer["metadata"]["unmatched"]:
            history.pop()
        else:
            yield one, answer


@contextlib.contextmanager
def _predictor(spec: str, url: str, config: str) -> Iterator[Predict]:
    if url:
        named = name_spec(spec)
        with client(url) as service:
            yield lambda body: ask_through(service, "POST", "/predict", orjson.dumps(body | named), "application/json")
        return
    from pipeline.local import LocalStages
    from pipeline.predict import predict
    from pipeline.ranking.ranker import import_lightgbm_alone
    from serve import schemas

    import_lightgbm_alone()
    loaded = configuration.load(config)
    stages, source = LocalStages(loaded), source_of(spec)

    async def tell(body: dict[str, Any]) -> dict[str, Any]:
        query = schemas.to_query(schemas.read_value(body, schemas.PredictRequest), loaded, tenant="local")
        query = msgspec.structs.replace(query, source=source)
        return schemas.answer_json(await predict(query, stages, None, loaded))

    with asyncio.Runner() as runner:
        try:
            yield lambda body: runner.run(tell(body))
        finally:
            runner.run(stages.__aexit__())


def _event(call: Call) -> dict[str, Any]:
    ts = None if call.ts is None else datetime.datetime.fromtimestamp(call.ts, datetime.UTC)
    return event(call.endpoint, params=call.params, status=call.status, body=call.body, ts=ts)


def _show(seen: Seen, answer: dict[str, Any]) -> None:
    line = Text(seen.call.endpoint, style="bold")
    out.print(line.append(f"  {seen.user[:8]}", style="dim"))
    for p in answer["predictions"]:
        params = " ".join(f"{name}={value}" for name, value in p["params"].items())
        row = Text(f"  {p['confidence']:4.0%}  ").append(p["endpoint"], style="red" if p["is_destructive"] else "cyan")
        out.print(row.append(f"  {params}").append(f"  {p['reason']}", style="dim"))
