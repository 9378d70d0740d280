"""The real vLLM engine on a tiny checkpoint of random weights: valid JSON from noise, deadlines, death."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from loadtest.replies import ask
from pipeline.candidates import prompt
from pipeline.candidates.endpoint import EndpointEngine, shaped
from pipeline.candidates.overview import Overview, overview
from pipeline.candidates.propose import Proposer
from pipeline.catalog.parse import parse_spec
from pipeline.errors import GeneratorError
from pipeline.settings import Settings, load, packaged_spec
from pipeline.types import Call, Candidate, GroundedQuery, Parameter, Query, Source
from serve.generator import Generator
from tests.tiny_checkpoint import make_tiny_adapter, make_tiny_checkpoint

QUERY = Query(
    Source(name="billing"), calls=(Call("GET", "/charges/ch_123"),), prompt="refund charge ch_123", k=3, temperature=1.0
)
SUMMARY = "Create a refund of the charge that was just read, in full or in part"


def configured(model: Path | str, **changes: Any) -> Settings:
    few = {
        "model": str(model),
        "max_model_len": 8192,
        "kv_cache_gib": 1,
        "mode": "choose",
        "options": 24,
        "overview_tokens": 0,
    }
    return load("local-vllm", generator=few | changes)


def grounded(count: int = 30) -> GroundedQuery:
    schema = (Parameter("charge", "body"), Parameter("amount", "body", type="integer"))
    candidates = tuple(
        Candidate(operation=f"POST /v1/things{i:02}", summary=SUMMARY[: 20 + 5 * (i % 8)], schema=schema)
        for i in range(count)
    )
    return GroundedQuery(
        digest="sha256:0",
        lineage="billing",
        title="Billing",
        operations=count,
        previous=(),
        unmatched=(),
        candidates=candidates,
        block=np.zeros((count, 1), np.float16),
    )


def made(settings: Settings) -> Any:
    """The deployment's class, as Serve would construct it in a replica."""
    return Generator.func_or_class(settings)


def wait_until_started(generator: Any, limit_s: float = 300) -> None:
    until = time.monotonic() + limit_s
    while generator._engine.status == "starting" and time.monotonic() < until:
        time.sleep(0.1)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One engine with an adapter, for all tests of this module; one of the last kills it."""
    environment = dict(os.environ)
    folder = tmp_path_factory.mktemp("generator")
    model = make_tiny_checkpoint(folder / "tiny")
    adapter = make_tiny_adapter(folder / "adapter", model)
    generator = made(configured(model, lora=str(adapter)))
    assert generator._engine.status == "starting"  # the constructor waits for nothing
    with pytest.raises(GeneratorError, match="starting"):
        asyncio.run(generator.propose(QUERY, grounded(), 5.0))
    asyncio.run(generator.check_health())  # a replica that is starting is healthy
    wait_until_started(generator)
    assert generator._engine.status == "ok", generator._engine.detail
    yield generator
    generator._engine.close()
    os.environ.clear()
    os.environ.update(environment)  # vLLM's variables are the engine's, not of other tests


@pytest.fixture(scope="module")
def openai_server(generator: Any) -> Iterator[str]:
    """vLLM's own OpenAI-compatible server over the engine of these tests; its base URL."""
    import uvicorn
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.app import build_app
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    engine, loop = generator._engine._engine, generator._engine._loop
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)  # so that who comes before the server runs waits for it
    model = generator._engine._settings.model
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(["--model", model, "--served-model-name", "tiny"])

    async def serve() -> uvicorn.Server:
        tasks = await engine.get_supported_tasks()
        app = build_app(args, tasks, engine.model_config)
        await init_app_state(engine, app.state, args, tasks)
        return uvicorn.Server(uvicorn.Config(app, log_level="warning"))

    server = asyncio.run_coroutine_threadsafe(serve(), loop).result(60)
    serving = asyncio.run_coroutine_threadsafe(server.serve([listener]), loop)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server.should_exit = True
    serving.result(30)


def engine_core() -> psutil.Process:
    return next(p for p in psutil.Process().children(recursive=True) if "EngineCore" in " ".join(p.cmdline()))


@pytest.mark.vllm
@pytest.mark.parametrize("known", [None, overview(grounded().candidates, 2000)], ids=["any catalog", "this catalog"])
async def test_random_weights_give_valid_picks(generator: Any, known: Overview | None) -> None:
    messages = [{"role": "user", "content": "GET /v1/charges"}]
    schema = prompt.schema(24, 3, known)
    asked = (generator._engine.generate(messages, schema, 6000, 1.0, f"valid-{known is None}-{n}") for n in range(12))
    for reply in await asyncio.gather(*asked):
        picks = json.loads(reply.text, strict=False)["picks"]
        assert reply.finish == "stop"
        assert 1 <= len(picks) <= 3
        for pick in picks:
            assert set(pick) == {"i", "params", "why"}
            assert 1 <= pick["i"] <= 24
            assert len(pick["params"]) <= 4
            # the grammar counts a surrogate as one character; the decoder makes three replacements of its bytes
            assert len(re.sub("\ufffd{3}", "\ufffd", pick["why"])) <= 80
            if known:
                assert pick["params"].keys() <= {"charge", "amount"}
                assert isinstance(pick["params"].get("amount", 0), int)


