"""Every format of recordings: what it gives, what it leaves out, and that no input breaks it."""

from __future__ import annotations

import base64
import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BadRequest
from pipeline.types import Call
from train.imports import accesslog, contents
from train.imports.formats import READERS, recognise
from train.imports.recording import Recording, by_gap, request_of, seconds

LINE = '{client} - {user} [10/Oct/2026:{time} +0200] "{request} HTTP/1.1" {status} 512 "https://a.example/" "Agent/1"'


def _line(request: str, time: str = "13:55:36", client: str = "10.0.0.1", user: str = "-", status: int = 200) -> str:
    return LINE.format(request=request, time=time, client=client, user=user, status=status)


def _entry(method: str, url: str, second: int, page: str | None = None, **more: Any) -> dict[str, Any]:
    request: dict[str, Any] = {"method": method, "url": url, "headers": [{"name": "Cookie", "value": "sid=topsecret"}]}
    request |= {k: v for k, v in more.items() if k in ("queryString", "postData")}
    response = {"status": 200, "headers": [], "content": {"mimeType": "text/html"}} | more.get("response", {})
    started = f"2026-10-10T10:{second // 60:02}:{second % 60:02}.000Z"
    return {"startedDateTime": started, "request": request, "response": response} | ({"pageref": page} if page else {})


def _har(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"log": {"version": "1.2", "creator": {"name": "x"}, "entries": list(entries)}}


HAR = _har(
    _entry("GET", "https://notes.example/api/notes?folder=a", 1, "page_1"),
    _entry(
        "POST",
        "https://notes.example/api/notes",
        2,
        "page_1",
        postData={"mimeType": "application/json; charset=utf-8", "text": '{"text": "hi", "password": "hunter2"}'},
        response={"status": 201, "content": {"mimeType": "application/json", "text": '{"id": "n1", "token": "t"}'}},
    ),
    _entry("GET", "data:image/png;base64,AAAA", 3, "page_1"),
)

POSTMAN = {
    "info": {"name": "Notes", "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"},
    "variable": [{"key": "base", "value": "https://{{name}}.example/api"}, {"key": "name", "value": "notes"}],
    "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "topsecret"}]},
    "item": [
        {
            "name": "Filing",
            "item": [
                {
                    "name": "List",
                    "request": {
                        "method": "GET",
                        "header": [{"key": "Authorization", "value": "topsecret"}],
                        "url": {
                            "raw": "{{base}}/notes?folder=a&off=1",
                            "query": [{"key": "folder", "value": "a"}, {"key": "off", "value": "1", "disabled": True}],
                        },
                    },
                    "response": [{"code": 200, "body": '[{"id": "n1"}]'}],
                },
                {
                    "name": "Read",
                    "request": {
                        "method": "GET",
                        "url": {"raw": "{{base}}/notes/:note_id", "variable": [{"key": "note_id", "value": "n1"}]},
                    },
                },
                {"name": "Drop", "request": {"method": "DELETE", "url": "{{elsewhere}}/notes/{{unknown}}"}},
            ],
        },
        {
            "name": "Add",
            "request": {
                "method": "POST",
                "url": {"host": ["{{base}}"], "path": ["notes"]},
                "body": {"mode": "raw", "raw": '{"text": "{{name}}", "folder": {{folder}}}'},
            },
        },
    ],
}


def _span(number: int, second: float, parent: str = "", kind: int = 2, trace: str = "t1", **attributes: Any) -> Any:
    listed = [
        {"key": k.replace("__", "."), "value": {"intValue": str(v)} if isinstance(v, int) else {"stringValue": v}}
        for k, v in attributes.items()
    ]
    ids = {"traceId": trace, "spanId": str(number), "parentSpanId": parent, "kind": kind}
    return ids | {"startTimeUnixNano": str(int((1.7e9 + second) * 1e9)), "attributes": listed}


def _otlp(*spans: Any) -> dict[str, Any]:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


SPANS = _otlp(
    _span(2, 5, http__method="GET", http__target="/notes/n1?folder=a", http__status_code=200),
    _span(
        1, 1, http__request__method="POST", url__path="/notes", url__query="folder=b", http__response__status_code=201
    ),
    _span(3, 6, parent="2", kind=3, http__request__method="GET", url__full="https://db.example/rows/1"),
    _span(4, 7, parent="3", http__request__method="GET", url__path="/rows/1"),
    _span(5, 8, db__system="postgresql"),
    _span(6, 9, trace="t2", http__request__method="GET", http__route="/notes/:note_id"),
)

