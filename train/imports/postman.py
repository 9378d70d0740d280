"""Sessions of Postman collections (v2.0 and v2.1): the requests of a folder, in its order.

Variables that the collection defines are filled in; others stay placeholders (`{name}`), which match any
value and give none. Saved answers are kept as samples; headers, authorization and scripts are never read.
https://schema.postman.com/collection/json/v2.1.0/draft-07/docs/index.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import BadRequest
from train.imports import contents
from train.imports.recording import Recording, Request, load_json, request_of

_VARIABLE = re.compile(r"\{\{([^{}]{1,128})\}\}")
_UNDEFINED = re.compile(r"\{[^{}]{1,128}\}")  # a value that is a variable nothing defines
_VALUE_MAX = 1024  # characters of a variable
_ROUNDS = 5  # of variables within variables
_TEXT_MAX = 1 << 16  # characters of a text with its variables filled in
_DEPTH_MAX = 32  # folders within folders


def looks_like(start: bytes) -> bool:
    """Whether a file that begins so is a Postman collection."""
    return b"schema.getpostman.com" in start or b"schema.postman.com" in start or b'"_postman_id"' in start


def read(file: Path, skipped: Counter[str]) -> Iterator[Recording]:
    """The sessions of a collection.

    Raises:
        BadRequest: no collection, or an item that is none; the detail names it.
    """
    found = load_json(file)
    collection = found.get("collection", found)  # Postman's API wraps it
    if not isinstance(collection, dict) or not isinstance(collection.get("item"), list):
        raise BadRequest(f"{file.name} is no Postman collection: it has no list item.")
    yield from _folder(collection, _Reader(file.name, skipped), "collection", 0, {})


class _Reader:
    """What holds for a whole file."""

    def __init__(self, file: str, skipped: Counter[str]) -> None:
        self.file, self.skipped = file, skipped


def _folder(
    node: dict[str, Any], reader: _Reader, where: str, depth: int, above: dict[str, str]
) -> Iterator[Recording]:
    if depth > _DEPTH_MAX:
        raise BadRequest(f"{reader.file}, {where} lies deeper than {_DEPTH_MAX} folders.")
    variables = above | _variables(node.get("variable"))
    requests = []
    for number, item in enumerate(node["item"], 1):
        place = f"{where} > {number}"
        if not isinstance(item, dict):
            raise BadRequest(f"{reader.file}, {place} is no Postman item: it is no object.")
        if isinstance(item.get("name"), str):
            place += f" {contents.clean_text(item['name'][:60])!r}"
        if isinstance(item.get("item"), list):
            yield from _folder(item, reader, place, depth + 1, variables)
        elif "request" in item:
            request = _request(item, reader, place, variables)
            if request is not None:
                requests.append(request)
        else:
            raise BadRequest(f"{reader.file}, {place} is no Postman item: it has neither item nor request.")
    if requests:
        yield Recording(tuple(requests), where)


def _request(item: dict[str, Any], reader: _Reader, where: str, variables: dict[str, str]) -> Request | None:
    request = item["request"]
    if isinstance(request, str):
        request = {"url": request}
    if not isinstance(request, dict):
        raise BadRequest(f"{reader.file}, {where} is no Postman item: its request is neither object nor text.")
    variables = variables | _variables(item.get("variable"))
    target, params = _url(request.get("url"), variables)
    body = request.get("body")
    params |= _body(body, variables) if isinstance(body, dict) else {}
    made = request_of(
        str(request.get("method") or "GET"),
        target,
        {k: v for k, v in params.items() if not (isinstance(v, str) and _UNDEFINED.fullmatch(v))},
        **_answer(item.get("response")),
        where=where,
    )
    if made is None:
        reader.skipped["not an HTTP request"] += 1
    return made


def _url(url: Any, variables: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """The target, and the parameters that are switched on; `:id` is filled from the URL's own variables."""
    parts = url if isinstance(url, dict) else {"raw": url}
    own = {k: v for k, v in _variables(parts.get("variable")).items() if v}
    params = _fields(parts.get("query"), variables)
    raw = parts.get("raw")
    if not isinstance(raw, str) or not raw.strip():
        path, host = parts.get("path"), parts.get("host")
        raw = ".".join(map(str, host)) if isinstance(host, list) else str(host or "")
        raw += "/" + "/".join(map(_segment, path) if isinstance(path, list) else [str(path or "")]).lstrip("/")
    target = raw.strip().partition("#")[0]
    if "query" in parts:  # in `raw` those that are switched off stand beside the others
        target = target.partition("?")[0]
    target = _fill(target, variables)
    scheme, separator, rest = target.partition("://")
    if not separator:
        scheme, rest = "", target
    base, slash, path = rest.partition("/")
    path = "/".join(_path_variable(s, own | variables) for s in path.split("/"))
    if scheme in ("http", "https") and base and "{" not in base:
        return f"{scheme}://{base}{slash}{path}", params
    return f"/{path}", params  # the host is a variable that nothing defines, or goes without saying


