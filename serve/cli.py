"""`opensesame`: what people type.

Commands stand in files by what they are for (`ask_commands`, `model_commands`, `train/`) and are registered here;
how they speak and how errors end them is `serve/terminal.py`. The help texts are docs/cli.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
import yaml

from pipeline import settings as configuration
from pipeline.errors import BadRequest
from pipeline.priority import idle_group, shared_by_session
from serve import ask_commands, demo_command, key_commands, model_commands, terminal, watch_command
from serve.mcp_server import mcp
from serve.terminal import Config, Json, Var, ask, err, errors, out, print_json
from train.evaluate import run as evaluate
from train.imports.command import run as import_recordings
from train.imports.follow import follow
from train.imports.hosts import chooser
from train.synthesize import run as synthesize

_STATUSES = (
    "Exit status: 0 done; 1 it cannot be done, and one line on stderr says why; 2 the command line is wrong; 3 the"
    " service does not answer or asks to come back later; 130 interrupted.\n\n"
    "`make` leaves this command in `.venv/bin`: first `source .venv/bin/activate`; agents need its absolute path."
)
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        out.print(version("opensesame"))
        raise typer.Exit


@app.callback(epilog=_STATUSES)
def main(
    api_key: Annotated[
        str, typer.Option(envvar="OPENSESAME_API_KEY", help="Key of the service that --url names.", show_default=False)
    ] = "",
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Predict the next API call from an OpenAPI spec, past calls and a sentence of intent."""
    terminal.api_key.set(api_key)


def serve(
    config: Config = "local",
    port: Annotated[int, typer.Option(min=0, max=65535, help="HTTP port; 0 takes the configuration's.")] = 0,
    var: Annotated[Path, typer.Option(help="Folder of the state: Redis data, the Ray token.")] = Path("var"),
    json: Annotated[bool, typer.Option("--json", help="Print the addresses as one line of JSON.")] = False,
) -> None:
    """Start everything on this machine; Ctrl-C stops all of it."""
    with errors():
        settings = configuration.load(config)
        if port:
            settings = settings.model_copy(update={"server": settings.server.model_copy(update={"port": port})})
        from serve.runtime import Runtime, wait_for_signal

        runtime = Runtime(settings, var)
        began = time.monotonic()
        try:
            err.print("Starting Redis, Ray and the graph ...")
            with wait_for_signal() as stopped:
                runtime.start()
                base = f"http://{settings.server.host}:{settings.server.port}"
                addresses = {"service": base, "docs": f"{base}/docs", "metrics": f"{base}/metrics"}
                addresses |= {"dashboard": runtime.dashboard} if runtime.dashboard else {}
                if json:
                    print_json(addresses, line=True)
                else:
                    out.print(f"\nOpenSesame is ready after {time.monotonic() - began:.0f} s.\n")
                    for name, address in addresses.items():
                        more = f"    (token: {runtime.token_file})" if name == "dashboard" else ""
                        out.print(f"  {name:<10} {address}{more}")
                    if shared_by_session() and idle_group() is None:
                        out.print(
                            "\nThis Linux shares its cores between sessions (autogroup): who asks during a training "
                            "waits for seconds.\nsysctl kernel.sched_autogroup_enabled=0 ends that."
                        )
                    out.print("\nCtrl-C stops everything.")
                stopped.wait()
        finally:
            err.print("Stopping ...")
            runtime.stop()


def forget(
    user: Annotated[str, typer.Option(help="The user whose data goes, as user_id names them.")],
    tenant: Annotated[str, typer.Option(help="The tenant they belong to.")] = "local",
    config: Config = "local",
    var: Var = Path("var"),
    json: Json = False,
) -> None:
    """Remove a user's data from the state and from the journal's files; a running service may go on."""
    with errors():
        if not user:
            raise BadRequest("Nobody is meant by an empty name: name a user.")
        gone = asyncio.run(_forget(user, tenant, config, var))
        if json:
            print_json(gone, line=True)
        else:
            out.print("Gone: " + ", ".join(f"{count} {what}" for what, count in gone.items()))


def check_config(
    config: Annotated[str, typer.Argument(help="A name in configs/ or a path.")] = "local",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")] = False,
) -> None:
    """Load a configuration as `serve` would and print what holds; exit 1 and say why when it cannot be used."""
    with errors():
        found = configuration.load(config).model_dump(mode="json")
        if json:
            print_json(found)
        else:
            out.print(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), end="", markup=False)


async def _forget(user: str, tenant: str, config: str, var: Path) -> dict[str, int]:
    from pipeline.stores.embedded import EmbeddedRedis
    from pipeline.stores.journal import Journal
    from pipeline.stores.pseudonym import pseudonym, secret_of
    from pipeline.stores.state import State

    loaded = configuration.load(config)
    with contextlib.ExitStack() as stack:
        url = loaded.state.url
        if url == "embedded":
            url = stack.enter_context(EmbeddedRedis(var, loaded.state.redis_server)).url
        state = State(loaded.state, url)
        try:
            known = pseudonym(secret_of(loaded.privacy, var), tenant, user)
            return await Journal.at(loaded.journal, var).forget(state, tenant, known)
        finally:
            await state.close()


app.command()(serve)
demo_command.register(app)
ask_commands.register(app)
watch_command.register(app, follow, chooser)
app.command()(mcp)
_TRAINING: dict[str, Callable[..., None]] = {
    "import": import_recordings,
    "synthesize": synthesize,
    "evaluate": evaluate,
}
for _name, _command in _TRAINING.items():
    app.command(_name)(errors()(_command))
model_commands.register(app, ask, errors)
key_commands.register(app)
app.command()(forget)
app.command("check-config")(check_config)


if __name__ == "__main__":
    app()
