"""The journal over a real Redis; children that drain and compact are killed at every step."""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import redis

from pipeline import settings
from pipeline.errors import BadRequest, JournalError
from pipeline.stores import journal as module
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.encoding import pack_group, unpack_impression
from pipeline.stores.journal import Journal
from pipeline.stores.records import labels, matrix, sizes
from pipeline.stores.state import State, new_id
from pipeline.types import Call, Feedback, Impression, Query, QueryGroup, Source
from tests.pipeline.stores import deadly

pytestmark = pytest.mark.redis

LIST, GET, DELETE = "GET /notes", "GET /notes/{note_id}", "DELETE /notes/{note_id}"
DAY_S = 86400
ROWS, COLUMNS = 3, 4


@pytest.fixture
def small() -> settings.Journal:
    """Batches of ten groups."""
    return settings.load("local").journal.model_copy(update={"batch": 10})


@pytest.fixture
def journal(tmp_path: Path, small: settings.Journal) -> Journal:
    return Journal(tmp_path / "journal", small)


async def label(
    state: State,
    user: str = "ann",
    outcome: str = "override",
    chosen: str = GET,
    tenant: str = "local",
    **changes: object,
) -> str:
    """Feedback on a new impression; its id."""
    shown = Impression(
        **{
            "id": new_id(),
            "tenant": tenant,
            "user": user,
            "lineage": "notes",
            "digest": "sha256:1",
            "ts": time.time(),
            "shown": (LIST, GET),
            "others": (DELETE,),
            "features": np.arange(ROWS * COLUMNS, dtype=np.float16).tobytes(),
            "fingerprint": "f1",
            "scores": (2.0, 1.0, 0.5),
            "model_version": "7",
            "head": "prompt_only",
            "history": (LIST,),
            "has_prompt": True,
            "terms": (3, 7),
        }
        | changes
    )  # type: ignore[arg-type]
    await state.remember(shown)
    marks = tuple(3 * (operation == chosen) for operation in shown.shown + shown.others)
    group = QueryGroup(shown, marks, outcome, chosen, time.time(), 0.9)
    feedback = Feedback("override", prediction_id=shown.id, user=user, tenant=tenant)
    assert await state.record(feedback, group, "r" * 32, "s" * 32) == "recorded"
    return shown.id


def kept(journal: Journal, **wanted: object) -> list[str]:
    return [id_ for batch in journal.groups(**wanted) for id_ in batch["id"].to_pylist()]  # type: ignore[arg-type]


# --- what lies there


async def test_a_group_is_kept_with_all_that_a_learner_needs(state: State, journal: Journal):
    id_ = await label(state)
    assert await journal.drain(state) == 1
    [batch] = journal.groups()
    [row] = batch.to_pylist()
    assert (row["id"], row["operations"], row["labels"], row["shown"]) == (id_, [LIST, GET, DELETE], [0, 3, 0], 2)
    assert (row["outcome"], row["chosen"], row["best"], row["columns"]) == ("override", GET, 3, COLUMNS)
    assert (row["model_version"], row["head"], row["propensity"], row["fingerprint"]) == ("7", "prompt_only", 1.0, "f1")
    assert (row["history"], row["terms"], row["weight"]) == ([LIST], [3, 7], pytest.approx(0.9))
    assert abs(row["ts"].timestamp() - time.time()) < 60
    assert row["owner"]
    assert "ann" not in str(row)
    assert matrix(batch).tolist() == np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS).tolist()


async def test_what_chance_and_an_experiment_did_to_a_prediction_is_kept(state: State, journal: Journal):
    plain = await label(state)
    drafted = await label(state, arm="interleaved", experiment="ranker 7 8", teams="ba", propensity=0.5)
    swapped = await label(state, experiment="ranker 7 8", propensity=0.02, explored=True, shadow=(GET, LIST))
    await journal.drain(state)
    journal.compact()
    columns = ("id", "arm", "experiment", "teams", "propensity", "explored", "shadow")
    rows = {row.pop("id"): row for batch in journal.groups(columns=columns) for row in batch.to_pylist()}
    assert rows[plain] == {
        "arm": "champion", "experiment": "", "teams": "", "propensity": 1.0, "explored": False, "shadow": [],
    }  # fmt: skip
    assert list(rows[drafted].values()) == ["interleaved", "ranker 7 8", "ba", 0.5, False, []]
    assert list(rows[swapped].values()) == ["champion", "ranker 7 8", "", pytest.approx(0.02), True, [GET, LIST]]


