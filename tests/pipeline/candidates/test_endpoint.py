"""An OpenAI-compatible server as an engine: a real socket, every way of refusing, breaking off and talking nonsense."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pipeline import settings
from pipeline.candidates.endpoint import EndpointEngine, shaped
from pipeline.candidates.propose import Proposer
from pipeline.errors import GeneratorError
from tests.fakes import ScriptedServer
from tests.pipeline.candidates.test_propose import QUERY, grounded, picks

MESSAGES = [{"role": "user", "content": "what next?"}]
SCHEMA = {"type": "object"}


def endpoint(url: str, **changes: Any) -> settings.Endpoint:
    return settings.load("local", endpoint={"url": url, "model": "hosted-1", "api_key": "sk-1"} | changes).endpoint


async def ask(server: ScriptedServer, **changes: Any) -> Any:
    engine = EndpointEngine(endpoint(server.url, **changes))
    try:
        return await engine.generate(MESSAGES, SCHEMA, 50, 0.5, "r-1")
    finally:
        await engine.close()


async def test_the_request_is_a_chat_completion_with_a_schema_and_a_key():
    with ScriptedServer("hello") as server:
        reply = await ask(server)
    assert (reply.text, reply.tokens_in, reply.tokens_cached, reply.tokens_out) == ("hello", 40, 16, 1)
    ((path, headers, body),) = server.asked
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer sk-1"
    assert headers["x-request-id"] == "r-1"
    assert (body["model"], body["messages"], body["temperature"]) == ("hosted-1", MESSAGES, 0.5)
    assert body["max_tokens"] == body["max_completion_tokens"] == 50
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_what_a_server_takes_is_found_once_and_remembered():
    def old(body: dict[str, Any]) -> str | int:
        """Knows no schema and one name of the limit only."""
        return 400 if "json_schema" in json.dumps(body) or "max_completion_tokens" in body else "{}"

    with ScriptedServer(old) as server:
        engine = EndpointEngine(endpoint(server.url))
        for _ in range(2):
            assert (await engine.generate(MESSAGES, SCHEMA, 50, 0.0, "r")).text == "{}"
        await engine.close()
    assert len(server.asked) == 7  # six dialects, the sixth was right; then that one
    assert server.asked[-1][2]["response_format"] == {"type": "json_object"}
    assert server.asked[-1][2]["max_tokens"] == 50


@pytest.mark.parametrize(
    ("line", "says", "asked"),
    [
        (401, "status 401", False),
        (429, "status 429", False),
        (500, "status 500", False),
        (302, "status 302", False),
        (b"no json", "no chat completion", True),
        (b'{"choices": []}', "no chat completion", True),
        (b'{"choices": [{"message": null}]}', "no chat completion", True),
        (b"x" * 2_000_000, "longer than", True),
        (None, "broke off", True),
    ],
)
async def test_every_other_answer_is_a_generator_error_that_tells_no_secret(line: Any, says: str, asked: bool):
    with ScriptedServer(line) as server, pytest.raises(GeneratorError, match=says) as refused:
        await ask(server)
    assert refused.value.asked is asked
    assert "sk-1" not in refused.value.detail


async def test_a_server_that_is_away_costs_nothing():
    with pytest.raises(GeneratorError, match="cannot be reached") as refused:
        await EndpointEngine(endpoint("http://127.0.0.1:9/v1")).generate(MESSAGES, SCHEMA, 50, 0.0, "r")
    assert not refused.value.asked


async def test_where_no_tokens_are_told_the_most_is_taken():
    completion = {"choices": [{"message": {"content": "{}"}}]}
    with ScriptedServer(json.dumps(completion).encode()) as server:
        reply = await ask(server)
    assert (reply.tokens_in, reply.tokens_out) == (len("what next?") + 64, 50)


async def test_a_prompt_that_could_have_more_tokens_than_are_paid_for_is_not_sent():
    with ScriptedServer("{}") as server:
        engine = EndpointEngine(endpoint(server.url, tokens_in_max=1024))
        with pytest.raises(GeneratorError, match="may have more than 1024 tokens"):
            await engine.generate([{"role": "user", "content": "é" * 600}], SCHEMA, 50, 0.0, "r")
    assert server.asked == []


async def test_a_hung_server_is_left_at_the_deadline():
    with ScriptedServer(30.0) as server:
        engine = EndpointEngine(endpoint(server.url))
        loaded = settings.load("local")
        proposer = Proposer(shaped(loaded.generator, endpoint(server.url)), engine)
        with pytest.raises(GeneratorError, match="no reply within"):
            await asyncio.wait_for(proposer.propose(QUERY, grounded(), 0.1), 10)
        await engine.close()


async def test_a_proposal_of_an_endpoint_names_its_model_and_places_of_the_shortlist():
    with ScriptedServer(picks(1, 2)) as server:
        engine = EndpointEngine(endpoint(server.url))
        loaded = settings.load("local", generator={"mode": "logprob"})
        proposer = Proposer(shaped(loaded.generator, endpoint(server.url)), engine)
        proposal = await proposer.propose(QUERY, grounded(), 10.0)
        await engine.close()
    assert [index for index, _, _ in proposal.picks] == [23, 22]
    assert proposal.model == "hosted-1"
    prompt = server.asked[0][2]["messages"]
    assert sum(len(m["content"].encode()) for m in prompt) <= endpoint(server.url).tokens_in_max
