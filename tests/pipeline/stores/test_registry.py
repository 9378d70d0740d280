"""The registry over a real MLflow: versions, aliases, what is kept with them, and what happens when it is away."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import settings
from pipeline.errors import Conflict, RankerArtifactError, RegistryUnavailable, UnknownModel
from pipeline.stores.registry import Registry
from tests.artefacts import saved_ranker

pytestmark = pytest.mark.slow  # MLflow takes seconds to load and to make its tables

ONE, TWO, THREE = (saved_ranker(f"made-{i}", float(i)) for i in (1, 2, 3))
GATE = {"verdict": "promote", "why": "hit@1 +3.1 points", "suites": [{"suite": "own", "lift": 0.031}]}


def section(folder: Path, **changes: object) -> settings.Registry:
    return settings.load("local").registry.model_copy(update={"folder": str(folder), **changes})


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry in which nothing is registered yet: its tables are made once."""
    folder = tmp_path_factory.mktemp("registry")
    Registry(section(folder)).open()
    return folder


@pytest.fixture
def folder(empty: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(empty, tmp_path / "mlflow")
    return tmp_path / "mlflow"


@pytest.fixture
def registry(folder: Path) -> Registry:
    return Registry(section(folder))


def test_a_version_is_kept_with_all_that_was_said_of_it(registry: Registry, folder: Path) -> None:
    made = registry.register(
        ONE,
        metrics={"dev hit@1": 0.61, "never": float("nan")},
        params={"leaves": 31, "data": "sha256:ab"},
        gate=GATE,
        figures={"reliability.png": b"\x89PNG"},
    )
    shown = registry.show(made.version)
    assert shown == made
    assert (shown.version, shown.name, shown.aliases, shown.origin) == ("1", "made-1", (), "trained")
    assert shown.metrics == {"dev hit@1": 0.61}
    assert shown.params == {"leaves": "31", "data": "sha256:ab"}
    assert shown.gate == GATE
    assert registry.text(made.version) == ONE
    kept = {path.name for path in folder.rglob("*") if path.is_file()}
    assert kept >= {"ranker.json", "gate.json", "reliability.png"}


def test_the_same_text_is_registered_once(registry: Registry) -> None:
    assert registry.register(ONE).version == registry.register(ONE).version == "1"
    assert registry.register(TWO).version == "2"


def test_promotion_remembers_the_champion_before_and_rollback_goes_back_to_it(registry: Registry) -> None:
    for text in (ONE, TWO, THREE):
        registry.register(text)
    assert registry.overview().champion == ""
    registry.promote("1")
    registry.challenge("2")
    assert (registry.overview().champion, registry.overview().challenger) == ("1", "2")
    registry.promote("2")
    now = registry.promote("2")  # again: nothing moves
    assert (now.champion, now.challenger, now.previous) == ("2", "", "1")
    now = registry.rollback()
    assert (now.champion, now.previous) == ("1", "2")
    assert registry.aliases() == {"champion": "1", "previous": "2"}
    assert registry.challenge("3").challenger == "3"
    assert registry.challenge("").challenger == ""


def test_without_a_previous_one_there_is_no_way_back(registry: Registry) -> None:
    registry.register(ONE)
    registry.promote("1")
    with pytest.raises(Conflict):
        registry.rollback()


class Killed(BaseException):
    """The process ends here."""


def dying(registry: Registry, step: int) -> Registry:
    """The registry, whose next moves end before the step of this number, from 0 on."""
    registry.open()
    left = step

    def mortal(act: Callable[..., Any]) -> Callable[..., Any]:
        def go(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return act(*arguments)

        return go

    client = registry._client
    for name in (
        "set_registered_model_tag", "set_registered_model_alias", "delete_registered_model_tag",
        "delete_model_version_tag",
    ):  # fmt: skip
        setattr(client, name, mortal(getattr(client, name)))
    return registry


@pytest.mark.parametrize("step", range(4))
def test_a_rollback_that_is_broken_off_is_done_once_when_it_is_asked_for_again(
    registry: Registry, folder: Path, step: int
) -> None:
    for text in (ONE, TWO, THREE):
        registry.promote(registry.register(text).number)
    with pytest.raises(Killed):
        dying(Registry(section(folder)), step).rollback()
    now = registry.rollback()
    assert (now.champion, now.previous) == ("2", "3")
    now = registry.rollback()
    assert (now.champion, now.previous) == ("3", "2")


@pytest.mark.parametrize("step", range(4))
def test_a_promotion_that_is_broken_off_loses_no_way_back(registry: Registry, folder: Path, step: int) -> None:
    for text in (ONE, TWO):
        registry.promote(registry.register(text).number)
    registry.register(THREE)
    with pytest.raises(Killed):
        dying(Registry(section(folder)), step).promote("3")
    now = registry.promote("3")
    assert (now.champion, now.previous) == ("3", "2")
    now = registry.rollback()
    assert (now.champion, now.previous) == ("2", "3")


@pytest.mark.parametrize("step", range(5))
def test_what_passed_is_promoted_by_whoever_comes_once(registry: Registry, folder: Path, step: int) -> None:
    registry.promote(registry.register(ONE).number)
    registry.register(TWO, passed_over="1")
    with pytest.raises(Killed):
        dying(Registry(section(folder)), step).promote("2")
    done = registry.finish()
    assert done is not None
    assert (done.number, done.aliases) == ("2", ("champion",))
    assert registry.overview().previous == "1"
    registry.rollback()
    assert registry.finish() is None
    assert registry.overview().champion == "1"


def test_what_passed_against_another_champion_is_not_promoted(registry: Registry) -> None:
    for text in (ONE, TWO):
        registry.promote(registry.register(text).number)
    registry.register(THREE, passed_over="2")
    registry.rollback()
    assert registry.finish() is None
    assert registry.overview().champion == "1"


def test_what_passed_against_one_that_is_the_champion_no_more_waits_for_nothing(registry: Registry) -> None:
    for text in (ONE, TWO):
        registry.promote(registry.register(text).number)
    registry.register(THREE, passed_over="1")  # judged before 2 came
    assert registry.finish() is None
    assert registry.overview().champion == "2"


def test_nothing_is_compared_with_itself(registry: Registry) -> None:
    for text in (ONE, TWO):
        registry.promote(registry.register(text).number)
    with pytest.raises(Conflict, match="compared with itself"):
        registry.challenge("2")
    registry.challenge("1")
    now = registry.rollback()
    assert (now.champion, now.challenger) == ("1", "")


def test_what_is_not_there_is_named(registry: Registry) -> None:
    for ask in (registry.show, registry.promote, registry.text, registry.challenge):
        with pytest.raises(UnknownModel, match="'7'"):
            ask("7")
    with pytest.raises(RankerArtifactError):
        registry.register("{}")


def test_the_installed_ranker_serves_under_its_own_name_and_never_replaces_a_trained_one(registry: Registry) -> None:
    assert registry.install(ONE).champion == "made-1"
    assert registry.install(ONE).champion == "made-1"
    now = registry.install(TWO)  # a newer release
    assert (now.champion, now.previous) == ("made-2", "made-1")
    registry.register(THREE)
    registry.promote("3")
    assert registry.install(ONE).champion == "3"
    assert registry.rollback().champion == "made-2"
    assert registry.promote("made-1").champion == registry.promote("1").champion == "made-1"


def test_a_spoilt_or_missing_artefact_is_not_handed_out(registry: Registry, folder: Path) -> None:
    registry.register(ONE)
    (path,) = folder.rglob("ranker.json")
    path.write_text(ONE[:-40])
    with pytest.raises(RankerArtifactError, match="not what was registered"):
        registry.text("1")
    path.unlink()
    with pytest.raises(RankerArtifactError, match="gone"):
        registry.text("1")


def test_another_process_sees_what_moved(registry: Registry, folder: Path) -> None:
    registry.register(ONE)
    other = Registry(section(folder))
    assert other.aliases() == {}
    registry.promote("1")
    assert other.aliases() == {"champion": "1"}


def test_a_moved_folder_keeps_what_is_in_it(registry: Registry, folder: Path, tmp_path: Path) -> None:
    registry.register(ONE)
    shutil.move(folder, tmp_path / "moved")
    moved = Registry(section(tmp_path / "moved"))
    assert moved.text("1") == ONE
    assert moved.text(moved.register(TWO).version) == TWO
    assert not folder.exists()


def test_a_server_that_is_away_is_unavailable() -> None:
    away = Registry(settings.load("local").registry.model_copy(update={"url": "http://127.0.0.1:9"}))
    with pytest.raises(RegistryUnavailable):
        away.aliases()


def test_a_folder_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryUnavailable):
        Registry(section(tmp_path / "file")).open()


def test_two_processes_may_make_it_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline import settings; from pipeline.stores.registry import "
        "Registry; s = settings.load('local').registry.model_copy(update={'folder': sys.argv[1]}); "
        "r = Registry(s); print(r.register(Path(sys.argv[2]).read_text()).version)"
    )
    (tmp_path / "text").write_text(ONE)
    arguments = [sys.executable, "-c", code, str(tmp_path / "mlflow"), str(tmp_path / "text")]
    both = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == ["1", "1"]
    assert not (Path.cwd() / "mlruns").exists()
