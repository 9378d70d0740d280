"""Prompts: about the goal, worn in many ways, no frame often enough to be learnt."""

from __future__ import annotations

import random
from collections import Counter

from pipeline.types import Operation
from train import prompts
from train.prompts import Mention, write_prompt

GOAL = Operation(
    method="POST",
    path="/ships/{ship_id}/berths",
    operation_id="assignBerth",
    summary="Assign a berth to a ship",
    description="Reserves a free berth for the ship until it leaves.",
    tags=("berths",),
)


def test_no_frame_is_over_a_tenth_of_the_prompts() -> None:
    for frames in (prompts._FRAMES, prompts._QUESTIONS, prompts._DISTRACTIONS):
        assert max(Counter(frames).values()) / len(frames) <= 0.1
    starts = Counter(" ".join(write_prompt(random.Random(i), GOAL, ()).lower().split()[:3]) for i in range(3000))
    assert starts.most_common(1)[0][1] < 300


def test_a_goal_has_many_wordings_and_all_say_something() -> None:
    made = {write_prompt(random.Random(i), GOAL, ()) for i in range(500)}
    assert len(made) > 400
    assert all(len(text.split()) >= 1 and text.strip() for text in made)
    about = sum(any(w in text.lower() for w in ("berth", "ship", "assign", "reserve")) for text in made)
    assert about / len(made) > 0.9


def test_names_and_values_of_the_session_are_mentioned() -> None:
    mentions = [Mention("ship name", "Northern Falcon", is_name=True), Mention("email", "mei@example.com")]
    made = [write_prompt(random.Random(i), GOAL, mentions, searched=True).lower() for i in range(300)]
    assert 0.6 < sum("northern falcon" in text for text in made) / 300 < 0.95
    assert 0.5 < sum("mei@example.com" in text for text in made) / 300 < 0.85


def test_an_operation_that_says_nothing_still_gets_a_prompt() -> None:
    bare = Operation(method="DELETE", path="/", verb="delete")
    assert all(write_prompt(random.Random(i), bare, ()).strip() for i in range(100))


def test_the_same_seed_writes_the_same_prompt() -> None:
    assert write_prompt(random.Random(4), GOAL, ()) == write_prompt(random.Random(4), GOAL, ())
