"""The MCP server, spoken to by the official client: over stdio without a service, and before one."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from pipeline.types import Source
from serve import mcp_server
from tests.conftest import NOTES
from tests.documented import documented


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    return answer.structured_content


def served(*arguments: str, cwd: Path) -> StdioServerParameters:
    command = ["-P", "-m", "serve.cli", *arguments]
    return StdioServerParameters(command=sys.executable, args=command, cwd=cwd)


async def test_over_stdio_without_a_service(tmp_path: Path) -> None:
    (tmp_path / "openapi.yaml").write_text(NOTES)
    _, *asked = documented("opensesame mcp --spec openapi.yaml")
    async with Client(served(*asked, "--no-meaning", cwd=tmp_path)) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {"next_call", "shortlist_operations", "record_call", "feedback"}
        found = await call(client, "shortlist_operations", sentence="search my notes for a word", k=2)
        assert found["operations"][0]["endpoint"] == "GET /notes/search"
        assert (len(found["operations"]), found["of"]) == (2, 5)
        await call(client, "record_call", call="POST /notes", status=201, response={"id": "n7", "text": "milk"})
        after = await call(client, "next_call", prompt="read the note again", k=3)
        read = next(p for p in after["predictions"] if p["endpoint"] == "GET /notes/{note_id}")
        assert read["params"] == {"note_id": "n7"}
        assert await call(client, "feedback", outcome="override", chosen="GET /notes/n7") == {"status": "recorded"}
        wrong = await client.call_tool("next_call", {"calls": ["notes"]})
        assert wrong.is_error
        assert "METHOD /path" in wrong.content[0].text


async def test_before_a_service(url: str, tmp_path: Path) -> None:
    _, *asked = documented("opensesame mcp --url http://127.0.0.1:8000 --spec billing")
    asked[asked.index("--url") + 1] = url
    async with Client(served(*asked, cwd=tmp_path)) as client:
        early = await client.call_tool("feedback", {"outcome": "accept"})
        assert early.is_error
        await call(client, "record_call", call="GET /v1/charges/ch_5", status=200)
        found = await call(client, "next_call", prompt="refund the duplicate charge")
        refund = next(p for p in found["predictions"] if p["endpoint"] == "POST /v1/refunds")
        assert refund["params"]["charge"] == "ch_5"
        assert (await call(client, "feedback", outcome="accept"))["status"] == "recorded"
        twice = await client.call_tool("feedback", {"outcome": "reject"})
        assert twice.is_error
        assert "conflict" in twice.content[0].text


@pytest.mark.slow
async def test_what_is_learnt_under_a_folder_is_known_again(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text(NOTES)
    for time in range(2):
        async with contextlib.AsyncExitStack() as stack:
            here = mcp_server._here(Source(data=NOTES.encode()), tmp_path / "var", False, "local")
            place = await stack.enter_async_context(here)
            client = await stack.enter_async_context(Client(mcp_server.build(place, "agent")))
            await call(client, "record_call", call="GET /notes/search")
            first = (await call(client, "next_call"))["predictions"][0]["endpoint"]
            if time:
                assert first == "POST /notes"
            for _ in range(8):
                await call(client, "next_call")
                await call(client, "feedback", outcome="override", chosen="POST /notes")
