"""`opensesame mcp`: tools for coding agents, over stdio, by the Model Context Protocol.

An agent that faces a large API asks for the few operations that a sentence is about, and for the next call after those
it has made. One server speaks for one API; predictions come from a service, or are made in this process, over a Redis
that keeps what is learnt under `--var` or goes with the process. Nothing but the protocol is written to stdout.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import threading
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import msgspec
import typer

from opensesame_client import AsyncClient, wire
from opensesame_client import OpenSesameError as ClientError
from opensesame_client.wire import event
from pipeline import settings as configuration
from pipeline.errors import OpenSesameError
from pipeline.settings import Settings
from pipeline.stores.pseudonym import pseudonym, secret_of
from pipeline.types import Source
from serve import terminal
from serve.ask_commands import name_spec, source_of
from serve.terminal import Config, Spec, errors

if TYPE_CHECKING:
    from mcp.server import MCPServer

_HISTORY = 100  # recorded calls; a prediction reads no more
_INSTRUCTIONS = (
    "Predicts API calls. shortlist_operations finds the operations of the API that a sentence is about; record_call "
    "tells each call you have made; next_call says which calls likely follow, with arguments out of those recorded; "
    "feedback says what became of a prediction, and teaches."
)

Json = dict[str, Any]


class Place(Protocol):
    """Where predictions come from; bodies and answers are those of the wire."""

    async def predict(self, body: Json) -> Json: ...

    async def feedback(self, body: Json) -> Json: ...

    async def events(self, calls: list[Json], user: str) -> None: ...


def mcp(
    spec: Spec = "billing",
    url: Annotated[str, typer.Option(help="Address of a running service; without it predictions are made here.")] = "",
    user: Annotated[str, typer.Option(help="Whose calls they are, as learning knows them.")] = "agent",
    var: Annotated[
        Path | None, typer.Option(help="Folder that keeps what is learnt here; without it nothing is kept.")
    ] = None,
    meaning: Annotated[
        bool, typer.Option(help="Compare by meaning too, as soon as the encoder has read the API in the background.")
    ] = True,
    config: Config = "local",
) -> None:
    """Serve tools to coding agents over stdio (Model Context Protocol): the next call, a shortlist, feedback."""
    with errors():
        asyncio.run(_serve(spec, url, user, var, meaning, config))


async def _serve(spec: str, url: str, user: str, var: Path | None, meaning: bool, config: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if url:
            place: Place = await stack.enter_async_context(_through(url, name_spec(spec)))
        else:
            place = await stack.enter_async_context(_here(source_of(spec), var, meaning, config))
            if var is not None:  # what is kept is kept under the name that `opensesame forget` looks for
                user = pseudonym(secret_of(configuration.load(config).privacy, var), "local", user)
        await build(place, user).run_stdio_async()


def build(place: Place, user: str) -> MCPServer:
    """The server of one agent: its tools, and the calls it has recorded."""
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("opensesame", instructions=_INSTRUCTIONS, log_level="WARNING")
    made: deque[Json] = deque(maxlen=_HISTORY)
    last: list[str] = []  # id of the last prediction

    @contextlib.contextmanager
    def told() -> Any:
        try:
            yield
        except (OpenSesameError, ClientError) as error:
            raise ToolError(str(error)) from None

    async def ask(prompt: str, calls: list[Json], k: int) -> Json:
        with told():
            answer = await place.predict({"events": calls, "prompt": prompt or None, "k": k, "user_id": user})
        if answer["prediction_id"]:
            last[:] = [answer["prediction_id"]]
        return answer

    @server.tool()
    async def next_call(prompt: str = "", calls: list[str] | None = None, k: int = 5) -> Json:
        """The k API calls most likely to come next, best first, with arguments, confidence and reason.

        prompt: what is to be achieved, in a sentence. calls: those made so far, oldest first, as 'METHOD /path';
        without them the recorded ones.
        """
        answer = await ask(prompt, [event(call) for call in calls] if calls is not None else list(made), k)
        return {"prediction_id": answer["prediction_id"], "predictions": [_shown(p) for p in answer["predictions"]]}

    @server.tool()
    async def shortlist_operations(sentence: str, k: int = 10) -> Json:
        """The k operations of the API that a sentence is most likely about, best first: read these instead of the spec.

        An operation that deletes or takes away is among them only when the sentence asks for it.
        """
        answer = await ask(sentence, [], k)
        return {"operations": [_shown(p) for p in answer["predictions"]], "of": answer["metadata"]["operations"]}

    @server.tool()
    async def record_call(
        call: str, params: Json | None = None, status: int | None = None, response: Any = None
    ) -> Json:
        """Tell a call that was made, as 'METHOD /path', with what it was sent and what it answered.

        Later predictions know it and take arguments from it; it also answers the prediction before it.
        """
        now = datetime.datetime.now(datetime.UTC)
        one = event(call, params=params, status=status, body=response, ts=now)
        with told():
            await place.events([one], user)
        made.append(one)
        return {"recorded": len(made)}

    @server.tool()
    async def feedback(outcome: Literal["accept", "override", "reject"], chosen: str = "") -> Json:
        """Say what became of the last prediction: accept (chosen, else its first, was right), override (chosen was made
        instead, as 'METHOD /path'), reject (none was right)."""
        if not last:
            raise ToolError("Nothing was predicted yet.")
        body: Json = {"feedback": outcome, "prediction_id": last[0], "user_id": user}
        with told():
            return await place.feedback(body | ({"chosen": {"endpoint": chosen}} if chosen else {}))

    return server


def _shown(prediction: Json) -> Json:
    """What an agent has use for."""
    names = ("endpoint", "summary", "params", "missing_params", "confidence", "reason", "is_destructive")
    return {name: prediction[name] for name in names}


class _Through:
    def __init__(self, client: AsyncClient, source: Json) -> None:
        self._client, self._source = client, source

    async def predict(self, body: Json) -> Json:
        events, rest = body.pop("events"), {**self._source, **body}
        request = wire.predict(events, rest)  # type: ignore[arg-type]
        raw: wire.Request[Json] = wire.Request("POST", request.path, dict, request.content, request.headers)
        return await self._client.send(raw)

    async def feedback(self, body: Json) -> Json:
        chosen = body.get("chosen", {}).get("endpoint")
        kept = await self._client.feedback(
            body["feedback"], prediction_id=body["prediction_id"], user_id=body["user_id"], chosen=chosen
        )
        return {"status": kept.status}

    async def events(self, calls: list[Json], user: str) -> None:
        if "spec" in self._source:  # an inline spec has no name that observed calls could be told under
            return
        await self._client.events(calls, user_id=user, **self._source)


@contextlib.asynccontextmanager
async def _through(url: str, source: Json) -> AsyncIterator[Place]:
    async with AsyncClient(url, api_key=terminal.api_key.get() or None, attempts=3) as client:
        yield _Through(client, source)


class _Here:
    """In this process; starts without the encoder, and takes the one that has it once that is ready."""

    def __init__(self, settings: Settings, state: Any, source: Source) -> None:
        from pipeline.local import LocalService

        self._settings, self._state, self._source = settings, state, source
        self.service = LocalService(settings, state)

    async def open(self) -> None:
        """Compile the spec, so that whatever is wrong with it is said at the start."""
        compiled = await self.service.stages.compiled(self._source)
        self._catalog = compiled.catalog
        self._source = msgspec.structs.replace(self._source, digest=compiled.catalog.digest)

    def warm(self) -> None:
        """Load the encoder and read the API with it: seconds, so this runs in a thread of its own."""
        from pipeline.local import LocalService

        service = LocalService(self._settings, self._state, meaning=True)
        service.stages.keep(self._catalog)
        self.service = service

    async def predict(self, body: Json) -> Json:
        from serve import schemas

        request = schemas.read_value(body, schemas.PredictRequest)
        query = schemas.to_query(request, self._settings, tenant="local")
        return schemas.answer_json(await self.service.predict(msgspec.structs.replace(query, source=self._source)))

    async def feedback(self, body: Json) -> Json:
        from serve import schemas

        said = schemas.to_feedback(schemas.read_value(body, schemas.FeedbackRequest), tenant="local")
        return {"status": (await self.service.record(said)).status}

    async def events(self, calls: list[Json], user: str) -> None:
        from pipeline.catalog.library import lineage
        from serve import outcomes

        body = {"user_id": user, "events": calls}
        reported = outcomes.read_events(
            outcomes.schemas.read_value(body, outcomes.EventsRequest), self._settings, "", ""
        )
        matcher = (await self.service.stages.compiled(self._source)).matcher
        found = [matcher.match(*call) for call in reported.calls]
        operations = [self._catalog.operations[match.index].key if match else "" for match in found]
        name = lineage(self._source, self._source.digest)
        await self.service.observe("local", user, name, reported.observations(operations))


@contextlib.asynccontextmanager
async def _here(source: Source, var: Path | None, meaning: bool, config: str) -> AsyncIterator[Place]:
    from pipeline.ranking.ranker import import_lightgbm_alone
    from pipeline.stores.embedded import EmbeddedRedis
    from pipeline.stores.state import State

    import_lightgbm_alone()
    settings = configuration.load(config)
    redis = EmbeddedRedis(var, settings.state.redis_server) if var else EmbeddedRedis.throwaway()
    with redis:
        state = State(settings.state, redis.url)
        here = _Here(settings, state, source)
        try:
            await here.open()
            if meaning:
                threading.Thread(target=here.warm, daemon=True).start()  # nobody waits for it, at the end neither
            yield here
        finally:
            await state.close()
