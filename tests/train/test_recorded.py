"""Recorded sessions as a corpus: what is matched, what may be asked for, and what a mistake in a file says."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import settings
from pipeline.errors import BadRequest
from tests.conftest import NOTES
from tests.fakes import HashingEncoder
from train import bootstrap, corpus, recorded
from train.imports.recording import Recording, Request, request_of

LIMITS = settings.load().parse
TARGET = recorded.open_target(NOTES.encode(), "notes.yaml", LIMITS)


def _sessions(*calls: str, prompts: tuple[str, ...] = ()) -> list[corpus.Session]:
    requests = [request_of(*call.split(" ", 1)) for call in calls]
    found = Recording(tuple(r for r in requests if r), "line 1", prompts)
    return recorded.sessions_of(found, "notes.jsonl", TARGET, recorded.Tally())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notes.yaml").write_text(NOTES)
    return tmp_path


def _write(folder: Path, *rows: Any, name: str = "a.jsonl") -> None:
    (folder / name).write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))


def _read(folder: Path, specs: Path | None = None, tally: recorded.Tally | None = None) -> list[Any]:
    return list(recorded.read_sessions(folder, specs, limits=LIMITS, tally=tally))


def test_each_wording_of_a_row_becomes_a_session(folder: Path) -> None:
    events = [{"endpoint": "GET /notes", "params": {"folder": "work"}}, {"endpoint": "DELETE /notes/n1"}]
    _write(folder, {"prompt": "drop it", "prompts": ["delete that note"], "spec": "notes.yaml", "events": events})
    [(spec, catalog, sessions)] = _read(folder)
    assert (spec.name, spec.provider, spec.split) == ("notes.yaml", "notes", "train")
    assert [s.prompt for s in sessions] == ["drop it", "delete that note"]
    assert len({s.id for s in sessions}) == 2
    assert sessions[0].catalog == catalog.digest
    assert sessions[0].operations == ("GET /notes", "DELETE /notes/{note_id}")
    assert sessions[0].answers == (0, 1)


def test_what_is_imported_is_written_and_read_as_any_corpus(folder: Path) -> None:
    _write(folder, {"prompt": "show", "spec": "notes.yaml", "events": [{"endpoint": "GET /notes/n1", "ts": 5}]})
    made = _read(folder)
    assert corpus.write(made, folder / "out") == (1, 1)
    assert list(corpus.read(folder / "out")) == [(catalog, sessions) for _, catalog, sessions in made]


def test_a_repeated_call_is_history_and_no_answer() -> None:
    [session] = _sessions(
        "GET /notes", "GET /notes", "GET /notes/", "GET /notes?folder=b", "GET /notes", prompts=("x",)
    )
    assert len(session.calls) == 5
    assert session.answers == (0, 3, 4)


def test_without_a_prompt_the_first_call_is_not_asked_for() -> None:
    [session] = _sessions("GET /notes", "GET /notes/n1")
    assert session.answers == (1,)
    assert _sessions("GET /notes") == []
    assert len(_sessions("GET /notes", prompts=("list",))) == 1


def test_calls_that_are_no_operation_are_counted_by_their_outline_and_why() -> None:
    tally = recorded.Tally()
    calls = ("GET /notes", "GET /static/app.4fe2.js", "GET /carts/17", "GET /carts/18", "PUT /notes/1f0c9a")
    requests = [r for c in calls if (r := request_of(*c.split(" ", 1)))]
    assert recorded.match(requests, TARGET, tally)[1] == ["GET /notes"]
    assert tally.unmatched == Counter(
        {
            ("GET /carts/{}", recorded.NO_PATH): 2,
            ("GET /static/app.4fe2.js", recorded.NO_PATH): 1,
            ("PUT /notes/{}", "the path has GET, DELETE"): 1,
        }
    )
    assert (tally.requests, tally.matched) == (5, 1)


def test_only_the_hosts_of_the_spec_count_where_the_recording_names_hosts() -> None:
    urls = ("https://notes.example/api/notes", "https://other.example/api/notes", "https://notes.example:443/api/notes")
    requests = [r for url in urls if (r := request_of("GET", url))]
    tally = recorded.Tally()
    assert len(recorded.match(requests, TARGET, tally)[0]) == 2
    assert tally.other_hosts == Counter({"other.example": 1})
    chosen = recorded.open_target(NOTES.encode(), "notes.yaml", LIMITS, hosts=["other.*"])
    assert len(recorded.match(requests, chosen, recorded.Tally())[0]) == 1


def test_a_long_session_is_cut_into_pieces_that_overlap() -> None:
    [*pieces] = _sessions(*(f"GET /notes/n{i}" for i in range(100)), prompts=("look",))
    assert sum(len(p.answers) for p in pieces) == 100
    assert max(len(p.calls) for p in pieces) == 60
    asked = [p.calls[a].path for p in pieces for a in p.answers]
    assert asked == [f"/notes/n{i}" for i in range(100)]
    assert len({p.id for p in pieces}) == 3


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "a.jsonl, line 2 is not JSON"),
        ("[]", "a.jsonl, line 2 is no session: Expected `object`, got `array`"),
        ({"prompt": "x"}, "missing required field `events`"),
        ({"events": []}, "it has no events"),
        ({"events": [{"endpoint": "notes"}]}, "line 2, event 1: endpoint must be 'METHOD /path'"),
        ({"events": [{"endpoint": "GET /notes"}, {"endpoint": 5}]}, "`$.events[1].endpoint`"),
        ({"events": [{"endpoint": "GET /notes", "ts": "noon"}]}, "event 1: ts must be an ISO 8601 time"),
        ({"events": [{"endpoint": "GET /notes"}]}, "line 2 names no spec"),
        ({"spec": "gone.yaml", "events": [{"endpoint": "GET /notes"}]}, "there is no spec 'gone.yaml' at "),
    ],
)
def test_a_mistake_is_named_with_its_line(folder: Path, row: Any, says: str) -> None:
    _write(folder, {"spec": "notes.yaml", "events": [{"endpoint": "GET /notes"}]}, row)
    with pytest.raises(BadRequest) as error:
        _read(folder)
    assert says in error.value.detail


def test_a_spec_is_found_beside_the_file_in_a_folder_or_among_the_examples(folder: Path) -> None:
    specs = folder / "specs"
    (specs / "wiki.example").mkdir(parents=True)
    (specs / "wiki.example" / "v1.yaml").write_text(NOTES.replace("Notes", "Wiki"))
    calls = {"notes.yaml": "GET /notes", "wiki.example/v1.yaml": "GET /notes", "billing": "GET /v1/charges"}
    _write(folder, *({"spec": spec, "prompt": "x", "events": [{"endpoint": call}]} for spec, call in calls.items()))
    found = [(spec.name, spec.provider, catalog.title) for spec, catalog, _ in _read(folder, specs)]
    assert found == [
        ("notes.yaml", "notes", "Notes"),
        ("wiki.example/v1.yaml", "wiki.example", "Wiki"),
        ("billing.yaml", "billing", "Billing"),
    ]


def test_a_missing_file_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be read: No such file"):
        _read(tmp_path / "none.jsonl")
    with pytest.raises(BadRequest, match=r"no \*.jsonl in"):
        _read(tmp_path)


def test_secrets_are_taken_out_and_answers_kept_as_samples(folder: Path) -> None:
    body = {"id": "n1", "accessToken": "abc", "tags": [1, 2, 3, 4], "text": "x" * 999, "next_page_token": "p2"}
    event = {
        "endpoint": "POST /notes?api_key=k123&folder=a",
        "params": {"text": "key eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abc", "password": "p", "is_secret": True},
        "response": {"status": 201, "body": body},
    }
    _write(folder, {"spec": "notes.yaml", "prompt": "use Bearer abcdef0123456789", "events": [event]})
    [(_, _, [session])] = _read(folder)
    [call] = session.calls
    assert session.prompt == "use [secret]"
    assert call.params == {
        "api_key": "[secret]",
        "folder": "a",
        "text": "key [secret]",
        "password": "[secret]",
        "is_secret": True,
    }
    assert call.status == 201
    assert call.body["accessToken"] == "[secret]"
    assert call.body["next_page_token"] == "p2"
    assert (call.body["tags"], len(call.body["text"])) == ([1, 2, 3], 256)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"endpoint": st.text() | st.sampled_from(["GET /notes", "DELETE /notes/%00", "GET //[x"])},
            optional={"params": _JSON, "ts": _JSON, "response": _JSON},
        ),
        max_size=4,
    )
    | _JSON
)
def test_any_row_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, events: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    (folder / "notes.yaml").write_text(NOTES)
    _write(folder, {"spec": "notes.yaml", "prompt": "x", "events": events})
    made: list[Any] = []
    with contextlib.suppress(BadRequest):
        made = _read(folder)
    corpus.write(made, folder / "out")
    assert list(corpus.read(folder / "out")) == [(catalog, sessions) for _, catalog, sessions in made]


def test_a_request_needs_a_method_and_an_http_target() -> None:
    assert request_of("BREW", "/pot") is None
    assert request_of("GET", "chrome-extension://abc/x") is None
    assert request_of("GET", "https://[broken/x") is None
    assert request_of("GET", "/" + "x" * 5000) is None
    found = request_of("get", "https://me:pw@a.example:8080/p?x=1&x=2&y[]=3#z", {"y": 4})
    assert isinstance(found, Request)
    assert (found.host, found.call.endpoint) == ("a.example:8080", "GET /p")
    assert found.call.params == {"x": ["1", "2"], "y": 4}


def test_groups_are_made_of_sessions_with_and_without_a_prompt(folder: Path) -> None:
    events = [{"endpoint": e} for e in ("GET /notes", "GET /notes/n1", "DELETE /notes/n1")]
    _write(folder, {"spec": "notes.yaml", "events": events}, {"spec": "notes.yaml", "prompt": "x", "events": events})
    corpus.write(_read(folder), folder / "corpus")
    texts = bootstrap.texts_of(folder / "corpus")
    bootstrap.Vectors.encode(texts, HashingEncoder(), folder / "vectors", lambda done, total: None)
    vectors = bootstrap.Vectors(folder / "vectors")
    [(catalog, [silent, prompted])] = corpus.read(folder / "corpus")
    limits = settings.load().shortlist
    groups = list(bootstrap.groups_of(catalog, [silent], vectors, limits, 7))
    assert [g.head for g in groups] == ["history_only"] * 2
    heads = Counter(g.head for g in bootstrap.groups_of(catalog, [prompted], vectors, limits, 7))
    assert heads == Counter(prompt_only=1, prompt_history=2, history_only=2)


@pytest.mark.parametrize(
    ("servers", "hosts"),
    [
        ({"servers": [{"url": "https://API.a.example:443/v1"}]}, ("api.a.example",)),
        ({"servers": [{"url": "https://{tenant}.a.example:{port}/"}]}, ("*.a.example",)),
        ({"servers": [{"url": "https://a.example:8443"}, {"url": "//b.example"}]}, ("a.example:8443", "b.example")),
        ({"servers": [{"url": "https://a.example"}, {"url": "/v1"}]}, ()),
        ({"servers": [{"url": "{base}/v1"}]}, ()),
        ({"servers": [{"url": "https://{host}/v1"}]}, ()),
        ({"servers": 5, "paths": {"/a": 7, "/b": {"servers": None}}}, ()),
        ({}, ()),
        ({"host": "a.example", "basePath": "/v2"}, ("a.example",)),
        (
            {"servers": [{"url": "https://a.example"}], "paths": {"/u": {"servers": [{"url": "https://up.example"}]}}},
            ("a.example", "up.example"),
        ),
    ],
)
def test_hosts_are_those_that_servers_name(servers: dict[str, Any], hosts: tuple[str, ...]) -> None:
    document = {"openapi": "3.1.0", "info": {"title": "x", "version": "1"}, "paths": {"/a": {"get": {}}}} | servers
    if "host" in servers:
        document = {"swagger": "2.0"} | {k: v for k, v in document.items() if k != "openapi"}
    assert recorded.open_target(json.dumps(document).encode(), "x", LIMITS).hosts == hosts
