"""What stands for something in a prompt: languages, the caller's own, addresses, from where to where."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.types import Parameter
from tests.pipeline.candidates.test_arguments import body, query
from tests.pipeline.candidates.test_wish import bound

TARGET = body("target", description="ISO 639-1 code of the target language")
SOURCE = body("source", description="ISO 639-1 code of the source language")
LANGUAGE = query("language", required=False, description="ISO 639-1 code")
CALENDAR = query("calendar_id", description='For your own use the "primary" keyword.')
CONTEXT = body("context_uri", description="URI of the context to play: album or artist")
URIS = body("uris", "array", items="string", description="URIs of the tracks to play")


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ('translate "Bonjour" from French into English', SOURCE, "fr"),
        ('translate "Bonjour" from French into English', TARGET, "en"),
        ("courses in French, please", LANGUAGE, "fr"),
        ("courses in French history", LANGUAGE, None),
        ('translate "in French"', LANGUAGE, None),
        ("what is on my primary calendar?", CALENDAR, "primary"),
        ("what is on my calendar?", CALENDAR, "primary"),
        ("what is on my team's calendar?", CALENDAR, None),
        ("what is on the calendar of my team?", CALENDAR, None),
        ("play media:album:1DFix", CONTEXT, "media:album:1DFix"),
        ("play media:album:1DFix", URIS, None),
        ("play media:track:1 and media:track:2", URIS, ["media:track:1", "media:track:2"]),
        ("at 10:30:15 or a ratio of 1:2:3", URIS, None),
        ('a ride from "Main St" to "Airport"', body("pickup"), "Main St"),
        ('a ride from "Main St" to "Airport"', body("dropoff"), "Airport"),
    ],
)
def test_a_word_stands_for_what_the_argument_takes(prompt: str, parameter: Parameter, expected: Any) -> None:
    assert bound(prompt, parameter, method="POST" if parameter.location == "body" else "GET") == expected
