"""Which requests of recorded traffic are the API's, by their host: one that the spec's servers name, or one asked for.

A recording that names no host, and a spec that names none, decide nothing: any host will do. Used by
`train/recorded.py` for `opensesame import`, and handed to `opensesame watch`.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from pipeline.catalog import document
from pipeline.errors import BadRequest
from pipeline.settings import Settings
from train.imports.spec import read

_SERVERS = 1000  # of a document, that are looked at


def chooser(spec: str, hosts: Sequence[str], settings: Settings) -> Callable[[str], bool]:
    """Whether a host is one of `hosts`, else of those that `spec` names: a file, a URL, a packaged example.

    Any host is, where the spec is none of these: a service alone knows it.

    Raises:
        SpecError: the URL cannot be fetched, or is no document.
    """
    patterns = tuple(hosts)
    if not patterns:
        try:
            data, _ = read(spec, settings)
        except BadRequest:
            data = b"{}"
        patterns = hosts_of(document.load(data, settings.parse, []))
    return functools.partial(is_among, patterns=patterns)


def is_among(host: str, patterns: Sequence[str]) -> bool:
    """Whether a host is one of `patterns`, with its port where the pattern has one; without patterns any host is."""
    if not host or not patterns:
        return True
    bare = re.sub(r":\d+$", "", host)
    return any(fnmatch.fnmatchcase(host if re.search(r":\d+$", p) else bare, p) for p in patterns)


def hosts_of(spec: Any) -> tuple[str, ...]:
    """Patterns of the hosts a document's servers name (OpenAPI 2: `host`); a variable in one is any text.

    None where a server is anywhere: nothing named, a relative URL, or a variable for the whole host.
    """
    if not isinstance(spec, dict):
        return ()
    if isinstance(spec.get("host"), str):
        urls = ["//" + spec["host"]]
    else:
        paths = spec.get("paths")
        items = paths.values() if isinstance(paths, dict) else ()
        nodes = [spec, *(item for item in items if isinstance(item, dict) and "servers" in item)]
        lists = [node.get("servers") or [{"url": "/"}] for node in nodes]
        urls = [
            str(s.get("url")) for listed in lists if isinstance(listed, list) for s in listed if isinstance(s, dict)
        ]
    found: dict[str, None] = {}
    for url in urls[:_SERVERS]:
        try:
            host = urlsplit(re.sub(r"\{[^{}]*\}", "*", url)).netloc.rpartition("@")[2].lower()
        except ValueError:
            continue
        host = re.sub(r":(?:\*|443|80)$", "", host)
        if not host.strip("*"):
            return ()
        found[host] = None
    return tuple(found)