async def test_matrices_of_a_filtered_batch_are_those_of_its_groups(state: State, journal: Journal):
    for i in range(7):
        await label(
            state,
            tenant=f"t{i % 2}",
            shown=(LIST,) if i % 3 else (LIST, GET),
            features=np.full((2 if i % 3 else 3) * COLUMNS, i, np.float16).tobytes(),
        )
    await journal.drain(state)
    [batch] = journal.groups(tenant="t1")
    assert sizes(batch).tolist() == [2, 3, 2]
    assert matrix(batch)[:, 0].tolist() == [1, 1, 3, 3, 3, 5, 5]
    assert labels(batch).sum() == 3
    assert len(labels(batch)) == 7


async def test_groups_are_chosen_by_day_tenant_lineage_and_use(state: State, journal: Journal):
    today = datetime.datetime.now(datetime.UTC).date()
    old = await label(state, ts=time.time() - 3 * DAY_S)
    unlisted = await label(state, chosen="GET /elsewhere")
    bare = await label(state, features=b"")
    other = await label(state, lineage="other", fingerprint="f2")
    foreign = await label(state, tenant="t2")
    await journal.drain(state)
    assert sorted(kept(journal)) == sorted([old, unlisted, bare, other, foreign])
    assert kept(journal)[0] == old
    assert kept(journal, until=today - datetime.timedelta(days=1)) == [old]
    assert old not in kept(journal, since=today)
    assert kept(journal, tenant="t2") == [foreign]
    assert kept(journal, lineage="other") == kept(journal, fingerprint="f2") == [other]
    assert sorted(kept(journal, trainable=True)) == sorted([old, other, foreign])
    assert len({path.parent for path in journal.files()}) == 2


@pytest.mark.parametrize(("first", "then"), [("click", "conversion"), ("click", "accept"), ("accept", "click")])
async def test_of_a_suggestion_told_of_again_and_again_the_latest_group_is_read(
    state: State, server: redis.Redis, journal: Journal, first: str, then: str
):
    id_ = await label(state, outcome=first)
    again = Impression(id_, "local", "ann", "notes", "sha256:1", time.time(), (LIST, GET))
    server.xadd("t:local:inbox", {"group": pack_group(QueryGroup(again, (1, 2), then, GET, time.time() + 1))})
    await journal.drain(state)
    [batch] = journal.groups()
    assert batch["labels"].to_pylist() == [[1, 2]]


async def test_a_newer_files_version_is_refused(state: State, journal: Journal):
    await label(state)
    await journal.drain(state)
    [path] = journal.files()
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"opensesame.version": "99"}), path)
    with pytest.raises(JournalError, match="99"):
        kept(journal)


async def test_an_older_file_lacks_what_was_added_since(state: State, journal: Journal):
    id_ = await label(state)
    await label(state)
    await journal.drain(state)
    [path] = journal.files()
    table = pq.read_table(path)
    added = ["head", "terms", "explored", "experiment", "teams", "shadow"]
    pq.write_table(table.drop_columns(added), path)
    [batch] = journal.groups()
    for name in added:
        assert batch[name].to_pylist() == [None, None]
    assert id_ in batch["id"].to_pylist()


async def test_an_older_file_is_merged_with_newer_ones(state: State, journal: Journal):
    await label(state)
    await journal.drain(state)
    [path] = journal.files()
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["explored", "experiment", "teams", "shadow"]), path)
    await label(state, experiment="ranker 7 8", shadow=(GET,))
    await journal.drain(state)
    assert journal.compact() == 1
    rows = [row for batch in journal.groups(columns=("experiment", "shadow")) for row in batch.to_pylist()]
    assert rows == [{"experiment": None, "shadow": None}, {"experiment": "ranker 7 8", "shadow": [GET]}]


