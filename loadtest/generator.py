"""`python -m loadtest.generator`: deployment Generator against vLLM's own engine driven directly, in one run.

Both read the same prompts, made from a real spec's traffic by the code that serves, and take turns (A B B A), so that
the drift of the machine cancels in the ratios. Told besides: the share of prompt tokens that the engine had in its
cache. Without `--model` the model is a random one of small size, for which the work around the engine weighs most.
Everything it starts it stops by pid.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from loadtest.processes import free_ports
from loadtest.traffic import Traffic
from pipeline import settings as configuration
from pipeline.candidates import travel
from pipeline.candidates.propose import Proposer, Reply, Weighing
from pipeline.settings import Settings
from pipeline.types import Candidate, Catalog, GroundedQuery, Query

_DEADLINE_S = 600.0
_START_S = 300.0
_APP = "opensesame"
_out = Console(width=None if sys.stdout.isatty() else 120)
_err = Console(stderr=True)


class Round(msgspec.Struct, frozen=True):
    """One load: `seconds` for all proposals, with the tokens that the engine read and wrote."""

    seconds: float
    proposals: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int


class Measured(msgspec.Struct, frozen=True):
    mode: str
    overview_tokens: int
    ours: list[Round]
    direct: list[Round]
    alone_s: float  # of one proposal while nothing else is asked, the median


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the engine is asked for one proposal."""

    messages: list[list[dict[str, str]]]
    schema: dict[str, Any] | None  # None: the letters are weighed
    marks: list[str]


class Recorder:
    """An `Engine` that answers at once and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    async def generate(self, messages: Any, schema: Any, max_tokens: int, temperature: float, request_id: str) -> Reply:
        self.asked.append(Asked([list(messages)], schema, []))
        return Reply('{"picks":[{"i":1,"params":{},"why":""}]}', 0, 0, 0, "stop")

    async def weigh(self, messages: Any, marks: Any, request_id: str) -> Weighing:
        self.asked.append(Asked([list(messages)], None, list(marks)))
        return Weighing((0.0,) * len(marks), 0, 0)


class Shelf:
    """The cards of one catalog, as the proposer's `Directory` and as a deployment's `cards`."""

    def __init__(self, catalog: Catalog) -> None:
        self._operations = catalog.operations

    async def cards(self, *_: Any) -> tuple[Candidate, ...]:
        return travel.cards(self._operations, len(self._operations))


class Plain:
    """The application's ingress: only there to be asked whether it is up."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def __serve_build_asgi_app__(self) -> Any:
        import fastapi

        return fastapi.FastAPI()


class Bench:
    """The same proposals for `catalog`, asked by `clients` at once of one and the other."""

    def __init__(self, settings: Settings, catalog: Catalog, clients: int, count: int) -> None:
        self._clients = clients
        self._catalog = catalog
        self._work = queries(catalog, settings, count)

    async def run(self, ours: Ours, settings: Settings, rounds: int, direct: Direct) -> Measured:
        mode, tokens = settings.generator.mode, settings.generator.overview_tokens
        asked = await recorded(settings, self._catalog, self._work)
        handle = await ours.handle()

        async def propose(i: int) -> tuple[int, int, int]:
            made = await handle.propose.remote(*self._work[i], _DEADLINE_S)
            return made.tokens_in, made.tokens_cached, made.tokens_out

        prepared = [direct.prepared(one) for one in asked]

        async def drive(i: int) -> tuple[int, int, int]:
            return await direct.ask(prepared[i])

        expected = sum(len(ids) for ids, _ in prepared[0])
        await _until(lambda: _equals(propose(0), expected), "the catalog was not read")
        count = len(self._work)
        both = {"ours": propose, "direct": drive}
        for ask in both.values():  # every grammar is compiled then
            await self._load(ask, count)
        took: dict[str, list[Round]] = {who: [] for who in both}
        for number in range(rounds):
            for who in sorted(both, reverse=number % 2 == 0):
                took[who].append(await self._load(both[who], count))
            last = ", ".join(f"{who} {rounds_[-1].seconds:.1f} s" for who, rounds_ in took.items())
            _say(f"round {number + 1} of {rounds}: {last}")
        alone = []
        for i in range(min(10, count)):
            began = time.perf_counter()
            await propose(i)
            alone.append(time.perf_counter() - began)
        return Measured(mode, tokens, took["ours"], took["direct"], statistics.median(alone))

    async def _load(self, ask: Callable[[int], Awaitable[tuple[int, int, int]]], count: int) -> Round:
        waiting = iter(range(count))
        tokens: list[tuple[int, int, int]] = []

        async def client() -> None:
            for i in waiting:
                tokens.append(await ask(i))

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(self._clients)))
        seconds = time.perf_counter() - began
        return Round(seconds, count, *(sum(column) for column in zip(*tokens, strict=True)))


