"""`opensesame keys`: make, list and revoke API keys, in the state of a configuration or for a file.

A key is printed once, when it is made; what is kept is its hash. A running service knows a new key at once, and
believes a revoked one for `auth.cache_s` at most. Registered by `serve.cli`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import enum
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
import yaml

from pipeline import settings as configuration
from pipeline.errors import NotFound
from pipeline.stores.apikeys import ApiKeys, id_of, mint
from serve.terminal import Config, Json, Var, err, errors, out, print_json, table

T = TypeVar("T")
_DAY_S = 86400.0


class Scope(enum.StrEnum):
    """What a key may open, as `apikeys.SCOPES` has it."""

    predict = "predict"
    feedback = "feedback"
    catalogs = "catalogs"
    operator = "operator"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
    app.add_typer(keys, name="keys")

    @keys.command()
    def create(
        tenant: Annotated[str, typer.Option(help="Whose catalogs and learning the key opens.")],
        scope: Annotated[list[Scope], typer.Option(help="What it opens; repeat it.")],
        name: Annotated[str, typer.Option(help="Whose key it is, or what for.")] = "",
        days: Annotated[float, typer.Option(min=0, help="It expires after so many; 0: never.")] = 0,
        entry: Annotated[
            bool, typer.Option("--entry", help="Keep it nowhere: print what belongs into auth.keys_file, on stderr.")
        ] = False,
        config: Config = "local",
        var: Var = Path("var"),
        json: Json = False,
    ) -> None:
        """Print a new key, once: nobody can be told it again."""
        with errors():
            presented, record = mint(tenant, [one.value for one in scope], name, days * _DAY_S)
            if not entry:
                _keep(config, var, lambda store: store.put(record))
            if json:
                print_json({"key": presented, "entry": msgspec.to_builtins(record)})
                return
            if entry:
                err.print(yaml.safe_dump([msgspec.to_builtins(record)], sort_keys=False), end="", markup=False)
            print(presented)

    @keys.command("list")
    def list_keys(config: Config = "local", var: Var = Path("var"), json: Json = False) -> None:
        """Every key that the state has, without its secret; those of auth.keys_file stand there."""
        with errors():
            records = _keep(config, var, lambda store: store.list())
            if json:
                told = [{k: v for k, v in msgspec.to_builtins(r).items() if k != "sha256"} for r in records]
                print_json(told)
                return
            rows = table("id", "tenant", "scopes", "name", "created", "expires")
            for r in records:
                expires = _day(r.expires) if r.expires else "never"
                rows.add_row(r.id, r.tenant, " ".join(r.scopes), r.name, _day(r.created), expires)
            out.print(rows)

    @keys.command()
    def revoke(
        id: Annotated[str, typer.Argument(help="The key's id, or the key itself.")],
        config: Config = "local",
        var: Var = Path("var"),
        json: Json = False,
    ) -> None:
        """Take a key away: within `auth.cache_s` no replica lets it in."""
        with errors():
            if not _keep(config, var, lambda store: store.remove(id_of(id) or id)):
                raise NotFound("The state has no such key; one of auth.keys_file is taken out there.")
            if json:
                print_json({"id": id_of(id) or id, "revoked": True})
            else:
                out.print("Revoked.")


def _keep(config: str, var: Path, act: Callable[[ApiKeys], Awaitable[T]]) -> T:
    """What `act` brings, given the keys of the state that a service of this configuration has."""
    from pipeline.stores.embedded import EmbeddedRedis
    from pipeline.stores.state import State

    loaded = configuration.load(config)

    async def run(url: str) -> Any:
        state = State(loaded.state, url)
        try:
            return await act(state.apikeys)
        finally:
            await state.close()

    with contextlib.ExitStack() as stack:
        url = loaded.state.url
        if url == "embedded":
            url = stack.enter_context(EmbeddedRedis(var, loaded.state.redis_server)).url
        return asyncio.run(run(url))


def _day(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M")