async def test_what_cannot_be_read_is_put_aside_and_holds_nothing_up(
    state: State, server: redis.Redis, journal: Journal
):
    server.xadd("t:local:inbox", {"group": b"garbage"})
    id_ = await label(state)
    assert await journal.drain(state) == 1
    assert kept(journal) == [id_]
    [refused] = (journal.folder / "refused").iterdir()
    assert refused.read_bytes() == b"garbage"
    assert await state.inbox.length("local") == 0


# --- exactly once

# The claim and the acknowledgement are scripts: of two batches 0 to 3.
_STEPS = [
    *(("script", when, times) for times in (0, 1, 3) for when in ("before", "after")),
    ("write", "before", 0), ("write", "after", 1), ("sync", "before", 0), ("sync", "after", 1), ("sync", "after", 2),
    ("rename", "before", 0), ("rename", "after", 0), ("rename", "before", 1), ("rename", "after", 2),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("step", "when", "times"), _STEPS)
async def test_a_drain_that_is_killed_loses_nothing_and_keeps_nothing_twice(
    state: State, redis_url: str, journal: Journal, step: str, when: str, times: int
):
    ids = [await label(state, ts=time.time() - DAY_S * (i % 2)) for i in range(15)]
    assert deadly.run(redis_url, journal, "drain", step, when, times) == -9
    ids.append(await label(state))
    assert sorted(set(kept(journal))) == sorted(kept(journal))  # nothing half written is read
    if (step, when) == ("rename", "after"):
        journal.compact()  # files that are not acknowledged yet may be merged
    assert deadly.run(redis_url, journal, "drain") == 0
    assert sorted(kept(journal)) == sorted(ids)
    assert await state.inbox.length("local") == 0
    assert await journal.drain(state) == 0
    journal.compact()
    assert sorted(kept(journal)) == sorted(ids)
    assert not list(journal.folder.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "when", "times"),
    [("write", "before", 0), ("sync", "before", 0), ("rename", "before", 0), ("rename", "after", 0),
     ("unlink", "before", 0), ("unlink", "after", 0), ("unlink", "after", 1)],
)  # fmt: skip
async def test_a_compaction_that_is_killed_loses_nothing_and_keeps_nothing_twice(
    state: State, redis_url: str, journal: Journal, step: str, when: str, times: int
):
    ids = []
    for _ in range(3):
        ids += [await label(state) for _ in range(3)]
        await journal.drain(state)
    assert len(journal.files()) == 3
    assert deadly.run(redis_url, journal, "compact", step, when, times) == -9
    assert sorted(kept(journal)) == sorted(ids)
    journal.compact()
    assert sorted(kept(journal)) == sorted(ids)
    assert len(list(journal.folder.rglob("*.parquet"))) == 1
    ids.append(await label(state))
    await journal.drain(state)
    journal.compact()
    assert sorted(kept(journal)) == sorted(ids)


async def test_a_batch_that_a_power_cut_made_longer_is_kept_once(state: State, server: redis.Redis, journal: Journal):
    """Redis may lose its last second: the acknowledgement and the claim, then more comes in."""
    ids = [await label(state) for _ in range(3)]
    before = server.xrange("t:local:inbox")
    await journal.drain(state)
    server.delete("t:local:inbox")
    server.sadd("inboxes", "local")
    for id_, fields in before:
        server.xadd("t:local:inbox", fields, id=id_)
    ids.append(await label(state))
    await journal.drain(state)
    await journal.drain(state)
    assert sorted(kept(journal)) == sorted(ids)


# --- what goes


async def test_expired_days_go_and_small_files_are_merged(state: State, tmp_path: Path, small: settings.Journal):
    journal = Journal(tmp_path, small.model_copy(update={"retention_days": 5, "small_groups": 8, "file_groups": 12}))
    await label(state, ts=time.time() - 7 * DAY_S)
    ids = [await label(state, ts=time.time() - 3 * DAY_S)]
    await journal.drain(state)
    for _ in range(6):
        ids += [await label(state) for _ in range(5)]
        await journal.drain(state)
    assert journal.compact() == 8 - 4
    assert sorted(kept(journal)) == sorted(ids)
    assert [pq.read_metadata(path).num_rows for path in journal.files()] == [1, 10, 10, 10]
    assert journal.compact() == 0


