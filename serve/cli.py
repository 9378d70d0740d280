"""`opensesame`: what people type. All but `serve` and `catalogs` runs in this process, without Ray.

Commands of `train/` are declared there and registered here; an error of ours ends each of them in one
line and exit status 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from pipeline import settings as configuration
from pipeline.errors import OpenSesameError
from serve import model_commands
from train.evaluate import run as evaluate
from train.imports.command import run as import_recordings
from train.synthesize import run as synthesize

app = typer.Typer(
    help="Predict the next API call from an OpenAPI spec, past calls and a sentence of intent.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_out = Console(soft_wrap=True)
_err = Console(stderr=True, soft_wrap=True)

Config = Annotated[str, typer.Option(help="Configuration: a name in configs/ or a path to a YAML file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Url = Annotated[str, typer.Option(help="Address of a running service; without it the work is done in this process.")]


@app.command()
def serve(
    config: Config = "local",
    port: Annotated[int, typer.Option(help="HTTP port; 0 takes the configuration's.")] = 0,
    var: Annotated[Path, typer.Option(help="Folder of the state: Redis data, the Ray token.")] = Path("var"),
) -> None:
    """Start everything on this machine; Ctrl-C stops all of it."""
    with _errors():
        settings = configuration.load(config)
        if port:
            settings = settings.model_copy(update={"server": settings.server.model_copy(update={"port": port})})
        from serve.runtime import Runtime, wait_for_signal

        runtime = Runtime(settings, var)
        began = time.monotonic()
        try:
            _err.print("Starting Redis, Ray and the graph ...")
            with wait_for_signal() as stopped:
                runtime.start()
                base = f"http://{settings.server.host}:{settings.server.port}"
                _out.print(f"\nOpenSesame is ready after {time.monotonic() - began:.0f} s.\n")
                _out.print(f"  Service        {base}        (POST /predict)", highlight=False)
                _out.print(f"  API docs       {base}/docs", highlight=False)
                _out.print(f"  Health         {base}/health", highlight=False)
                _out.print(f"  Metrics        {base}/metrics", highlight=False)
                if runtime.dashboard:
                    _out.print(
                        f"  Ray dashboard  {runtime.dashboard}    (token: {runtime.token_file})", highlight=False
                    )
                _out.print("\nCtrl-C stops everything.")
                stopped.wait()
        finally:
            _err.print("Stopping ...")
            runtime.stop()


@app.command()
def predict(
    spec: Annotated[str, typer.Option(help="An OpenAPI file, its URL, or the name of a packaged example.")] = "billing",
    prompt: Annotated[str, typer.Option(help="What the user wants, in a sentence.")] = "",
    call: Annotated[
        list[str] | None, typer.Option(help="A past call, 'METHOD /path'; repeat it, oldest first.")
    ] = None,
    request: Annotated[
        Path | None, typer.Option(help="A JSON file with a body of POST /predict; replaces the other options.")
    ] = None,
    k: Annotated[int, typer.Option(help="How many predictions, 1-50.")] = 5,
    config: Config = "local",
    url: Url = "",
    json: Json = False,
) -> None:
    """Predict the next call, without a server and without Ray."""
    with _errors():
        body: dict[str, Any] = {"k": k, "events": [{"endpoint": c} for c in call or []]}
        if prompt:
            body["prompt"] = prompt
        if request is not None:
            body = orjson.loads(request.read_bytes())
        else:
            _name_spec(body, spec, remote=bool(url))
        answer = _ask(url, body) if url else asyncio.run(_predict_here(body, config))
        if json:
            print(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
            return
        table = Table("rank", "call", "params", "confidence", "reason")
        for p in answer["predictions"]:
            params = " ".join(f"{name}={value}" for name, value in p["params"].items())
            missing = " ".join(f"{name}=?" for name in p["missing_params"])
            shown = " ".join(filter(None, (params, missing)))
            table.add_row(str(p["rank"]), p["endpoint"], shown, f"{p['confidence']:.2f}", p["reason"])
        _out.print(table)
        if answer["metadata"]["degraded"]:
            _err.print("without: " + ", ".join(answer["metadata"]["degraded"]))


@app.command()
def catalogs(
    put: Annotated[Path | None, typer.Option(help="Upload this OpenAPI file under NAME.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the catalog NAME.")] = False,
    name: Annotated[str, typer.Argument(help="Name of a catalog; none lists all.")] = "",
    url: Annotated[str, typer.Option(help="Address of the service.")] = "http://127.0.0.1:8000",
    json: Json = False,
) -> None:
    """List, show, upload or remove catalogs of a running service."""
    with _errors():
        if put is not None and not name:
            raise typer.BadParameter("an upload needs a NAME")
        if put is not None:
            answer = _http(url, "PUT", f"/catalogs/{name}", put.read_bytes(), "application/octet-stream")
        elif remove:
            answer = _http(url, "DELETE", f"/catalogs/{name}")
        else:
            answer = _http(url, "GET", f"/catalogs/{name}" if name else "/catalogs")
        if json or remove:
            print(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
        elif not name:
            table = Table("name", "catalog")
            for row in answer["catalogs"]:
                table.add_row(row["name"], row["catalog"])
            _out.print(table)
        else:
            _out.print(f"{answer['title']} {answer['version']}: {answer['operations']} operations, {answer['catalog']}")
            for warning in answer["warnings"]:
                _err.print(f"warning: {warning}")
            for operation in answer.get("endpoints", []):
                _out.print(f"  {operation['endpoint']}  {operation['summary']}", highlight=False)


@app.command()
def forget(
    user: Annotated[str, typer.Option(help="The user whose data goes, as user_id names them.")],
    tenant: Annotated[str, typer.Option(help="The tenant they belong to.")] = "local",
    config: Config = "local",
    var: Annotated[Path, typer.Option(help="Folder of the state, as given to serve.")] = Path("var"),
    json: Json = False,
) -> None:
    """Remove a user's data from the state and from the journal's files; a running service may go on."""
    with _errors():
        gone = asyncio.run(_forget(user, tenant, config, var))
        if json:
            print(orjson.dumps(gone).decode())
        else:
            _out.print("Gone: " + ", ".join(f"{count} {what}" for what, count in gone.items()), highlight=False)


@app.command("check-config")
def check_config(config: Annotated[str, typer.Argument(help="A name in configs/ or a path.")] = "local") -> None:
    """Load a configuration as `serve` would and print what holds; exit 1 and say why when it cannot be used."""
    with _errors():
        loaded = configuration.load(config)
        print(orjson.dumps(loaded.model_dump(mode="json"), option=orjson.OPT_INDENT_2).decode())


async def _forget(user: str, tenant: str, config: str, var: Path) -> dict[str, int]:
    from pipeline.stores.embedded import EmbeddedRedis
    from pipeline.stores.journal import Journal
    from pipeline.stores.state import State

    loaded = configuration.load(config)
    with contextlib.ExitStack() as stack:
        url = loaded.state.url
        if url == "embedded":
            url = stack.enter_context(EmbeddedRedis(var, loaded.state.redis_server)).url
        state = State(loaded.state, url)
        try:
            return await Journal.at(loaded.journal, var).forget(state, tenant, user)
        finally:
            await state.close()


async def _predict_here(body: dict[str, Any], config: str) -> dict[str, Any]:
    from pipeline.local import LocalStages
    from pipeline.predict import predict as tell
    from serve import schemas

    loaded = configuration.load(config)
    query = schemas.to_query(schemas.read_value(body, schemas.PredictRequest), loaded, tenant="local")
    async with LocalStages(loaded) as stages:
        return schemas.answer_json(await tell(query, stages, None, loaded))


def _name_spec(body: dict[str, Any], spec: str, *, remote: bool) -> None:
    if spec.startswith(("http://", "https://")):
        body["spec_url"] = spec
    elif Path(spec).is_file():
        body["spec"] = Path(spec).read_text()
    elif remote or any(configuration.resource("examples").glob(f"{spec}.*")):
        body["catalog"] = spec
    else:
        raise OpenSesameError(f"There is no spec '{spec}': name an OpenAPI file, its URL or a packaged example.")


def _ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    return _http(url, "POST", "/predict", orjson.dumps(body), "application/json")


def _http(url: str, method: str, path: str, data: bytes | None = None, kind: str = "") -> Any:
    import httpx2

    try:
        headers = {"content-type": kind} if kind else {}
        answer = httpx2.request(method, url.rstrip("/") + path, content=data, headers=headers, timeout=60)
    except httpx2.HTTPError as error:
        raise OpenSesameError(f"{url} does not answer ({type(error).__name__}): is the service running?") from None
    if answer.status_code >= 400:
        detail = answer.json().get("detail", answer.text) if "json" in answer.headers["content-type"] else answer.text
        raise OpenSesameError(f"{answer.status_code}: {detail}")
    return answer.json() if answer.content else {}


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Errors of ours as one line and exit status 1; anything else is a bug and keeps its traceback."""
    try:
        yield
    except OpenSesameError as error:
        _err.print(f"error: {error.detail}", style="red", highlight=False)
        sys.exit(1)
    except orjson.JSONDecodeError as error:
        _err.print(f"error: the file is not JSON: {error}", style="red", highlight=False)
        sys.exit(1)


_TRAINING: dict[str, Callable[..., None]] = {
    "evaluate": evaluate,
    "synthesize": synthesize,
    "import": import_recordings,
}
for _name, _command in _TRAINING.items():
    app.command(_name)(_errors()(_command))
model_commands.register(app, _http, _errors)


if __name__ == "__main__":
    app()
