"""The operations of one OpenAPI document, its servers and links.

Walks `paths` in document order and leaves parameters to `parameters`, schemas to `schema`, what an operation does
to `verbs`. Broken corners are warnings; the one error is a document of too many operations. Called by `parse_spec`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.catalog import verbs
from pipeline.catalog.choices import Choices
from pipeline.catalog.parameters import NAME_MAX, PLACEHOLDER, Parameters, key_names
from pipeline.catalog.schema import Schemas, Warnings, escape, scalar
from pipeline.catalog.text import INVISIBLE, Texts, label
from pipeline.errors import TooLarge
from pipeline.types import Catalog, Link, Operation

if TYPE_CHECKING:
    from pipeline.settings import Parse

METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_PATH_MAX = 2048  # characters
_PARAMETERS_MAX = 400_000  # of a whole document; Microsoft Graph beta, the largest known, has 143,531


class Reader:
    """Reads one document; holds the caches that live as long as it does."""

    def __init__(self, document: dict[str, Any], warnings: Warnings, limits: Parse) -> None:
        self._document = document
        self._warnings = warnings
        self._limits = limits
        self._schemas = Schemas(document, warnings)
        self._is_v2 = "openapi" not in document and "swagger" in document
        self._methods = METHODS | ({"query"} if scalar(document.get("openapi")).startswith("3.2") else set())
        self._choices = Choices(self._schemas)
        texts = Texts()
        self._text = texts.plain
        self._parameters = Parameters(self._schemas, texts, warnings, self._is_v2, key_names(document))

    def catalog(self, digest: str) -> Catalog:
        info = self._document.get("info")
        info = info if type(info) is dict else {}
        operations = tuple(self._operations())
        return Catalog(
            digest=digest,
            title=self._text(info.get("title"), 200),
            version=label(scalar(info.get("version")), 100),
            base_paths=self._base_paths(),
            operations=operations,
            warnings=self._warnings.lines(),
        )

    def _operations(self) -> Iterator[Operation]:
        paths = self._document.get("paths")
        count = parameters = 0
        for path, item in paths.items() if type(paths) is dict else ():
            if path.startswith("x-"):
                continue
            pointer = f"#/paths/{escape(path)}"
            if not path.startswith("/"):
                self._warnings.add(pointer, "a path that does not start with a slash")
            if len(path) > _PATH_MAX or INVISIBLE.search(path):
                self._warnings.add(pointer, f"a path of over {_PATH_MAX} or of invisible characters is left out")
                continue
            if type(item) is dict and "$ref" in item:
                target = self._schemas.resolve(item, pointer)
                item = {**target, **{k: v for k, v in item.items() if k != "$ref"}} if type(target) is dict else target
            if type(item) is not dict:
                self._warnings.add(pointer, "not an object; its operations are left out")
                continue
            shared = item.get("parameters")
            for method, operation in self._methods_of(item, pointer):
                count += 1
                if count > self._limits.operations_max:
                    raise TooLarge(f"The document has more than {self._limits.operations_max} operations.")
                where = f"{pointer}/{escape(method)}"
                found = self._operation(method.upper(), path, operation, shared, where, pointer)
                parameters += len(found.parameters)
                if parameters > _PARAMETERS_MAX:  # a megabyte of references can ask for millions
                    raise TooLarge(f"The document's operations have more than {_PARAMETERS_MAX} parameters.")
                yield found

    def _methods_of(self, item: dict[str, Any], pointer: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Method and operation of a path item, those of 3.2's `additionalOperations` last."""
        seen: set[str] = set()
        for method, operation in item.items():
            if method.lower() not in self._methods:
                continue
            if type(operation) is not dict:
                self._warnings.add(f"{pointer}/{method}", "not an object; the operation is left out")
            elif method.lower() in seen:
                self._warnings.add(f"{pointer}/{method}", "the same method twice; the second is left out")
            else:
                seen.add(method.lower())
                yield method, operation
        extra = item.get("additionalOperations")
        for method, operation in extra.items() if type(extra) is dict else ():
            if type(operation) is dict and method.lower() not in seen and re.fullmatch(r"[A-Za-z-]{1,32}", method):
                seen.add(method.lower())
                yield method, operation

    def _operation(
        self, method: str, path: str, node: dict[str, Any], shared: Any, pointer: str, item_pointer: str
    ) -> Operation:
        operation_id = label(scalar(node.get("operationId")), NAME_MAX)
        summary = self._text(node.get("summary"), 200)
        tags = node.get("tags")
        verb, destructive = verbs.classify(method, path, operation_id, summary)
        fields, links = self._responses(node.get("responses"), f"{pointer}/responses")
        return Operation(
            method=method,
            path=path,
            operation_id=operation_id,
            summary=summary,
            description=self._text(node.get("description"), 600),
            tags=tuple(tag for t in tags[:16] if (tag := label(t, 64))) if type(tags) is list else (),
            parameters=self._parameters.read(path, node, shared, pointer, item_pointer),
            response_fields=fields,
            links=links,
            deprecated=node.get("deprecated") is True,
            verb=verb,
            destructive=destructive,
            choices=() if self._is_v2 else self._choices.of(node.get("requestBody"), f"{pointer}/requestBody"),
        )

    # Responses

    def _responses(self, responses: Any, pointer: str) -> tuple[tuple[str, ...], tuple[Link, ...]]:
        """Fields of the first success response that says any, and the links of all of them."""
        if type(responses) is not dict:
            return (), ()
        good = sorted(s for s in responses if len(s) == 3 and s[0] == "2") or [s for s in responses if s == "default"]
        fields: tuple[str, ...] = ()
        links: list[Link] = []
        for status in good[:16]:
            where = f"{pointer}/{status}"
            node = self._schemas.resolve(responses[status], where)
            if type(node) is not dict:
                continue
            if not fields:
                media = node if self._is_v2 else self._schemas.media(node.get("content"), where)
                fields = self._schemas.answered(media, where)
            if type(node.get("links")) is dict:
                links.extend(self._links(node["links"], f"{where}/links"))
        return fields, tuple(links[:16])

    def _links(self, nodes: dict[str, Any], pointer: str) -> Iterator[Link]:
        for name, node in list(nodes.items())[:16]:
            link = self._schemas.resolve(node, f"{pointer}/{escape(name)}")
            if type(link) is not dict:
                continue
            operation, reference = link.get("operationId"), link.get("operationRef")
            if type(operation) is not str and type(reference) is str:
                parts = reference.removeprefix("#/paths/").split("/")
                if not reference.startswith("#/paths/") or len(parts) != 2:
                    self._warnings.add(f"{pointer}/{escape(name)}", "an operationRef outside of this document's paths")
                    continue
                operation = f"{parts[1].upper()} {parts[0].replace('~1', '/').replace('~0', '~')}"
            if type(operation) is not str:
                continue
            given = link.get("parameters")
            parameters = {
                label(key, NAME_MAX): text
                for key, value in (list(given.items())[:64] if type(given) is dict else ())
                if (text := label(scalar(value), NAME_MAX))
            }
            yield Link(label(operation, _PATH_MAX), parameters)

    # Servers

    def _base_paths(self) -> tuple[str, ...]:
        if self._is_v2:
            base = self._document.get("basePath")
            found = [base] if type(base) is str else []
        else:
            found = list(self._server_urls(self._document.get("servers")))
            paths = self._document.get("paths")
            for item in paths.values() if type(paths) is dict else ():
                if type(item) is dict and "servers" in item and len(found) < 64:
                    found.extend(self._server_urls(item["servers"]))
        prefixes: dict[str, None] = {}
        for url in found:
            try:
                path = urlsplit(url).path
            except ValueError:
                self._warnings.add("#/servers", f"{url[:100]} is no URL")
                continue
            path = "/" + path.strip("/ ")
            if path != "/" and len(path) <= _PATH_MAX and "{" not in path:
                prefixes[path] = None
        return tuple(prefixes)[:16]

    def _server_urls(self, servers: Any) -> Iterator[str]:
        """URLs of a list of servers, their variables replaced by the defaults."""
        for server in servers[:64] if type(servers) is list else ():
            url = server.get("url") if type(server) is dict else None
            if type(url) is not str:
                continue
            variables = server.get("variables")
            variables = variables if type(variables) is dict else {}

            def default(match: re.Match[str], variables: dict[str, Any] = variables) -> str:
                variable = variables.get(match[1])
                return scalar(variable.get("default")) if type(variable) is dict else match[0]

            yield PLACEHOLDER.sub(default, url[:_PATH_MAX])