async def everything(server: redis.Redis, journal: Journal) -> bytes:
    """All that Redis and the files hold, keys too."""
    found = []
    for name in server.scan_iter(count=1000):
        kind = server.type(name)
        value = {
            b"string": server.get, b"set": server.smembers, b"hash": server.hgetall,
            b"list": lambda n: server.lrange(n, 0, -1), b"zset": lambda n: server.zrange(n, 0, -1, withscores=True),
            b"stream": lambda n: [module.unpack_group(f[b"group"]) for _, f in server.xrange(n)],
        }[kind](name)  # fmt: skip
        if b":impression:" in name:
            value = unpack_impression(value)
        found.append(repr((name, value)))
    rows = [row for batch in journal.groups() for row in batch.to_pylist()]
    return json.dumps([sorted(found), rows], default=str).encode()


@pytest.mark.parametrize("user", ["bob", "b[o]b*?", "b:o%b"])
async def test_a_forgotten_user_leaves_nothing_and_others_all(
    state: State, server: redis.Redis, journal: Journal, user: str
):
    anns = [await label(state, "ann") for _ in range(3)]
    anns.append(await label(state, "bob2"))
    await journal.drain(state)
    before = await everything(server, journal)
    gone = []
    for _ in range(3):
        gone.append(await label(state, user, "accept", DELETE, history=(LIST, GET)))
        gone.append(await label(state, user, chosen="GET /secret", ts=time.time() - DAY_S))
        await journal.drain(state)
    gone.append(await label(state, user, chosen=LIST))
    anns.append(await label(state, "ann"))
    told = await journal.forget(state, "local", user)
    assert (told["impressions"], told["groups"], told["rows"]) == (7, 1, 6)
    after = await everything(server, journal)
    assert user.encode() not in after.replace(b"bob2", b"")
    assert module.owner_hash("local", user).encode() not in after
    assert not [id_ for id_ in gone if id_.encode() in after]
    assert b"secret" not in after
    assert len(after) >= len(before)
    await journal.drain(state)
    assert sorted(kept(journal)) == sorted(anns)
    recall = await state.recall(Query(Source(name="notes"), calls=(Call("GET", "/notes"),), user="ann", prompt="x"))
    assert recall.followed.after(LIST) == {GET: 5.0}
    assert [entry.chosen for entry in recall.prompts] == [GET] * 5
    assert (await journal.forget(state, "local", user))["rows"] == 0


# --- who reads and who rewrites


async def drained(state: State, journal: Journal, files: int = 3) -> list[str]:
    """Ids of groups that lie in so many files."""
    ids = []
    for _ in range(files):
        ids += [await label(state) for _ in range(3)]
        await journal.drain(state)
    return ids


async def test_what_is_being_read_is_merged_and_deleted_only_afterwards(
    state: State, journal: Journal, small: settings.Journal
):
    ids = await drained(state, journal)
    expiring = Journal(journal.folder, small.model_copy(update={"retention_days": -1}))
    batches = journal.groups(columns=("id",), batch=1)
    read = next(batches)["id"].to_pylist()
    assert journal.compact() == expiring.compact() == 0
    ids_later = [await label(state)]
    assert await journal.drain(state) == 1  # what comes in does not wait for readers
    read += [id_ for batch in batches for id_ in batch["id"].to_pylist()]
    assert sorted(read) == sorted(ids)
    assert journal.compact() == 3
    assert sorted(kept(journal)) == sorted(ids + ids_later)
    assert expiring.compact() == 1


async def test_files_that_were_listed_are_there_while_they_are_read(state: State, journal: Journal):
    ids = await drained(state, journal)
    with journal.reading():
        files = journal.files()
        journal.compact()
        assert sorted(id_ for path in files for id_ in pq.read_table(path)["id"].to_pylist()) == sorted(ids)
    assert journal.compact() == 2


