"""API keys: only a hash is kept, a slip is seen at once, and what a file says is what is believed."""

from __future__ import annotations

import asyncio
import string
import time
from pathlib import Path

import msgspec
import pytest
import redis
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline import settings
from pipeline.errors import SettingsError
from pipeline.stores.apikeys import KeyFile, id_of, mint, read_keys
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.state import State


def test_a_key_opens_its_own_record_and_no_other():
    one, record = mint("acme", ["predict", "feedback", "predict"])
    other, _ = mint("acme", ["predict"])
    assert (id_of(one), record.scopes, record.opens(one)) == (record.id, ("predict", "feedback"), True)
    assert not record.opens(other)
    assert not record.opens(one[:-1])
    assert one[15:] not in repr(record)


def test_a_key_whose_time_is_over_opens_nothing():
    one, record = mint("acme", ["predict"], lives_s=60)
    assert record.opens(one)
    assert not msgspec.structs.replace(record, expires=time.time() - 1).opens(one)


@given(st.integers(0, 63), st.sampled_from(string.ascii_letters + string.digits))
def test_a_mistyped_key_is_seen_before_anybody_is_asked(place: int, letter: str):
    one, _ = mint("acme", ["predict"])
    mistyped = one[:place] + letter + one[place + 1 :]
    assert mistyped == one or not id_of(mistyped)


@given(st.text() | st.from_regex(r"os_[0-9A-Za-z]{61}", fullmatch=True))
def test_what_is_no_key_has_no_id(text: str):
    assert id_of(text) == ""


@pytest.mark.parametrize(
    ("tenant", "scopes"),
    [("acme", []), ("acme", ["admin"]), ("", ["predict"]), ("a:b", ["predict"]), ("x" * 65, ["predict"])],
)
def test_no_key_is_made_for_what_is_no_tenant_or_no_scope(tenant: str, scopes: list[str]):
    with pytest.raises(SettingsError):
        mint(tenant, scopes)


def test_a_file_is_read_again_when_it_changes_and_a_broken_one_changes_nothing(tmp_path: Path):
    file, records = tmp_path / "keys.yaml", [mint("acme", ["predict"])[1], mint("b", ["operator"])[1]]
    file.write_text(yaml.safe_dump([msgspec.to_builtins(records[0])]))
    keys = KeyFile(str(file))
    assert (keys.get(records[0].id), keys.get(records[1].id)) == (records[0], None)
    file.write_text(yaml.safe_dump([msgspec.to_builtins(record) for record in records]))
    assert keys.get(records[1].id) == records[1]
    file.write_text("- id: [")
    assert keys.get(records[1].id) == records[1]
    file.unlink()
    assert keys.get(records[1].id) == records[1]
    file.write_text("[]")
    assert keys.get(records[1].id) is None


@pytest.mark.parametrize("text", ["{", "a: 1", "- 1", "- {id: x}", "- {id: x, sha256: y, tenant: t, scopes: [root]}"])
def test_what_is_no_list_of_keys_is_refused(text: str):
    with pytest.raises(SettingsError):
        read_keys(text)


@pytest.mark.redis
def test_redis_knows_no_key():
    server = EmbeddedRedis.throwaway()
    try:
        url = server.start()
        one, record = mint("acme", ["predict"], "the shop")

        async def use() -> list[object]:
            state = State(settings.load().state, url)
            await state.apikeys.put(record)
            found = [await state.apikeys.get(record.id), await state.apikeys.get("x"), await state.apikeys.list()]
            found += [await state.apikeys.remove(record.id), await state.apikeys.remove(record.id)]
            await state.close()
            return found

        assert asyncio.run(use()) == [record, None, [record], True, False]

        async def keep() -> None:
            state = State(settings.load().state, url)
            await state.apikeys.put(record)
            await state.close()

        asyncio.run(keep())
        with redis.Redis.from_url(url) as client:
            stored = b"".join(name + client.dump(name) for name in client.scan_iter("*"))
        assert record.sha256.encode() in stored
        assert one[15:].encode() not in stored
    finally:
        server.stop()