class Ours:
    """Deployment Generator in a Ray Serve application of its own, started by the runtime of the product."""

    def __init__(self, catalog: Catalog, var: Path) -> None:
        self._catalog = catalog
        self._var = var
        self._runtime: Any = None

    def start(self, settings: Settings) -> None:
        """Start Ray and deploy it; on the main thread, not from a running event loop."""
        from serve.runtime import Runtime

        self._runtime = Runtime(settings, self._var, self._build)
        self._runtime.start()

    async def change(self, settings: Settings) -> None:
        """Deploy it with other settings. The loop goes on meanwhile: handles hear of new replicas on it."""
        from ray import serve

        await asyncio.to_thread(serve.run, self._build(settings), name=_APP, route_prefix="/")

    def _build(self, settings: Settings) -> Any:
        from loadtest import generator  # under its own name: what stands in __main__ travels by value

        return generator.application(settings, self._catalog)

    async def handle(self) -> Any:
        """A handle of the deployment, its engine up."""
        from ray import serve

        handle: Any = serve.get_deployment_handle("Generator", app_name=_APP)

        async def is_up() -> bool:
            state = await handle.state.remote()
            if state["status"] == "failed":
                raise RuntimeError(f"the engine did not start: {state['detail']}")
            return state["status"] == "ok"

        await _until(is_up, "the engine did not start")
        return handle

    def stop(self) -> None:
        if self._runtime is not None:
            self._runtime.stop()


async def _until(is_true: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    until = time.monotonic() + _START_S
    while not await is_true():
        if time.monotonic() > until:
            raise RuntimeError(f"{otherwise} within {_START_S:.0f} s")
        await asyncio.sleep(0.5)


async def _equals(asked: Awaitable[tuple[int, int, int]], tokens_in: int) -> bool:
    """Whether a proposal read so many tokens: its prompt is the one that the other engine gets."""
    return (await asked)[0] == tokens_in


class Direct:
    """vLLM's `AsyncLLM` with the arguments of ours; prompts are token ids already.

    It comes up with the first prompt: vLLM imports Ray, which has to find the environment that the runtime makes.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.generator
        self._engine: Any = None
        self._prompts: Any = None

    def _start(self) -> None:
        from pipeline.candidates.tokens import Prompts
        from serve.engine import arguments, environment

        os.environ.update(environment(self._settings))
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        _say("start vLLM's engine")
        self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments(self._settings)))
        self._prompts = Prompts(self._engine.get_tokenizer())

    def prepared(self, asked: Asked, temperature: float = 0.0) -> list[tuple[list[int], Any]]:
        """Token ids and sampling of each request of a proposal."""
        if self._engine is None:
            self._start()
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

        if asked.schema is None:
            sampling: dict[str, Any] = {"max_tokens": 1, "logprob_token_ids": self._prompts.marks(asked.marks)}
        else:
            structured = StructuredOutputsParams(json=asked.schema)
            sampling = {"max_tokens": self._settings.max_tokens, "structured_outputs": structured}
        requests = []
        for messages in asked.messages:
            kind = RequestOutputKind.FINAL_ONLY
            requests.append(
                (self._prompts.ids(messages), SamplingParams(temperature=temperature, output_kind=kind, **sampling))
            )
        return requests

    async def ask(self, requests: list[tuple[list[int], Any]]) -> tuple[int, int, int]:
        """Tokens in, of them cached, and out, of a proposal's requests together."""
        ended = await asyncio.gather(*(self.last(*request) for request in requests))
        return (
            sum(len(ids) for ids, _ in requests),
            sum(output.num_cached_tokens or 0 for output in ended),
            sum(len(output.outputs[0].token_ids) for output in ended),
        )

    async def last(self, ids: list[int], sampling: Any) -> Any:
        last: Any = None
        async for output in self._engine.generate({"prompt_token_ids": ids}, sampling, uuid.uuid4().hex):
            last = output
        return last

    def stop(self) -> None:
        if self._engine is not None:
            self._engine.shutdown()


def application(settings: Settings, catalog: Catalog) -> Any:
    """Deployment Generator as the graph has it, with the catalog's cards beside it."""
    from ray import serve

    from serve.generator import Generator
    from serve.graph import sized

    def small(target: Any) -> Any:
        return serve.deployment(target, ray_actor_options={"num_cpus": 0.1})

    generator = sized(Generator, settings.generator, {}).bind(settings, small(Shelf).bind(catalog))
    return small(serve.ingress()(Plain)).bind(generator)


def changed(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"generator": settings.generator.model_copy(update=changes)})


def queries(catalog: Catalog, settings: Settings, count: int) -> list[tuple[Query, GroundedQuery]]:
    """Traffic with prompts, grounded by the code that serves, without vectors."""
    from pipeline.catalog.library import compile_catalog
    from pipeline.predict import prepare
    from serve.schemas import PredictRequest, read_value, to_query

    compiled = compile_catalog(catalog)
    work = []
    for body in Traffic(catalog, "bench", seed=1).prompted(count):
        query = to_query(read_value(body, PredictRequest), settings, tenant="local")
        work.append((query, prepare(query, compiled, None, {}, settings.shortlist)))
    return work