async def test_forgetting_waits_for_those_who_read_and_they_for_it(
    state: State, journal: Journal, monkeypatch: pytest.MonkeyPatch
):
    ids = await drained(state, journal)
    bobs = [await label(state, "bob") for _ in range(2)]
    await journal.drain(state)
    batches = journal.groups(columns=("id",), batch=1)
    read = next(batches)["id"].to_pylist()
    monkeypatch.setattr(module, "_READ_WAIT_S", 0.1)
    with pytest.raises(JournalError, match="is being read"):
        await journal.forget(state, "local", "bob")
    read += [id_ for batch in batches for id_ in batch["id"].to_pylist()]
    assert sorted(read) == sorted(ids + bobs)
    assert (await journal.forget(state, "local", "bob"))["rows"] == 2
    assert sorted(kept(journal)) == sorted(ids)
    with journal._rewriting(0.0), pytest.raises(JournalError, match="is being rewritten"):
        kept(journal)


async def test_a_reader_that_was_killed_holds_nothing_up(state: State, redis_url: str, journal: Journal):
    ids = await drained(state, journal)
    assert deadly.run(redis_url, journal, "read", "read", "after") == -9
    assert journal.compact() == 2
    assert sorted(kept(journal)) == sorted(ids)


async def test_a_folder_that_is_not_there_is_read_and_not_made(journal: Journal):
    assert (kept(journal), journal.files()) == ([], [])
    assert not journal.folder.exists()


async def test_what_is_forgotten_is_gone_from_the_file_that_redis_appends_to(
    tmp_path: Path, limits: settings.State, small: settings.Journal
):
    journal = Journal(tmp_path / "journal", small)
    with EmbeddedRedis(tmp_path) as embedded:
        state = State(limits, embedded.url)
        await label(state, "bob-the-forgotten")
        await label(state, "ann-who-stays")

        def written() -> bytes:
            return b"".join(path.read_bytes() for path in (tmp_path / "redis").rglob("*.aof"))

        assert b"bob-the-forgotten" in written()
        await state.connection.run(lambda client: client.bgrewriteaof())  # one that began before
        await journal.forget(state, "local", "bob-the-forgotten")
        assert b"bob-the-forgotten" not in written()
        assert b"ann-who-stays" in written()
        await state.close()


async def test_a_redis_that_may_not_be_asked_to_rewrite_its_file_is_let_through(
    redis_url: str, server: redis.Redis, limits: settings.State, journal: Journal
):
    if redis_url.startswith("unix:"):
        pytest.skip("the embedded one has no users")
    server.config_set("appendonly", "yes")
    server.acl_setuser("guest", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-bgrewriteaof"])
    guest = State(limits, redis_url.replace("redis://", "redis://guest:secret@"))
    try:
        await label(guest, "bob")
        assert (await journal.forget(guest, "local", "bob"))["impressions"] == 1
    finally:
        await guest.close()
        server.acl_deluser("guest")
        server.config_set("appendonly", "no")


async def test_nobody_forgets_everybody(state: State, journal: Journal):
    with pytest.raises(BadRequest):
        await journal.forget(state, "local", "anonymous")


async def test_feedback_on_its_way_finds_nothing_to_join_once_its_user_is_forgotten(
    state: State, server: redis.Redis, journal: Journal
):
    id_ = await label(state, "bob")
    await journal.forget(state, "local", "bob")
    shown = Impression(id_, "local", "bob", "notes", "sha256:1", time.time(), (LIST,))
    group = QueryGroup(shown, (3,), "override", LIST)
    said = await state.record(Feedback("override", prediction_id=id_, user="bob"), group, "r" * 32, "s" * 32)
    assert said == "gone"
    assert await state.inbox.length("local") == 0


@pytest.mark.slow
@pytest.mark.parametrize(("step", "when"), [("script", "after"), ("rename", "before"), ("rename", "after")])
async def test_forgetting_that_is_killed_is_done_again_whole(
    state: State, redis_url: str, journal: Journal, step: str, when: str
):
    anns = []
    for i in range(3):
        anns.append(await label(state, "ann"))
        await label(state, "bob", ts=time.time() - DAY_S * (i % 2))
        await journal.drain(state)
    assert deadly.run(redis_url, journal, "bob", step, when) == -9
    assert deadly.run(redis_url, journal, "bob") == 0
    assert sorted(kept(journal)) == sorted(anns)


async def test_two_at_once_do_not_touch_the_same_folder(
    state: State, journal: Journal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_LOCK_WAIT_S", 0.1)
    await label(state)
    with journal._locked(), pytest.raises(JournalError, match="another process"):
        await journal.drain(state)
    assert await journal.drain(state) == 1