ROW = {"prompt": "x", "events": [{"endpoint": "GET /notes", "params": {"folder": "a"}}]}

FILES = {
    "jsonl": json.dumps(ROW),
    "har": json.dumps(HAR),
    "access-log": _line("GET /notes?folder=a"),
    "postman": json.dumps(POSTMAN),
    "spans": json.dumps(SPANS),
}


def _read(tmp_path: Path, name: str, text: str | bytes, skipped: Counter[str] | None = None) -> list[Recording]:
    file = tmp_path / "recording"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return list(READERS[name](file, skipped if skipped is not None else Counter()))


def _calls(recordings: list[Recording]) -> list[list[Call]]:
    return [[r.call for r in recording.requests] for recording in recordings]


def _endpoints(recordings: list[Recording]) -> list[list[str]]:
    return [[call.endpoint for call in calls] for calls in _calls(recordings)]


@pytest.mark.parametrize("name", FILES)
def test_each_format_is_recognised_by_its_content(tmp_path: Path, name: str) -> None:
    (tmp_path / "any").write_text(FILES[name])
    assert recognise(tmp_path / "any") == name
    if name not in ("jsonl", "access-log"):
        (tmp_path / "any").write_text(json.dumps(json.loads(FILES[name]), indent=2))
        assert recognise(tmp_path / "any") == name


def test_what_is_of_no_format_or_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "any").write_text("hello")
    assert recognise(tmp_path / "any") == ""
    (tmp_path / "any").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(BadRequest, match="gzip-compressed"):
        recognise(tmp_path / "any")
    with pytest.raises(BadRequest, match="cannot be read"):
        recognise(tmp_path)
    (tmp_path / "a.HAR").write_text("{")
    assert recognise(tmp_path / "a.HAR") == "har"


def test_no_format_keeps_a_secret(tmp_path: Path) -> None:
    for name, text in FILES.items():
        kept = repr(_read(tmp_path, name, text))
        assert "topsecret" not in kept
        assert "hunter2" not in kept


def test_har_bodies_become_parameters_and_samples(tmp_path: Path) -> None:
    skipped: Counter[str] = Counter()
    [[listed, made]] = _calls(_read(tmp_path, "har", FILES["har"], skipped))
    assert (listed.endpoint, listed.params) == ("GET /api/notes", {"folder": "a"})
    assert made.params == {"text": "hi", "password": "[secret]"}
    assert (made.status, made.body, made.ts) == (201, {"id": "n1", "token": "[secret]"}, 1791626402.0)
    assert skipped == Counter({"not an HTTP request": 1})


def test_har_forms_and_encoded_answers_are_read(tmp_path: Path) -> None:
    form = {"mimeType": "application/x-www-form-urlencoded", "text": "text=a+b&tag=1&tag=2"}
    fields = {"mimeType": "multipart/form-data", "params": [{"name": "text", "value": "c"}]}
    answer = {"mimeType": "application/json", "encoding": "base64", "text": base64.b64encode(b'{"id": 7}').decode()}
    broken = {"mimeType": "application/json", "text": '{"id"'}
    har = _har(
        _entry("POST", "https://a.example/x", 1, postData=form, response={"status": 200, "content": answer}),
        _entry("POST", "https://a.example/x", 2, postData=fields, response={"status": 0, "content": broken}),
        _entry("GET", "https://a.example/x?q=1", 3, queryString=[{"name": "q", "value": "1"}]),
    )
    [[one, two, three]] = _calls(_read(tmp_path, "har", json.dumps(har)))
    assert (one.params, one.body) == ({"text": "a b", "tag": ["1", "2"]}, {"id": 7})
    assert (two.params, two.body, two.status) == ({"text": "c"}, None, None)
    assert three.params == {"q": "1"}