def _segment(segment: Any) -> str:
    return str(segment.get("value", "")) if isinstance(segment, dict) else str(segment)


def _path_variable(segment: str, variables: dict[str, str]) -> str:
    if not segment.startswith(":") or len(segment) < 2:
        return segment
    return _fill(variables.get(segment[1:], f"{{{segment[1:]}}}"), variables)


def _body(body: dict[str, Any], variables: dict[str, str]) -> dict[str, Any]:
    match body.get("mode"):
        case "raw":
            raw = body.get("raw")
            text = _VARIABLE.sub(lambda m: variables.get(m[1].strip(), "null"), raw) if isinstance(raw, str) else ""
            quoted = _fill(raw, variables) if isinstance(raw, str) else ""
            found = contents.json_body(quoted)
            return contents.body_params(found if found is not None else contents.json_body(text))
        case "urlencoded":
            return _fields(body.get("urlencoded"), variables)
        case "formdata":
            return _fields(body.get("formdata"), variables)
    return {}


def _fields(fields: Any, variables: dict[str, str]) -> dict[str, Any]:
    """Name and value of the fields that are switched on; files have no value and are left out."""
    listed = [f for f in fields if isinstance(f, dict)] if isinstance(fields, list) else []
    return contents.pairs(
        (_fill(str(f["key"]), variables), _fill(str(f["value"]), variables))
        for f in listed
        if f.get("key") and f.get("value") is not None and f.get("disabled") is not True
    )


def _answer(saved: Any) -> dict[str, Any]:
    """Status and body of the first saved answer that is a success."""
    for answer in saved if isinstance(saved, list) else ():
        code = answer.get("code") if isinstance(answer, dict) else None
        if isinstance(code, int) and 200 <= code < 300:
            body = answer.get("body")
            return {"status": code, "body": contents.json_body(body) if isinstance(body, str) else None}
    return {}


def _variables(listed: Any) -> dict[str, str]:
    found = {}
    for variable in listed if isinstance(listed, list) else ():
        name = variable.get("key") or variable.get("id") if isinstance(variable, dict) else None
        value = variable.get("value") if isinstance(variable, dict) else None
        if isinstance(name, str) and isinstance(value, str | int | float) and variable.get("disabled") is not True:
            found[name] = str(value)[:_VALUE_MAX]
    return found


def _fill(text: str, variables: dict[str, str]) -> str:
    """The text with its variables filled in, undefined ones as `{name}`; cut where they grow without end."""
    for _ in range(_ROUNDS):
        filled = _VARIABLE.sub(lambda m: variables.get(m[1].strip(), m[0]), text[:_TEXT_MAX])
        if filled == text:
            break
        text = filled[:_TEXT_MAX]
    return _VARIABLE.sub(lambda m: "{" + m[1].strip().replace("/", "") + "}", text)
