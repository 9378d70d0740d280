"""What a session itself speaks for, of what destroys."""

from __future__ import annotations

import pytest

from pipeline.catalog import undo
from pipeline.types import Call, Match, Operation

POST = Operation("POST", "/repos/{repo}/labels", verb="create")
PUT = Operation("PUT", "/repos/{repo}/topics", verb="update")
GET = Operation("GET", "/repos/{repo}", verb="read")
DELETE = Operation("DELETE", "/repos/{repo}/labels/{name}", verb="delete", destructive="delete")
OPERATIONS = (GET, POST, PUT, DELETE)


def called(*methods: str, repo: str = "a", status: int | None = None):
    """The session of these calls on repository `repo`, behind two reads of it."""
    index = {"GET": 0, "POST": 1, "PUT": 2, "DELETE": 3}
    calls = [Call(method, f"/repos/{repo}", status=status) for method in ("GET", "GET", *methods)]
    matches = [Match(index[call.method], {"repo": repo}) for call in calls]
    return undo.done(OPERATIONS, calls, matches)


@pytest.mark.parametrize(
    ("path", "params", "session", "is_spoken_for"),
    [
        (DELETE.path, {"repo": "a"}, called("POST"), True),
        (DELETE.path, {"repo": "b"}, called("POST"), False),  # something else of the same kind
        (DELETE.path, {}, called("POST"), False),  # nobody knows of what
        (DELETE.path, {"repo": "a"}, called("GET"), False),
        (DELETE.path, {"repo": "a"}, called("POST", status=422), False),
        (DELETE.path, {"repo": "b"}, called("DELETE"), True),  # on to the next
        ("/repos/{repo}/topics", {"repo": "a"}, called("PUT"), True),
        ("/repos/{repo}", {"repo": "a"}, called("POST"), False),  # what was there before
        ("/repos/{repo}/topics/{name}", {"repo": "a"}, called("PUT"), False),  # one of what was replaced
    ],
)
def test_a_session_speaks_for_what_it_made_and_for_what_it_does(path, params, session, is_spoken_for):
    operation = Operation("DELETE", path, verb="delete", destructive="delete")
    assert undo.spoken_for(operation, params, session) is is_spoken_for


def test_only_a_delete_takes_away_what_was_made():
    archive = Operation("POST", "/repos/{repo}/labels/{name}", verb="action", destructive="cancel")
    assert not undo.spoken_for(archive, {"repo": "a"}, called("POST"))


def test_a_session_of_few_calls_speaks_for_nothing():
    calls = [Call("POST", "/repos/a/labels"), Call("GET", "/elsewhere"), Call("DELETE", "/repos/a/labels/x")]
    matches = [Match(1, {"repo": "a"}), None, Match(3, {"repo": "a", "name": "x"})]
    assert undo.done(OPERATIONS, calls, matches) == []


@pytest.mark.parametrize(
    ("name", "answer", "is_spoken_for"),
    [("new", None, True), ("old", None, False), ("new", {"name": "new"}, True), ("other", {"name": "new"}, False)],
)
def test_what_was_there_before_is_not_what_was_made(name, answer, is_spoken_for):
    calls = [Call("GET", "/repos/a", {"label": "old"}), Call("GET", "/repos/a"), Call("POST", "/x", body=answer)]
    session = undo.done(OPERATIONS, calls, [Match(i, {"repo": "a"}) for i in (0, 0, 1)])
    assert undo.spoken_for(DELETE, {"repo": "a", "name": name}, session) is is_spoken_for