def test_pages_of_one_tab_are_a_session_and_tabs_side_by_side_are_two(tmp_path: Path) -> None:
    url = "https://a.example/"
    har = _har(
        _entry("GET", url + "a1", 1, "p1"),
        _entry("GET", url + "b1", 2, "p2"),
        _entry("GET", url + "a2", 3, "p1"),
        _entry("GET", url + "b2", 4, "p2"),
        _entry("GET", url + "a3", 60, "p3"),
        _entry("GET", url + "late", 59 * 60, "p3"),
    )
    made = _endpoints(_read(tmp_path, "har", json.dumps(har)))
    assert made == [["GET /b1", "GET /b2", "GET /a3"], ["GET /a1", "GET /a2"], ["GET /late"]]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("har", "{", "recording is not JSON"),
        ("har", "[]", "holds no JSON object"),
        ("har", '{"log": {"entries": {}}}', "no HAR file: it has no list log.entries"),
        ("har", json.dumps(_har({"request": {"method": "GET"}})), "entry 0 is no HAR entry: Object missing"),
        ("har", json.dumps(_har({"request": {"method": 1, "url": ""}})), "`$.request.method`"),
        ("postman", '{"info": {}}', "no Postman collection: it has no list item"),
        ("postman", '{"item": [5]}', "collection > 1 is no Postman item"),
        ("postman", '{"item": [{"name": "A", "item": [{"name": "B"}]}]}', "collection > 1 'A' > 1 'B' is no Postman"),
        ("postman", '{"item": ' + '[{"item": ' * 40 + "[]" + "}]" * 40 + "}", "deeper than 32 folders"),
        ("spans", '{"spans": []}', "no OTLP JSON: resourceSpans must be a list"),
        ("spans", '{"resourceSpans": [1]}', "resourceSpans must be a list of objects"),
        ("spans", json.dumps(_otlp(7)), "span 1 is no span"),
        ("spans", json.dumps(SPANS) + "\n{}\n", "line 2 is no OTLP JSON"),
        ("spans", json.dumps(SPANS) + "\n{\n", "line 2 is not JSON"),
        ("access-log", "hello\nworld", "no line is one of an access log"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(BadRequest) as error:
        _read(tmp_path, name, text)
    assert says in error.value.detail


def test_access_logs_are_split_by_user_and_silence(tmp_path: Path) -> None:
    log = [
        _line("GET /a", "13:00:00"),
        _line("GET /x", "13:00:01", client="10.0.0.2"),
        _line("GET /b", "13:20:00"),
        _line("GET /c", "13:49:59"),
        _line("GET /d", "14:20:00"),
        _line("GET /u1", "14:20:00", user="ana"),
        _line("GET /u2", "14:20:01", user="ana", client="10.0.0.3"),
    ]
    made = _endpoints(_read(tmp_path, "access-log", "\n".join(log)))
    assert sorted(made) == [["GET /a", "GET /b", "GET /c"], ["GET /d"], ["GET /u1", "GET /u2"], ["GET /x"]]


@pytest.mark.parametrize(
    ("line", "endpoint", "ts"),
    [
        ('::1 - - [10/Oct/2000:13:55:36 -0700] "GET /a?b=c HTTP/1.0" 200 2326', "GET /a", 971211336.0),
        (
            'a.example:443 1.2.3.4 - bob x [01/Jan/2026:00:00:00 +0000] "POST /a HTTP/2" 201 - "-" "x"',
            "POST /a",
            1767225600,
        ),
        ('1.2.3.4 - - [10/Foo/2000:13:55:36 -0700] "GET /a" 400 -', "GET /a", None),
        ('1.2.3.4 - - [10/Oct/2026:13:55:36 +9999] "GET /a HTTP/1.1" - 0 "" "\\""', "GET /a", None),
    ],
)
def test_lines_of_several_servers_are_read(line: str, endpoint: str, ts: float | None) -> None:
    request = accesslog.read_line(line)
    assert request is not None
    assert (request.call.endpoint, request.call.ts) == (endpoint, ts)
    assert "1.2.3.4" not in request.user


def test_lines_that_are_none_are_counted(tmp_path: Path) -> None:
    skipped: Counter[str] = Counter()
    log = [
        _line("GET /a"),
        "",
        "noise",
        _line("\\x16\\x03\\x01"),
        _line("-"),
        _line("PRI * HTTP/2.0").replace(" HTTP/1.1", ""),
    ]
    assert _endpoints(_read(tmp_path, "access-log", "\n".join(log).encode() + b"\n\xff\xfe", skipped)) == [["GET /a"]]
    assert skipped == Counter({"not an HTTP request": 3, "not a line of an access log": 2})


def test_postman_folders_are_sessions_with_their_variables_filled_in(tmp_path: Path) -> None:
    made = _read(tmp_path, "postman", FILES["postman"])
    assert _endpoints(made) == [["GET /api/notes", "GET /api/notes/n1", "DELETE /notes/{unknown}"], ["POST /api/notes"]]
    [[listed, _, _], [added]] = _calls(made)
    assert (listed.params, listed.status, listed.body) == ({"folder": "a"}, 200, [{"id": "n1"}])
    assert added.params == {"text": "notes", "folder": None}
    assert [r.host for r in made[0].requests] == ["notes.example", "notes.example", ""]
    assert made[0].where == "collection > 1 'Filing'"


def test_postman_variables_that_name_themselves_end(tmp_path: Path) -> None:
    bomb = copy.deepcopy(POSTMAN) | {
        "variable": [{"key": k, "value": "{{a}}{{b}}" * 100} for k in ("a", "b", "base", "name")]
    }
    _read(tmp_path, "postman", json.dumps(bomb))


def test_spans_are_sessions_by_trace_told_once_and_in_order_of_time(tmp_path: Path) -> None:
    skipped: Counter[str] = Counter()
    made = _read(tmp_path, "spans", FILES["spans"], skipped)
    assert _endpoints(made) == [["POST /notes", "GET /notes/n1", "GET /rows/1"], ["GET /notes/{note_id}"]]
    assert [call.params for call in _calls(made)[0]] == [{"folder": "b"}, {"folder": "a"}, {}]
    assert [call.status for call in _calls(made)[0]] == [201, 200, None]
    assert made[0].requests[2].host == "db.example"
    assert skipped == Counter({"no HTTP span": 1, "told by client and server": 1})


def test_spans_of_a_session_id_hang_together_over_traces_and_lines(tmp_path: Path) -> None:
    def line(trace: str, second: float, path: str) -> str:
        attributes = {"session__id": "s", "http__method": "GET", "http__target": path}
        return json.dumps(_otlp(_span(1, second, trace=trace, **attributes)))

    text = "\n".join([line("t1", 0, "/a"), line("t2", 100, "/b"), line("t3", 100 + 1801, "/c")])
    assert _endpoints(_read(tmp_path, "spans", text)) == [["GET /a", "GET /b"], ["GET /c"]]


def test_requests_without_a_time_stay_in_their_order() -> None:
    requests = [r for i in range(5) if (r := request_of("GET", f"/{i}", ts=float(9 - i) if i % 2 else None))]
    [recording] = by_gap(requests)
    assert [r.call.path for r in recording.requests] == ["/0", "/1", "/2", "/3", "/4"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-01T00:00:00Z", 1767225600.0),
        ("2026-01-01T00:00:00", 1767225600.0),
        (1767225600, 1767225600.0),
        (1767225600000, 1767225600.0),
        ("noon", None),
        (-1, None),
        (True, None),
        (float("nan"), None),
        ([], None),
    ],
)
def test_times_are_seconds_of_whatever_can_be_a_time(value: Any, expected: float | None) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize(
    "name", ["password", "apiKey", "X-Api-Key", "client_secret", "user[password]", "accessToken", "sig"]
)
def test_names_of_credentials_are_known(name: str) -> None:
    assert contents.is_secret(name)


