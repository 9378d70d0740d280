"""`opensesame predict`, `feedback` and `catalogs`: what users of predictions do.

`predict` works in this process, without a server and without Ray, unless it is given an address. Registered by
`serve.cli`.
"""

from __future__ import annotations

import asyncio
import enum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import orjson
import typer
from rich.text import Text

from pipeline import settings as configuration
from pipeline.errors import BadRequest, OpenSesameError
from pipeline.types import Source
from serve.terminal import (
    SERVICE,
    Config,
    Json,
    Service,
    Spec,
    Url,
    ask,
    client,
    err,
    errors,
    out,
    print_json,
    ranked,
    table,
)

_DIGEST = len("sha256:") + 12  # characters of a digest in a list


class Outcome(enum.StrEnum):
    """What a user did with a prediction."""

    accept = "accept"
    override = "override"
    reject = "reject"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(predict)
    app.command()(feedback)
    app.command()(catalogs)


def predict(
    spec: Spec = "billing",
    prompt: Annotated[str, typer.Option(help="What the user wants, in a sentence.")] = "",
    call: Annotated[
        list[str] | None, typer.Option(help="A past call, 'METHOD /path'; repeat it, oldest first.")
    ] = None,
    request: Annotated[
        Path | None, typer.Option(help="A JSON file with a body of POST /predict; replaces the other options.")
    ] = None,
    k: Annotated[int, typer.Option(min=1, max=50, help="How many predictions.")] = 5,
    user: Annotated[str, typer.Option(help="Whose calls they are; a service learns by it.")] = "",
    config: Config = "local",
    url: Url = "",
    json: Json = False,
) -> None:
    """Predict the next call, without a server and without Ray."""
    with errors():
        for made in call or []:
            _require_call(made, "--call")
        body: dict[str, Any] = {"k": k, "events": [{"endpoint": c} for c in call or []]}
        if prompt:
            body["prompt"] = prompt
        if user:
            body["user_id"] = user
        if request is not None:
            body = _read_object(request)
        if url:
            named = {} if request is not None else name_spec(spec)
            answer = ask(url, "POST", "/predict", orjson.dumps(body | named), "application/json")
        else:
            answer = asyncio.run(_predict_here(body, None if request is not None else source_of(spec), config))
        if json:
            print_json(answer)
        else:
            show_predictions(answer, body)


def feedback(
    outcome: Annotated[Outcome, typer.Argument(help="What the user did with the prediction.")],
    user: Annotated[str, typer.Option(help="Whose prediction; the last one, unless --prediction names another.")] = "",
    prediction: Annotated[str, typer.Option(help="The prediction_id that was answered.")] = "",
    chosen: Annotated[str, typer.Option(help="The call that was made, 'METHOD /path'; override needs it.")] = "",
    url: Service = SERVICE,
    json: Json = False,
) -> None:
    """Tell a running service what became of a prediction; it learns at once."""
    with errors():
        if not user and not prediction:
            raise typer.BadParameter("say whose prediction it was with --user, or name it with --prediction")
        if outcome is Outcome.override and not chosen:
            raise typer.BadParameter("say with --chosen which call was made instead")
        if chosen:
            _require_call(chosen, "--chosen")
        with client(url) as service:
            kept = service.feedback(
                outcome.value, prediction_id=prediction or None, user_id=user or None, chosen=chosen or None
            )
        if json:
            print_json({"prediction_id": kept.prediction_id, "status": kept.status})
        else:
            out.print(f"{kept.status}: {outcome.value} of {kept.prediction_id}")