async def recorded(settings: Settings, catalog: Catalog, work: Sequence[tuple[Query, GroundedQuery]]) -> list[Asked]:
    """What the engine is asked for each query once it has read the catalog."""
    recorder = Recorder()
    proposer = Proposer(settings.generator, recorder, Shelf(catalog))
    await proposer.propose(*work[0], _DEADLINE_S)
    await proposer.read()
    recorder.asked.clear()
    asked = []
    for query, grounded in work:
        await proposer.propose(query, grounded, _DEADLINE_S)
        first = recorder.asked[0]
        asked.append(Asked([one.messages[0] for one in recorder.asked], first.schema, first.marks))
        recorder.asked.clear()
    return asked


def table(measured: Sequence[Measured]) -> Table:
    shown = Table(title="Deployment Generator and vLLM's engine driven directly, the same prompts, in turns")
    for name in ("mode", "overview", "prompt tokens", "of them cached", "requests/s", "directly", "ratio",
                 "tokens/s", "directly", "ratio", "alone"):  # fmt: skip
        shown.add_column(name, justify="right")
    for one in measured:
        ours, direct = _sum(one.ours), _sum(one.direct)
        requests = [r.proposals / r.seconds for r in (ours, direct)]
        tokens = [(r.tokens_in + r.tokens_out) / r.seconds for r in (ours, direct)]
        shown.add_row(
            one.mode,
            str(one.overview_tokens),
            f"{ours.tokens_in / ours.proposals:.0f}",
            f"{ours.tokens_cached / ours.tokens_in:.0%}",
            *(f"{value:.2f}" for value in (*requests, requests[0] / requests[1])),
            *(f"{value:.0f}" for value in tokens),
            f"{tokens[0] / tokens[1]:.2f}",
            f"{1000 * one.alone_s:.0f} ms",
        )
    return shown


def _sum(rounds: Sequence[Round]) -> Round:
    fields = [msgspec.structs.astuple(one) for one in rounds]
    return Round(*(sum(column) for column in zip(*fields, strict=True)))


def random_model(folder: Path, catalog: Catalog, text: str, vocab: int = 8192, **shape: Any) -> Path:
    """A random Qwen3 of 5 million weights, or of another shape; its tokenizer knows the catalog's words well."""
    from train import blank

    words = "\n".join([text, *(f"{o.summary} {o.description}" for o in catalog.operations)])
    return blank.make(folder, [words, json.dumps(words)], vocab, **shape)


def _say(text: str) -> None:
    _err.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {text}")


def main(
    spec: Annotated[Path, typer.Option(help="A spec of some 300 operations.")],
    config: str = "local-vllm",
    model: Annotated[str, typer.Option(help="A path or hub name; without one a random one is made.")] = "",
    modes: Annotated[
        str, typer.Option(help="Modes, each with the tokens of its overview.")
    ] = "choose:12288,logprob:12288",
    clients: Annotated[int, typer.Option(help="Proposals at once; twice the engine's batch keeps it full.")] = 32,
    count: Annotated[int, typer.Option(help="Proposals of a round.")] = 64,
    rounds: int = 4,
    out: Annotated[Path | None, typer.Option(help="JSON of all that was measured.")] = None,
) -> None:
    """Measure deployment Generator against vLLM's engine driven directly."""
    from pipeline.catalog.parse import parse_spec

    catalog = parse_spec(spec.read_bytes(), configuration.load().parse)
    out = out.resolve() if out else None  # the runtime works in a folder of its own
    with tempfile.TemporaryDirectory(prefix="bench-generator-") as made:
        folder = Path(made)
        if not model:
            texts = [json.dumps(msgspec.to_builtins(o.parameters)) for o in catalog.operations]
            model = str(
                random_model(folder / "model", catalog, "\n".join([*(o.key for o in catalog.operations), *texts]))
            )
        port = free_ports(1)[0]
        settings = configuration.load(
            config,
            server={"port": port},
            ray={"dashboard_port": 0},
            generator={"model": model, "max_model_len": 32768, "kv_cache_gib": 2, "options": 24},
        )
        bench, ours, direct = Bench(settings, catalog, clients, count), Ours(catalog, folder / "var"), Direct(settings)
        wanted = []
        for one in filter(None, modes.split(",")):
            mode, _, tokens = one.partition(":")
            wanted.append(changed(settings, mode=mode, overview_tokens=int(tokens or 0)))
        _say("start deployment Generator")
        try:
            ours.start(wanted[0])
            measured = asyncio.run(_measured(bench, ours, wanted, rounds, direct))
        finally:
            direct.stop()
            ours.stop()
    _out.print(table(measured))
    if out:
        out.write_bytes(msgspec.json.encode(measured))


async def _measured(
    bench: Bench, ours: Ours, wanted: Sequence[Settings], rounds: int, direct: Direct
) -> list[Measured]:
    measured = []
    for number, settings in enumerate(wanted):
        if number:
            await ours.change(settings)
        measured.append(await bench.run(ours, settings, rounds, direct))
    return measured


if __name__ == "__main__":
    typer.run(main)
