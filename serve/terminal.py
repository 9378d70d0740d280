"""What all commands share: the two consoles, options, tables, JSON, how a service is asked, and how errors end.

Exit statuses: 0 done, 1 it cannot be done (one line on stderr says why), 2 the command line is wrong, 3 the service
does not answer or asks to come back later, 130 interrupted. Used by `serve/cli.py` and the files of its commands.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

import opensesame_client.errors as client_errors
from opensesame_client import Client, wire
from pipeline.errors import OpenSesameError, Unavailable
from pipeline.settings import resource

FAILED, TRY_AGAIN, INTERRUPTED = 1, 3, 130  # exit statuses; 2 is Typer's, for a wrong command line
SERVICE = "http://127.0.0.1:8000"
_BAR = 10  # characters of a confidence of 1

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)
api_key: ContextVar[str] = ContextVar("api_key", default="")  # of this command line, as its callback read it


def _named(folder: str, suffixes: tuple[str, ...]) -> Callable[[str], list[str]]:
    """What a shell offers for a name in a packaged folder; files it knows by itself."""

    def offered(begun: str) -> list[str]:
        found = {path.stem for path in resource(folder).iterdir() if path.suffix in suffixes and "." not in path.stem}
        return sorted(name for name in found if name.startswith(begun)) or sorted(map(str, Path().glob(f"{begun}*")))

    return offered


Config = Annotated[
    str,
    typer.Option(
        help="Configuration: a name in configs/ or a path to a YAML file.", autocompletion=_named("configs", (".yaml",))
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Var = Annotated[Path, typer.Option(help="Folder of the state, as given to serve.")]
Url = Annotated[str, typer.Option(help="Address of a running service; without it the work is done in this process.")]
Service = Annotated[str, typer.Option(help="Address of the service.")]
Spec = Annotated[
    str,
    typer.Option(
        help="An OpenAPI file, its URL, or the name of a packaged example.",
        autocompletion=_named("examples", (".yaml", ".json")),
    ),
]


def ask(url: str, method: str, path: str, data: bytes | None = None, kind: str = "") -> Any:
    """The JSON that a service answers; what it refuses raises an error of `opensesame_client.errors`."""
    with client(url) as service:
        return ask_through(service, method, path, data, kind)


def ask_through(service: Client, method: str, path: str, data: bytes | None = None, kind: str = "") -> Any:
    """`ask` over a client that stays open."""
    headers = {"content-type": kind} if kind else {}
    is_safe = method != "POST" or path == "/predict"
    return service.send(wire.Request(method, path, lambda found: found, data, headers, is_safe))


def client(url: str) -> Client:
    """A client of the service at `url`, with this command line's key."""
    return Client(url, api_key=api_key.get() or None, deadline_s=60, attempts=3)


def table(*headers: str) -> Table:
    """A table whose cells fold where the screen ends: nothing in them is cut."""
    return Table(*(Column(header, overflow="fold") for header in headers))


def ranked(answer: dict[str, Any]) -> Table:
    """The predictions of an answer of POST /predict, as rows: a call folds only where it is longer than the screen."""
    rows = Table.grid("", "", Column(overflow="fold"), padding=(0, 2))
    for p in answer["predictions"]:
        confidence = p["confidence"]
        bar = Text("█" * max(1, round(confidence * _BAR)), style="green").append(f" {confidence:.2f}", style="dim")
        call = Text(p["endpoint"], style="bold red" if p["is_destructive"] else "bold")
        for name, value in p["params"].items():
            call.append(f"  {name}={value}", style="not bold cyan")
        for name in p["missing_params"]:
            call.append(f"  {name}=?", style="not bold dim")
        rows.add_row(str(p["rank"]), bar, call.append(f"\n{p['reason']}", style="not bold dim default"))
    return rows


def print_json(value: Any, *, line: bool = False) -> None:
    """`value` on stdout, indented, or on one line for those who read lines."""
    print(orjson.dumps(value, option=0 if line else orjson.OPT_INDENT_2).decode(), flush=True)


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Errors that people can mend as one line and an exit status; anything else is a bug and keeps its traceback."""
    try:
        yield
    except OpenSesameError as error:
        _end(_placed(error.detail, error), TRY_AGAIN if isinstance(error, Unavailable) else FAILED)
    except client_errors.WrongAddress as error:
        raise typer.BadParameter(str(error), param_hint="--url") from None
    except client_errors.Unauthorized as error:
        _end(f"{error.status}: {error.detail} Give the key with --api-key or OPENSESAME_API_KEY.", FAILED)
    except (client_errors.Unavailable, client_errors.RateLimited) as error:
        _end(f"{error.status}: {error.detail or error.title}", TRY_AGAIN)
    except client_errors.ProblemError as error:
        _end(f"{error.status}: {_placed(error.detail or error.title, error)}", FAILED)
    except client_errors.OpenSesameError as error:
        _end(str(error), TRY_AGAIN)
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _placed(text: str, error: Any) -> str:
    """`text` with the place in a spec that `error` names."""
    where = getattr(error, "where", "")
    return f"{text.rstrip('.')}, at {where}." if where not in ("", "#") else text


def _end(text: str, status: int) -> None:
    err.print(f"error: {text}", style="red", markup=False)
    sys.exit(status)
