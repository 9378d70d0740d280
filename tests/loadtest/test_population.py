"""The made-up people of `make lift`: the same for the same seed, with habits that can be known."""

from __future__ import annotations

import itertools

import pytest
import typer

from loadtest import lift
from loadtest.population import Population, concrete, document, operations
from pipeline import settings
from pipeline.catalog.match import Matcher
from pipeline.catalog.parse import parse_spec
from tests.conftest import ROOT


def test_without_a_spec_it_calls_the_harbour_office_s_operations():
    catalog = parse_spec(document(), settings.load().parse)
    assert [o.key for o in catalog.operations] == operations()


@pytest.mark.parametrize("spec", [document(), (ROOT / "examples/billing.yaml").read_bytes()])
def test_every_call_of_the_population_is_an_operation_of_its_spec(spec):
    catalog = parse_spec(spec, settings.load().parse)
    matcher = Matcher(catalog)
    called = {o.key for o in catalog.operations}
    steps = list(itertools.islice(Population(3, sorted(called)).steps("asked"), 100))
    assert {o for step in steps for o in (*step.history, step.answer)} <= called
    for operation in called:
        method, _, path = concrete(operation, 7).partition(" ")
        match = matcher.match(method, path)
        assert match is not None
        assert catalog.operations[match.index].key == operation


def test_the_same_seed_gives_the_same_people_and_other_names_other_sessions():
    one, two = Population(3), Population(3)
    steps = list(itertools.islice(one.steps("asked"), 50))
    assert steps == list(itertools.islice(two.steps("asked"), 50))
    assert steps != list(itertools.islice(one.steps("told"), 50))
    assert steps != list(itertools.islice(Population(4).steps("asked"), 50))


def test_who_knows_the_people_foresees_most_of_what_they_do():
    people = Population(3)
    steps = list(itertools.islice(people.steps("asked"), 300))
    assert sum(people.foresee(step) == step.answer for step in steps) / len(steps) > 0.6


def test_a_document_that_is_no_spec_is_told_before_a_service_is_started(tmp_path, capsys):
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(typer.Exit):
        lift.main(spec=tmp_path / "empty.json")
    assert "no `paths`" in capsys.readouterr().err