@pytest.mark.parametrize(
    "name", ["page_token", "nextPageToken", "author", "passenger", "secretary", "design", "tokens", "key"]
)
def test_names_that_only_look_like_credentials_are_left(name: str) -> None:
    assert not contents.is_secret(name)


def test_bodies_are_kept_within_a_budget() -> None:
    deep: Any = "end"
    for _ in range(500):
        deep = {"a": deep}
    body = {"deep": deep, "wide": {str(i): "x" * 10_000 for i in range(10_000)}, "list": list(range(10_000))}
    assert len(json.dumps(contents.sample(body))) < 20_000


_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3),
    max_leaves=6,
)


def _places(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [at, *(place for key, value in inner for place in _places(value, (*at, key)))]


@pytest.mark.parametrize("name", ["har", "postman", "spans", "jsonl"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_document_with_anything_anywhere_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    document = copy.deepcopy(json.loads(FILES[name]))
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from([p for p in _places(document) if p] or [(None,)]))
        if last is None:
            return
        node = document
        for key in above:
            node = node[key]
        node[last] = data.draw(_VALUE)
    _reads_or_refuses(tmp_path_factory.getbasetemp(), name, json.dumps(document))


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, deadline=None)
@given(noise=st.binary(max_size=40), at=st.integers(0, 2000), cut=st.integers(0, 40))
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, noise: bytes, at: int, cut: int
) -> None:
    text = FILES[name].encode()
    at = min(at, len(text))
    _reads_or_refuses(tmp_path_factory.getbasetemp(), name, text[:at] + noise + text[at + cut :])


def _reads_or_refuses(folder: Path, name: str, text: str | bytes) -> None:
    try:
        made = _read(folder, name, text)
    except BadRequest as error:
        said = error.detail
    else:
        said = "".join(recording.where for recording in made)
        json.dumps([call.params for calls in _calls(made) for call in calls], allow_nan=False)
    assert "\n" not in said
