"""A list of propositions becomes a Catalog, so that offers are ranked as operations are.

A proposition `{id, title, description?, category?}` is kept as an operation of method SHOW and path `/{id}` without
parameters: its id is the operation's id, its title the summary, its category the tag. Unlike a spec, which may be met
in the wild, such a list is made for us: what is wrong in it is refused with its place, not left out. Called by
`parse_spec`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pipeline.catalog.schema import Warnings, escape
from pipeline.catalog.text import label, plain_text
from pipeline.errors import SpecInvalid, TooLarge
from pipeline.types import PROPOSITION_ID, SHOW, Catalog, Operation

if TYPE_CHECKING:
    from pipeline.settings import Parse

_READ = ("id", "title", "description", "category")
_TITLE_MAX, _DESCRIPTION_MAX, _CATEGORY_MAX = 200, 600, 100  # characters
_PROBLEMS_TOLD = 5
_ID = re.compile(PROPOSITION_ID)


def lists_propositions(document: Any) -> bool:
    """Whether a document is, or means to be, a list of propositions and no OpenAPI document."""
    if type(document) is list:
        return True
    return type(document) is dict and "propositions" in document and not document.keys() & {"openapi", "swagger"}


def read_propositions(document: Any, digest: str, limits: Parse) -> Catalog:
    """The catalog of a list of propositions, bare or as `{"propositions": [...]}`.

    Raises:
        SpecInvalid: no list, an empty one, or propositions that cannot be read; it names the first five.
        TooLarge: more of them than `limits.operations_max`.
    """
    pointer, items, title = "#", document, ""
    if type(document) is dict:
        pointer, items = "#/propositions", document["propositions"]
        title = label(document.get("title"), _TITLE_MAX)
    if type(items) is not list:
        raise SpecInvalid("`propositions` must be a list of {id, title, description?, category?}.", pointer)
    if not items:
        raise SpecInvalid(
            "This is a list with nothing in it: a catalog needs at least one proposition {id, title}.", pointer
        )
    if len(items) > limits.operations_max:
        raise TooLarge(f"The list has more than {limits.operations_max} propositions.")
    warnings = Warnings()
    problems: dict[str, str] = {}  # pointer -> what to mend
    places: dict[str, int] = {}  # id -> where it stood first
    operations = []
    for index, item in enumerate(items):
        found = _problem(item, places)
        if found:
            problems[f"{pointer}/{index}"] = found
            continue
        for name in item.keys() - set(_READ):
            warnings.add(f"{pointer}/*/{escape(name)}", "this field of a proposition is not read")
        operation = _operation(item)
        places[operation.operation_id] = index
        operations.append(operation)
    if problems:
        told = "; ".join(f"{where}: {what}" for where, what in list(problems.items())[:_PROBLEMS_TOLD])
        more = f"; and {len(problems) - _PROBLEMS_TOLD} more" if len(problems) > _PROBLEMS_TOLD else ""
        what = "This is a list, no OpenAPI document, and its propositions cannot be read"
        raise SpecInvalid(f"{what}: {told}{more}.", next(iter(problems)))
    return Catalog(digest=digest, title=title, operations=tuple(operations), warnings=warnings.lines())


def _problem(item: Any, places: dict[str, int]) -> str:
    """What to mend in a proposition, "" when it can be read."""
    if type(item) is not dict:
        return "must be an object {id, title, description?, category?}"
    id_ = item.get("id")
    if id_ is None:
        return "`id` is missing"
    if type(id_) not in (str, int):
        return "`id` must be a text or a whole number"
    if not _ID.fullmatch(str(id_)) or not str(id_).isprintable():
        return "`id` must have 1 to 128 characters, without spaces and without any of / ? # % { }"
    if str(id_) in places:
        return f"`id` {str(id_)!r} is that of proposition {places[str(id_)]} too"
    title = item.get("title")
    if type(title) is not str or not plain_text(title, _TITLE_MAX):
        return "`title` is missing" if title is None else "`title` must be a text that is not blank"
    for name in ("description", "category"):
        if item.get(name) is not None and type(item[name]) is not str:
            return f"`{name}` must be a text"
    return ""


def _operation(item: dict[str, Any]) -> Operation:
    category = label(item.get("category"), _CATEGORY_MAX)
    description = plain_text(item.get("description") or "", _DESCRIPTION_MAX)
    return Operation(
        method=SHOW,
        path=f"/{item['id']}",
        operation_id=str(item["id"]),
        summary=plain_text(item["title"], _TITLE_MAX),
        # Words are looked for in names and descriptions: a wish for "insurance" must find the category too.
        description=". ".join(part.rstrip(".") for part in (description, category) if part),
        tags=(category,) if category else (),
    )