@pytest.mark.vllm
async def test_letters_are_weighed_as_the_model_with_its_adapter_does(generator: Any) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

    messages = [{"role": "user", "content": "refund charge ch_123"}]
    weighing = await generator._engine.weigh(messages, prompt.LETTERS[:30], "weigh")
    settings = generator._engine._settings
    tokenizer = PreTrainedTokenizerFast.from_pretrained(settings.model)
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    letters = [tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in prompt.LETTERS[:30]]
    model = Qwen3ForCausalLM.from_pretrained(settings.model, dtype=torch.float32)
    adapter = load_file(Path(settings.lora) / "adapter_model.safetensors")

    def logprobs() -> np.ndarray:
        with torch.no_grad():
            return torch.log_softmax(model(ids).logits[0, -1], -1)[letters].numpy()

    plain = logprobs()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            key = f"base_model.model.{name.removesuffix('.weight')}.lora_"
            if f"{key}A.weight" in adapter:
                weight += 2.0 * adapter[f"{key}B.weight"].float() @ adapter[f"{key}A.weight"].float()  # alpha / rank
    expected = logprobs()
    assert weighing.tokens_in == ids.shape[1]
    np.testing.assert_allclose(weighing.logprobs, expected, atol=0.15)  # bfloat16
    assert np.abs(expected - plain).max() > 0.5


@pytest.mark.vllm
async def test_weighed_options_stay_within_the_shortlist(generator: Any) -> None:
    settings = generator._engine._settings.model_copy(update={"mode": "logprob"})
    proposer = Proposer(settings, generator._engine)
    proposals = await asyncio.gather(*(proposer.propose(QUERY, grounded(), 60.0) for _ in range(8)))
    for proposal in proposals:
        assert len(proposal.picks) == QUERY.k + settings.buffer
        assert all(0 <= index < 24 for index, _, _ in proposal.picks)
        assert 0 < sum(proposal.weights) <= 1.001
        assert proposal.tokens_out == 2


@pytest.mark.vllm
async def test_prompts_read_by_paragraphs_say_the_same(generator: Any) -> None:
    prompts = generator._engine._prompts
    messages = prompt.messages(prompt.offer(grounded().candidates, 24), "Billing", QUERY, 7, 4000)
    text = prompts._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text.count("\n\n") > 2
    assert prompts._tokenizer.decode(prompts.ids(messages)) == text
    assert prompts.ids(messages) == prompts.ids(messages)


@pytest.mark.vllm
async def test_a_word_is_no_letter_to_weigh(generator: Any) -> None:
    with pytest.raises(GeneratorError, match="no single token"):
        await generator._engine.weigh([{"role": "user", "content": "1"}], ["a whole sentence of words"], "word")


@pytest.mark.vllm
async def test_eight_proposals_at_once_stay_within_the_shortlist(generator: Any) -> None:
    proposals = await asyncio.gather(*(generator.propose(QUERY, grounded(), 60.0) for _ in range(8)))
    for proposal in proposals:
        assert proposal.picks
        assert all(0 <= index < 24 for index, _, _ in proposal.picks)
        assert proposal.tokens_in > 200
        assert proposal.tokens_out > 0


@pytest.mark.vllm
async def test_of_what_random_weights_write_nothing_is_outside_the_spec(generator: Any) -> None:
    """A sample; `make replies` has 10,000 written."""
    path = packaged_spec("billing")
    assert path is not None
    changes = {"max_tokens": 96}
    settings = load("local-vllm", generator=generator._engine._settings.model_copy(update=changes).model_dump())
    catalog = parse_spec(path.read_bytes(), settings.parse)
    replies, came, wrong = await ask(generator._engine, settings, catalog, 64)
    assert replies.total() >= 64
    assert any(kind.startswith("free") for kind in replies)
    assert came["none"] < came.total()
    assert wrong == []


