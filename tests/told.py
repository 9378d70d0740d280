"""The service's own OpenAPI document, as what answers are held against.

`Document.check` fails where an answer is not what the document tells of its route: another status, another media type,
another form. Forms are read as closed: a field that is sent and not told is wrong too.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import httpx2
from jsonschema_rs import Draft202012Validator

# Told of no route: there is none of this name or method, or a fault of ours.
UNTOLD = {"not_found", "method_not_allowed", "error"}


class Document:
    """One document, as GET /openapi.json answers it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.operations: dict[tuple[str, str], dict[str, Any]] = {
            (method.upper(), path): operation
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }
        self._components = _closed(json.dumps(document["components"]))
        self._document = document

    def resolve(self, told: dict[str, Any]) -> dict[str, Any]:
        """What a reference stands for; anything else is itself."""
        if "$ref" not in told:
            return told
        _, _, kind, name = told["$ref"].split("/")
        return self._document["components"][kind][name]

    def wrong(self, schema: dict[str, Any], value: Any) -> list[str]:
        """What of a value is not as a schema tells."""
        validator = Draft202012Validator({**schema, "components": self._components})
        return [f"{'.'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(value)]

    def check(self, answer: httpx2.Response) -> None:
        """Return where an answer is as told, or to a request of no route; AssertionError says what is wrong."""
        request = answer.request
        operation = self._operation(request.method, request.url.path)
        kind = answer.headers.get("content-type", "").split(";")[0]
        if operation is None or (kind == "application/problem+json" and answer.json()["slug"] in UNTOLD):
            return
        place = f"{request.method} {request.url.path}: {answer.status_code}"
        assert str(answer.status_code) in operation["responses"], f"{place} is not told: {answer.text}"
        told = operation["responses"][str(answer.status_code)]
        # One that the client named itself is answered by Ray Serve's own wrapper.
        lacking = set(told["headers"]) - {"X-Request-ID"} if "x-request-id" in request.headers else told["headers"]
        lacking = [name for name in lacking if name not in answer.headers]
        assert not lacking, f"{place} lacks {lacking}"
        if "content" not in told:
            assert not answer.content, place
            return
        assert kind in told["content"], f"{place} comes as {kind}"
        if kind.endswith("json"):
            wrong = self.wrong(told["content"][kind]["schema"], answer.json())
            assert not wrong, f"{place} is not as told: {wrong}\n{answer.text}"
        if kind == "application/problem+json":
            assert answer.json()["slug"] in told["content"][kind]["examples"], f"{place} {answer.json()['slug']}"

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        """That of the route that answers, where several match the one with fewer parameters."""
        found = [
            (template.count("{"), template)
            for named, template in self.operations
            if named == method and _pattern(template).fullmatch(path.removeprefix("/v1"))
        ]
        return self.operations[method, min(found)[1]] if found else None


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(map(re.escape, re.split(r"{\w+}", template))))


@functools.cache
def _closed(components: str) -> dict[str, Any]:
    """Components whose objects have no other fields than those told."""

    def close(node: Any) -> Any:
        if isinstance(node, list):
            return [close(child) for child in node]
        if not isinstance(node, dict):
            return node
        closed = {key: close(child) for key, child in node.items()}
        if isinstance(node.get("properties"), dict) and "type" in node:
            closed.setdefault("additionalProperties", False)
        return closed

    return close(json.loads(components))