def catalogs(
    put: Annotated[Path | None, typer.Option(help="Upload this OpenAPI file under NAME.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the catalog NAME.")] = False,
    name: Annotated[str, typer.Argument(help="Name of a catalog; none lists all.")] = "",
    url: Service = SERVICE,
    json: Json = False,
) -> None:
    """List, show, upload or remove catalogs of a running service."""
    with errors():
        if (put is not None or remove) and not name:
            raise typer.BadParameter("name the catalog that is meant")
        if put is not None and remove:
            raise typer.BadParameter("--put and --remove exclude each other")
        path = f"/catalogs/{quote(name, safe='')}" if name else "/catalogs"
        if put is not None:
            answer = ask(url, "PUT", path, _read(put), "application/octet-stream")
        elif remove:
            ask(url, "DELETE", path)
            answer = {"removed": name}
        else:
            answer = ask(url, "GET", path)
        if json:
            print_json(answer)
        elif remove:
            out.print(f"Removed: {name}", markup=False)
        elif not name:
            rows = table("name", "title", "operations", "catalog")
            for row in answer["catalogs"]:
                digest = row["catalog"][:_DIGEST]
                rows.add_row(row["name"], Text(row["title"]), str(row["operations"]), digest)
            out.print(rows)
            out.print(f"packaged: {', '.join(answer['packaged'])}", markup=False)
        else:
            out.print(f"{answer['title']} {answer['version']}: {answer['operations']} operations, {answer['catalog']}")
            for warning in answer["warnings"]:
                err.print(f"warning: {warning}", markup=False)
            for operation in answer.get("endpoints", []):
                out.print(f"  {operation['endpoint']}  {operation['summary']}", markup=False)


def name_spec(spec: str) -> dict[str, Any]:
    """The field of POST /predict that names a spec: an address, a file's content, or the name of a catalog."""
    if spec.startswith(("http://", "https://")):
        return {"spec_url": spec}
    if Path(spec).is_file():
        return {"spec": _read(Path(spec)).decode(errors="replace")}
    return {"catalog": spec}


def source_of(spec: str) -> Source:
    """The spec that is meant in this process; a file may have any size here.

    Raises:
        OpenSesameError: it is neither an address nor a file nor a packaged example.
    """
    if spec.startswith(("http://", "https://")):
        return Source(url=spec)
    if Path(spec).is_file():
        return Source(data=_read(Path(spec)))
    if configuration.packaged_spec(spec) is not None:
        return Source(name=spec)
    raise OpenSesameError(f"There is no spec '{spec}': name an OpenAPI file, its URL or a packaged example.")


def show_predictions(answer: dict[str, Any], asked: dict[str, Any]) -> None:
    """The answer of POST /predict to `asked` as rows; on stderr what of the calls it knew nothing of, and what it had
    to do without."""
    out.print(ranked(answer))
    calls = [call.get("endpoint") or call.get("api_call") for call in asked.get("events") or asked.get("history") or []]
    if strangers := [str(calls[i]) for i in answer["metadata"]["unmatched"]]:
        err.print("no operation of the spec: " + ", ".join(strangers), markup=False)
    if answer["metadata"]["degraded"]:
        err.print("without: " + ", ".join(answer["metadata"]["degraded"]))


async def _predict_here(body: dict[str, Any], source: Source | None, config: str) -> dict[str, Any]:
    from pipeline.local import LocalStages
    from pipeline.predict import predict as tell
    from pipeline.ranking.ranker import import_lightgbm_alone
    from serve import schemas

    import_lightgbm_alone()
    loaded = configuration.load(config)
    query = schemas.to_query(schemas.read_value(body, schemas.PredictRequest), loaded, tenant="local")
    if source is not None:
        query = msgspec.structs.replace(query, source=source)
    async with LocalStages(loaded) as stages:
        return schemas.answer_json(await tell(query, stages, None, loaded))


def _require_call(text: str, option: str) -> None:
    """Return when `text` is a call; raises what ends the command with status 2."""
    from serve.calls import split_endpoint

    try:
        split_endpoint(text, option)
    except BadRequest as error:
        raise typer.BadParameter(error.detail) from None


def _read_object(file: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(_read(file))
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"{file} is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise BadRequest(f"{file} holds no JSON object: give it a body of POST /predict.")
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror or error}.") from None
