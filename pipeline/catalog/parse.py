"""An OpenAPI document becomes a Catalog, in this process or in a child that may die of it.

Reads OpenAPI 2.0, 3.0, 3.1 and 3.2, JSON and YAML, as they are met in the wild: what is broken is left out and
named in `Catalog.warnings`; only what is no OpenAPI at all raises. `document` reads the bytes and `operations` what
they say; indexes and vectors are made by `library`. `parse_spec` is pure; servers call it through `ParseProcess`.
Run as a module this file is that child.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from pipeline.catalog.document import load
from pipeline.catalog.operations import Reader
from pipeline.catalog.schema import Warnings
from pipeline.errors import SpecInvalid, TooLarge, Unavailable
from pipeline.types import Catalog

if TYPE_CHECKING:
    import subprocess

    from pipeline.settings import Parse

_START_S = 30.0  # for the child to say that it is there
_HEAD_BYTES = 8  # a frame is its length, big-endian, and its bytes


def parse_spec(data: bytes, limits: Parse) -> Catalog:
    """The catalog of an OpenAPI document.

    Raises:
        SpecInvalid: the bytes are no OpenAPI document; `where` says the line or JSON pointer.
        TooLarge: more operations or YAML than `limits` allow.
    """
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    warnings = Warnings()
    notes: list[str] = []
    document = load(data, limits, notes)
    for note in notes:
        warnings.add("#", note)
    try:
        return Reader(_openapi(document, warnings), warnings, limits).catalog(digest)
    except RecursionError:
        raise SpecInvalid(f"The document is nested deeper than {limits.depth_max} levels.") from None


def _openapi(document: Any, warnings: Warnings) -> dict[str, Any]:
    """The document, when it is an OpenAPI one that has something to read."""
    if type(document) is not dict:
        kind = {list: "a list", str: "a text"}.get(type(document), "a single value")
        raise SpecInvalid(
            f"This is {kind}, not an OpenAPI document, which is an object with `openapi` and `paths`.", "#"
        )
    version = document.get("openapi", document.get("swagger"))
    if "paths" not in document and "webhooks" not in document:
        raise SpecInvalid(f"This is no OpenAPI document: it has no `paths`{_kin(document)}.", "#")
    if "swaggerVersion" in document or (isinstance(version, (str, float, int)) and str(version).startswith("1")):
        raise SpecInvalid("This is Swagger 1: convert it to OpenAPI 2.0 or later.", "#/swagger")
    if not isinstance(version, (str, float, int)) or not str(version).startswith(("2", "3")):
        warnings.add("#/openapi", "no known version; read as OpenAPI 3")
    paths = document.get("paths")
    if type(paths) is not dict:
        if "webhooks" not in document:
            raise SpecInvalid("`paths` is not an object, so there are no operations to read.", "#/paths")
        if paths is not None:
            warnings.add("#/paths", "not an object")
    return document


def _kin(document: dict[str, Any]) -> str:
    """What the document seems to be instead, for the message."""
    for key, kind in (
        ("asyncapi", "an AsyncAPI document"),
        ("swaggerVersion", "a Swagger 1 listing"),
        ("log", "a HAR file"),
    ):
        if key in document:
            return f"; it seems to be {kind}"
    if "item" in document and "info" in document:
        return "; it seems to be a Postman collection: export it as OpenAPI"
    if "openapi" in document or "swagger" in document:
        return " (a document of components only describes no operations)"
    return ""


class ParseProcess:
    """A child process that parses, one document at a time, in the order they come.

    Too slow and it is killed, too greedy and the kernel refuses it memory; either way only that document is
    refused, and the next one gets a new child. Belongs to no event loop. `close` ends the child.
    """

    def __init__(self, limits: Parse) -> None:
        self._limits = limits
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parse")

    async def parse(self, data: bytes) -> Catalog:
        """What `parse_spec` returns or raises; awaits its turn.

        Raises:
            SpecInvalid: also when the document took too long, too much memory, or crashed the parser.
            Unavailable: no child could be started.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, data)

    def close(self) -> None:
        """End the child; parses still waiting are cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        child = self._child
        if child is not None:
            child.kill()
            child.wait()

    def _ask(self, data: bytes) -> Catalog:
        child = self._child
        if child is None or child.poll() is not None:
            child = self._child = self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        late = threading.Event()
        watchdog = threading.Timer(self._limits.time_s, _end, (child, late))
        watchdog.daemon = True
        watchdog.start()
        try:
            _send(child.stdin, data)
            answer = _receive(child.stdout)
        except OSError:
            answer = None
        finally:
            watchdog.cancel()
        if answer is None:
            self._child = None
            child.kill()
            status = child.wait()
            if late.is_set():
                raise SpecInvalid(f"Reading the document took longer than {self._limits.time_s:g} s.")
            raise SpecInvalid(f"The document crashed the parser (status {status}), or needs more memory than it has.")
        reply = msgspec.msgpack.decode(answer, type=_Reply)
        if reply.catalog is not None:
            return reply.catalog
        raise TooLarge(reply.detail) if reply.error == TooLarge.slug else SpecInvalid(reply.detail, reply.where)

    def _start(self) -> subprocess.Popen[bytes]:
        import subprocess

        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.catalog.parse"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},  # this code, and nobody's secrets
        )
        assert child.stdin is not None
        assert child.stdout is not None
        late = threading.Event()
        watchdog = threading.Timer(_START_S, _end, (child, late))
        watchdog.daemon = True
        watchdog.start()
        try:
            limits = {name: getattr(self._limits, name) for name in _Limits.__struct_fields__}
            _send(child.stdin, msgspec.msgpack.encode(limits))
            hello = _receive(child.stdout)
        except OSError:
            hello = None
        finally:
            watchdog.cancel()
        if hello is None:
            child.kill()
            child.wait()
            raise Unavailable("The process that parses specs could not be started.")
        return child


class _Limits(msgspec.Struct, frozen=True):
    """What of `settings.Parse` the child needs, without importing pydantic there."""

    operations_max: int
    depth_max: int
    yaml_events_max: int
    yaml_aliases_max: int
    memory_bytes: int
    time_s: float


class _Reply(msgspec.Struct, omit_defaults=True):
    catalog: Catalog | None = None
    error: str = ""  # slug
    detail: str = ""
    where: str = ""


def _end(child: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    child.kill()


def _send(stream: IO[bytes], data: bytes) -> None:
    stream.write(len(data).to_bytes(_HEAD_BYTES, "big"))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes | None:
    """The next frame; None at the end of the stream."""
    head = stream.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES:
        return None
    size = int.from_bytes(head, "big")
    data = stream.read(size)
    return data if len(data) == size else None


def _serve_parent() -> None:
    """Answer frames until standard input ends."""
    import os
    import resource
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that prints may break a frame
    first = _receive(requests)
    if first is None:
        return
    limits = msgspec.msgpack.decode(first, type=_Limits)
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _send(replies, b"")
    while (data := _receive(requests)) is not None:
        signal.setitimer(signal.ITIMER_REAL, limits.time_s + 5)  # ends an orphan whose parent can no longer kill it
        is_last = False
        try:
            reply = _Reply(catalog=parse_spec(data, limits))  # type: ignore[arg-type]
        except (SpecInvalid, TooLarge) as error:
            reply = _Reply(error=error.slug, detail=error.detail, where=getattr(error, "where", ""))
        except MemoryError:
            reply = _Reply(error=SpecInvalid.slug, detail="Reading the document needs more memory than it may have.")
            is_last = True
        data = b""
        _send(replies, msgspec.msgpack.encode(reply))
        signal.setitimer(signal.ITIMER_REAL, 0)
        if is_last:
            return


if __name__ == "__main__":
    _serve_parent()
