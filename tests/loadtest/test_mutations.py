"""Sixty seeded mutations of the packaged examples, and that a fault would be seen."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
import yaml

from loadtest import mutations
from pipeline import settings
from pipeline.local import LocalStages

SETTINGS = settings.load()


@pytest.fixture(scope="module")
def stages() -> Iterator[mutations.ApartStages]:
    made = mutations.ApartStages(SETTINGS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def examples(examples_folder) -> list[bytes]:
    billing = json.dumps(yaml.safe_load((examples_folder / "billing.yaml").read_text()), default=str).encode()
    return [
        billing,
        (examples_folder / "issue-tracker.json").read_bytes(),
        (examples_folder / "billing.yaml").read_bytes(),
    ]


@pytest.mark.parametrize("seed", range(60))
async def test_broken_example_is_answered_or_refused(seed: int, stages: mutations.ApartStages, examples: list[bytes]):
    chance = random.Random(seed)
    data, what = mutations.mutate(chance.choice(examples), chance)
    outcome = await mutations.ask(data, stages, SETTINGS)
    assert not outcome.startswith("FAULT"), what


def test_mutation_of_a_seed_is_always_the_same(examples: list[bytes]):
    for seed in range(5):
        assert mutations.mutate(examples[1], random.Random(seed)) == mutations.mutate(examples[1], random.Random(seed))


async def test_whole_example_is_answered(stages: mutations.ApartStages, examples: list[bytes]):
    assert await mutations.ask(examples[1], stages, SETTINGS) == "answered"


async def test_fault_is_told(examples: list[bytes]):
    class Broken(LocalStages):
        async def ground(self, query, habit):
            raise KeyError("x")

    assert (await mutations.ask(examples[1], Broken(SETTINGS), SETTINGS)).startswith("FAULT KeyError")