@pytest.mark.vllm
@pytest.mark.parametrize("mode", ["choose", "logprob"])
async def test_a_catalogs_overview_is_served_from_the_prefix_cache(generator: Any, mode: str) -> None:
    changes = {"mode": mode, "overview_tokens": 4000, "max_tokens": 40}
    settings = generator._engine._settings.model_copy(update=changes)

    class Cards:
        async def cards(self, *_: Any) -> tuple[Candidate, ...]:
            return grounded(200).candidates

    proposer = Proposer(settings, generator._engine, Cards())
    with contextlib.suppress(GeneratorError):  # cut off before a pick
        await proposer.propose(QUERY, grounded(), 60.0)
    await proposer.read()
    generator._engine._tokens.clear()
    for wish in ("refund it", "make a thing", "what is the amount"):
        with contextlib.suppress(GeneratorError):
            await proposer.propose(msgspec.structs.replace(QUERY, prompt=wish), grounded(), 60.0)
    assert generator._engine.prefix_hit_rate > 0.8
    assert (await generator.state())["prefix_hit_rate"] == round(generator._engine.prefix_hit_rate, 3)


@pytest.mark.vllm
async def test_deadline_ends_the_request_inside_the_engine(generator: Any) -> None:
    with pytest.raises(GeneratorError, match="no reply within"):
        await generator.propose(QUERY, grounded(), 0.03)
    until = time.monotonic() + 10
    while generator._engine._engine.get_num_unfinished_requests() and time.monotonic() < until:
        await asyncio.sleep(0.02)
    assert generator._engine._engine.get_num_unfinished_requests() == 0


@pytest.mark.vllm
async def test_messages_over_the_context_are_refused_not_fatal(generator: Any) -> None:
    with pytest.raises(GeneratorError, match="over 8192"):
        await generator._engine.generate(
            [{"role": "user", "content": "x7 " * 9000}], {"type": "boolean"}, 8, 0.0, "long"
        )
    assert (await generator.state())["status"] == "ok"
    await generator.check_health()


@pytest.mark.vllm
async def test_an_endpoint_asks_vllms_own_server_and_learns_what_it_took(openai_server: str) -> None:
    loaded = load("local", endpoint={"url": openai_server, "model": "tiny", "max_tokens": 2000})
    engine = EndpointEngine(loaded.endpoint)
    proposer = Proposer(shaped(loaded.generator, loaded.endpoint), engine)
    proposals = [await proposer.propose(QUERY, grounded(), 60.0) for _ in range(2)]
    await engine.close()
    for proposal in proposals:
        assert proposal.model == "tiny"
        assert all(0 <= index < 24 for index, _, _ in proposal.picks)
        assert 200 < proposal.tokens_in < loaded.endpoint.tokens_in_max
        assert 0 < proposal.tokens_out <= 2 * 2000
    engine = EndpointEngine(loaded.endpoint.model_copy(update={"model": "another"}))
    with pytest.raises(GeneratorError, match="status 404") as refused:
        await Proposer(shaped(loaded.generator, loaded.endpoint), engine).propose(QUERY, grounded(), 60.0)
    assert not refused.value.asked
    await engine.close()


@pytest.mark.vllm
async def test_killed_engine_fails_calls_at_once_and_the_health_check(generator: Any) -> None:
    """After all others: the engine does not come back, the replica is replaced."""
    waiting = [
        asyncio.create_task(
            generator._engine.generate(
                [{"role": "user", "content": "1"}], {"type": "string", "minLength": 4000}, 4000, 1.0, f"death-{n}"
            )
        )
        for n in range(3)
    ]
    await asyncio.sleep(0.2)
    engine_core().kill()
    results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
    assert all(isinstance(result, GeneratorError) and result.asked for result in results), results
    with pytest.raises(GeneratorError, match="not up: dead"):
        await generator.propose(QUERY, grounded(), 5.0)
    with pytest.raises(GeneratorError, match="died"):
        await generator.check_health()
    assert (await generator.state())["status"] == "dead"


@pytest.mark.vllm
async def test_checkpoint_that_does_not_load_leaves_the_rest_standing(tmp_path: Path) -> None:
    generator = made(configured(tmp_path / "nothing"))
    await asyncio.to_thread(wait_until_started, generator, 120)
    state = await generator.state()
    assert state["status"] == "failed"
    assert state["detail"]
    with pytest.raises(GeneratorError, match="not up: failed"):
        await generator.propose(QUERY, grounded(), 5.0)
    await generator.check_health()  # not replaced at once, so that it does not spin
    generator._engine._failed_at -= 3600
    with pytest.raises(GeneratorError, match="did not start"):
        await generator.check_health()


OWNER = """
import multiprocessing, time
def hold(pipe):
    from serve.lifeline import Lifeline
    class Worker(Lifeline):
        def __init__(self, rank): self.rank = rank
    assert Worker(3).rank == 3
    pipe.send(True)
    time.sleep(600)
if __name__ == "__main__":
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    child = multiprocessing.get_context("spawn").Process(target=hold, args=(theirs,), name="EngineCore")
    child.start()
    ours.recv()
    print(child.pid, flush=True)
    time.sleep(600)
"""


def test_engine_process_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    assert owner.stdout is not None
    core = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.wait()
    psutil.wait_procs([core], timeout=20)
    assert not core.is_running() or core.status() == psutil.STATUS_ZOMBIE
