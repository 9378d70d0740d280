"""What tests share: the packaged examples, the evaluation set, and small specs as text.

`EVAL` is a folder beside the checkout; where it is missing, the tests that need it are skipped
and say so. The small specs are whole documents, so that a test shows in one place what it parses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).resolve().parent.parent
EVAL = ROOT.parent / "shared" / "eval"

# OpenAPI 3.1: a path-level parameter, a $ref, a request body, a literal beside a template, a deletion.
NOTES = """\
openapi: 3.1.0
info: {title: Notes, version: "1"}
servers: [{url: https://notes.example/api}]
paths:
  /notes:
    get:
      operationId: listNotes
      summary: List notes
      parameters: [{name: folder, in: query, schema: {type: string}}]
      responses:
        "200": {description: ok, content: {application/json: {schema: {$ref: "#/components/schemas/Notes"}}}}
    post:
      operationId: createNote
      summary: Create a note
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/NewNote"}}}}
      responses:
        "201": {description: made, content: {application/json: {schema: {$ref: "#/components/schemas/Note"}}}}
  /notes/search:
    get:
      operationId: searchNotes
      summary: Search notes
      parameters: [{name: q, in: query, required: true, schema: {type: string}}]
      responses: {"200": {description: ok}}
  /notes/{note_id}:
    parameters: [{name: note_id, in: path, required: true, schema: {type: string}}]
    get:
      operationId: getNote
      summary: Get a note
      responses:
        "200": {description: ok, content: {application/json: {schema: {$ref: "#/components/schemas/Note"}}}}
    delete:
      operationId: deleteNote
      summary: Delete a note
      responses: {"204": {description: gone}}
components:
  schemas:
    Notes: {type: array, items: {$ref: "#/components/schemas/Note"}}
    NewNote: {type: object, required: [text], properties: {text: {type: string}, folder: {type: string}}}
    Note: {type: object, properties: {id: {type: string}, text: {type: string}, folder: {type: string}}}
"""

# Swagger 2.0: basePath, a body parameter, a form field.
LIBRARY = """\
swagger: "2.0"
info: {title: Library, version: "1"}
host: library.example
basePath: /v2
paths:
  /books:
    get: {operationId: listBooks, summary: List books, responses: {"200": {description: ok}}}
    post:
      operationId: addBook
      summary: Add a book
      parameters: [{name: body, in: body, required: true, schema: {$ref: "#/definitions/Book"}}]
      responses: {"201": {description: made, schema: {$ref: "#/definitions/Book"}}}
  /books/{book_id}/loans:
    post:
      operationId: lendBook
      summary: Lend a book
      parameters:
        - {name: book_id, in: path, required: true, type: string}
        - {name: member, in: formData, required: true, type: string}
      responses: {"201": {description: lent}}
definitions:
  Book: {type: object, required: [title], properties: {id: {type: string}, title: {type: string}}}
"""


hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is slow, not wrong
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz", type=int, default=1, help="so many times the inputs of each property, by chance")
    parser.addoption("--minutes", action="store_true", help="also what takes minutes to hours: `make documented`")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if collection_path.name == "test_docs_minutes.py" and not config.getoption("--minutes") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    times = config.getoption("--fuzz")
    for item in items if times > 1 else ():
        test = getattr(item, "obj", None)
        if hypothesis.is_hypothesis_test(test):
            test = getattr(test, "__func__", test)
            chosen = test._hypothesis_internal_use_settings
            more = hypothesis.settings(chosen, max_examples=chosen.max_examples * times, derandomize=False)
            test._hypothesis_internal_use_settings = more
    # The long files first, so that the processes of `make test` end together; what shares a service stays together.
    long = {item.path for item in items if any(item.get_closest_marker(mark) for mark in ("cluster", "vllm", "slow"))}

    def place(item: pytest.Item) -> tuple[bool, int, bool]:
        shares = "e2e" in item.path.parts and item.path.name in _ONE_SERVICE
        return "e2e" not in item.path.parts, _ONE_SERVICE.index(item.path.name) if shares else -1, item.path not in long

    items.sort(key=place)


# Of tests/e2e, in this order: those who look at the service as it starts, those who teach it, those who end it.
_ONE_SERVICE = ("test_monitoring.py", "test_service.py", "test_learning.py", "test_models.py")


class _FilesOfOneService(LoadFileScheduling):
    """A file to a process, and files that share a service to one process: it takes a fifth of a core."""

    def _split_scope(self, nodeid: str) -> str:
        folder, _, name = super()._split_scope(nodeid).rpartition("/")
        return f"{folder}/one-service" if folder.endswith("e2e") and name in _ONE_SERVICE else f"{folder}/{name}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return _FilesOfOneService(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def eval_folder() -> Path:
    """The evaluation set: `dev/*.jsonl` and `specs/*.json`."""
    if not (EVAL / "specs" / "github.json").is_file():
        pytest.skip(f"the evaluation set is not at {EVAL}")
    return EVAL


@pytest.fixture(scope="session")
def examples_folder() -> Path:
    return ROOT / "examples"


@pytest.fixture(scope="session")
def billing_spec(examples_folder: Path) -> bytes:
    """The packaged default catalog."""
    return (examples_folder / "billing.yaml").read_bytes()


@pytest.fixture
def notes_spec() -> bytes:
    return NOTES.encode()


@pytest.fixture
def library_spec() -> bytes:
    return LIBRARY.encode()
