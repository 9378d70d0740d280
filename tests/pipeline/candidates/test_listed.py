"""Lists that a prompt says: plain values beside their noun or verb, e-mail addresses."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.types import Parameter
from tests.pipeline.candidates.test_arguments import body
from tests.pipeline.candidates.test_wish import bound


def strings(name: str, required: bool = True, **more: Any) -> Parameter:
    return body(name, "array", required, items="string", **more)


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("Add the labels bug and urgent to issue 42", strings("labels"), ["bug", "urgent"]),
        ("label it with bug, urgent and needs-triage", strings("labels"), ["bug", "urgent", "needs-triage"]),
        (
            'put labels "good first issue" and "help wanted" on it',
            strings("labels"),
            ["good first issue", "help wanted"],
        ),
        ("add the bug label", strings("labels"), ["bug"]),
        ("labels bug and auth, assigned to ada", strings("labels"), ["bug", "auth"]),
        ("add the right labels", strings("labels"), None),
        ("add labels to issues and notes", strings("labels"), None),
        ("add labels to it and close it", strings("labels"), None),
        ("labels and colors are wrong", strings("labels"), None),
        ('a note "with tags red and blue"', strings("tags"), None),
        ("set the topics to python, ml and data", strings("topics", False), ["python", "ml", "data"]),
        ("tagged family and 2025", strings("tags", False), ["family", "2025"]),
        ("members ann_k and bob_r, topics space and nasa", strings("members"), ["ann_k", "bob_r"]),
        ("add labels work and later, remove label inbox", strings("remove_labels"), ["inbox"]),
        ("add labels work and later, remove label inbox", strings("add_labels"), ["work", "later"]),
        ("assign octocat and @hubot to it", strings("assignees"), ["octocat", "hubot"]),
        ("assign issue 7 to octocat", strings("assignees"), ["octocat"]),
        ("assign it to me", strings("assignees"), None),
        ("add @ada as a reviewer", strings("reviewers"), ["ada"]),
        ("invite @dana and U987XYZ65 to it", strings("users"), ["dana", "U987XYZ65"]),
        ("invite everybody and their friends", strings("users"), None),
        ("countries: France, Spain", strings("countries", description="ISO country codes"), None),
    ],
)
def test_a_list_takes_what_stands_beside_its_noun_or_its_verb(prompt: str, parameter: Parameter, expected: Any) -> None:
    assert bound(prompt, parameter, method="POST") == expected


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        (
            "invite ann@x.io, bob@y.io and cy@z.io",
            strings("invitees", format="email"),
            ["ann@x.io", "bob@y.io", "cy@z.io"],
        ),
        ("mail ann@x.io, cc bob@y.io and cy@z.io", strings("to"), ["ann@x.io"]),
        ("mail ann@x.io, cc bob@y.io and cy@z.io", strings("cc", False), ["bob@y.io", "cy@z.io"]),
        ("mail ann@x.io, cc bob@y.io and cy@z.io", strings("bcc", False), None),
        ("send it from ann@x.io to bob@y.io", strings("to"), ["bob@y.io"]),
        ("You are Ann, ann@x.io. Book a room", strings("attendees", False), None),
        (
            "text +14155550101 and +14155550102",
            strings("to", description="Phone numbers"),
            ["+14155550101", "+14155550102"],
        ),
    ],
)
def test_a_list_takes_all_who_are_written_to(prompt: str, parameter: Parameter, expected: Any) -> None:
    assert bound(prompt, parameter, method="POST") == expected
