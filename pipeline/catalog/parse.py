"""An OpenAPI document becomes a Catalog, in this process or in a child that may die of it.

Reads OpenAPI 2.0, 3.0, 3.1 and 3.2, JSON and YAML, as they are met in the wild: what is broken is left out and
named in `Catalog.warnings`; only what is no OpenAPI at all raises. `document` reads the bytes and `operations` what
they say; indexes and vectors are made by `library`. `parse_spec` is pure; servers call it through `ParseProcess`.
Run as a module this file is that child.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from pipeline.catalog.document import load
from pipeline.catalog.operations import Reader
from pipeline.catalog.propositions import lists_propositions, read_propositions
from pipeline.catalog.schema import Warnings, scalar
from pipeline.errors import SpecInvalid, TooLarge, Unavailable
from pipeline.types import Catalog

if TYPE_CHECKING:
    import subprocess  # like asyncio and concurrent.futures imported where it is used: the child does without

    from pipeline.settings import Parse

_START_S = 30.0  # for the child to say that it is there
_REPLY_MAX = 96 << 20  # bytes of an encoded catalog; Microsoft Graph beta, the largest known, has 35 MB
_FRAME_MAX = 1 << 28  # bytes
_HEAD_BYTES = 8  # a frame is its length, big-endian, and its bytes


def parse_spec(data: bytes, limits: Parse) -> Catalog:
    """The catalog of an OpenAPI document, or of a list of propositions.

    Raises:
        SpecInvalid: the bytes are neither; `where` says the line or JSON pointer.
        TooLarge: more operations or YAML than `limits` allow.
    """
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    warnings = Warnings()
    notes: list[str] = []
    document = load(data, limits, notes)
    for note in notes:
        warnings.add("#", note)
    if lists_propositions(document):
        return read_propositions(document, digest, limits)
    try:
        return Reader(_openapi(document, warnings), warnings, limits).catalog(digest)
    except RecursionError:
        raise SpecInvalid(f"The document is nested deeper than {limits.depth_max} levels.") from None


def _openapi(document: Any, warnings: Warnings) -> dict[str, Any]:
    """The document, when it is an OpenAPI one that has something to read."""
    if document is None:
        raise SpecInvalid("The document is empty.")
    if type(document) is not dict:
        kind = "a text" if type(document) is str else "a single value"
        raise SpecInvalid(f"This is {kind}, not an OpenAPI document (an object with `openapi` and `paths`).", "#")
    version = scalar(document.get("openapi", document.get("swagger")))
    paths = document.get("paths")
    if "swaggerVersion" in document or version.startswith("1"):
        raise SpecInvalid("This is Swagger 1: convert it to OpenAPI 2.0 or later.", "#")
    if "paths" not in document and "webhooks" not in document:
        raise SpecInvalid(f"This is no OpenAPI document: it has no `paths`{_kin(document)}.", "#")
    if type(paths) is not dict and "webhooks" not in document:
        raise SpecInvalid("`paths` is not an object, so there are no operations to read.", "#/paths")
    if not version and not any(type(key) is str and key.startswith("/") for key in paths or ()):
        raise SpecInvalid("This is no OpenAPI document: it says no `openapi` version and has no path.", "#/openapi")
    if not version.startswith(("2", "3")):
        warnings.add("#/openapi", "no known version; read as OpenAPI 3")
    if type(paths) is not dict and paths is not None:
        warnings.add("#/paths", "not an object")
    return document


def _kin(document: dict[str, Any]) -> str:
    """What the document seems to be instead, for the message."""
    for key, kind in (
        ("asyncapi", "an AsyncAPI document"),
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
        from concurrent.futures import ThreadPoolExecutor

        self._limits = limits
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parse")
        self._is_closed = False

    async def parse(self, data: bytes) -> Catalog:
        """What `parse_spec` returns or raises; awaits its turn.

        Raises:
            SpecInvalid: also when the document took too long, too much memory, or crashed the parser.
            Unavailable: no child could be started, or this is closed.
        """
        import asyncio

        if self._is_closed:
            raise Unavailable("The process that parses specs is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, data)

    def close(self) -> None:
        """End the child; parses still waiting are cancelled."""
        self._is_closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._child is not None:
            _discard(self._child)

    def _ask(self, data: bytes) -> Catalog:
        child = self._child
        is_fresh = child is None or child.poll() is not None
        if child is None or is_fresh:
            child = self._child = self._start()
        answer, is_late = _exchange(child, data, self._limits.time_s)
        if answer is None:
            self._child = None
            status = _discard(child)
            if is_late:
                raise SpecInvalid(f"Reading the document took longer than {self._limits.time_s:g} s.")
            if not is_fresh and not self._is_closed:
                return self._ask(data)  # it may have died before, of something else: a fresh one decides
            raise SpecInvalid(f"The document crashed the parser (status {status}).")
        try:
            reply = msgspec.msgpack.decode(answer, type=_Reply)
        except msgspec.DecodeError:
            self._child = None
            _discard(child)
            raise SpecInvalid("The document crashed the parser (it answered garbage).") from None
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
        limits = {name: getattr(self._limits, name) for name in _Limits.__struct_fields__}
        hello, _ = _exchange(child, msgspec.msgpack.encode(limits), _START_S)
        if hello is None or self._is_closed:
            _discard(child)
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


def _exchange(child: subprocess.Popen[bytes], data: bytes, time_s: float) -> tuple[bytes | None, bool]:
    """Answer of the child, None when it died; and whether it died of being late. Blocks."""
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    assert child.stdin is not None
    assert child.stdout is not None
    watchdog = threading.Timer(time_s, end)
    watchdog.daemon = True
    watchdog.start()
    try:
        _send(child.stdin, data)
        return _receive(child.stdout), late.is_set()
    except OSError:
        return None, late.is_set()
    finally:
        watchdog.cancel()


def _discard(child: subprocess.Popen[bytes]) -> int:
    """End the child and give back its pipes; its exit status."""
    child.kill()
    status = child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    return status


def _send(stream: IO[bytes], data: bytes) -> None:
    stream.write(len(data).to_bytes(_HEAD_BYTES, "big"))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes | None:
    """The next frame; None at the end of the stream, or when its length is absurd."""
    head = stream.read(_HEAD_BYTES)
    size = int.from_bytes(head, "big")
    if len(head) < _HEAD_BYTES or size > _FRAME_MAX:
        return None
    data = stream.read(size)
    return data if len(data) == size else None


def _serve_parent() -> None:
    """Answer frames until standard input ends."""
    import gc
    import os
    import resource
    import signal

    gc.disable()  # a tenth of the time; what a document left in cycles is collected after it
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
            answer = msgspec.msgpack.encode(_Reply(catalog=parse_spec(data, limits)))  # type: ignore[arg-type]
            if len(answer) > _REPLY_MAX:
                raise TooLarge(f"The document's catalog is larger than {_REPLY_MAX >> 20} MiB.")
        except (SpecInvalid, TooLarge) as error:
            where = getattr(error, "where", "")
            answer = msgspec.msgpack.encode(_Reply(error=error.slug, detail=error.detail, where=where))
        except MemoryError:
            detail = "Reading the document needs more memory than it may have."
            answer = msgspec.msgpack.encode(_Reply(error=SpecInvalid.slug, detail=detail))
            is_last = True
        data = b""
        _send(replies, answer)
        del answer
        gc.collect()
        signal.setitimer(signal.ITIMER_REAL, 0)
        if is_last:
            return


if __name__ == "__main__":
    _serve_parent()
