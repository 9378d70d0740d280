"""The stand-ins: a scripted generator engine, a scripted model server, an encoder that hashes words, a cluster's API.

Everything else in the tests is the real part. `ScriptedEngine` speaks the `Engine` protocol of
`pipeline/candidates/propose.py`; `HashingEncoder` has the shape of `pipeline/catalog/embed.Encoder`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import hashlib
import http.server
import itertools
import json
import re
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np


class HashingEncoder:
    """Unit vectors from hashed words and their trigrams: texts that share words are close; no weights, no download."""

    def __init__(self, dims: int = 64) -> None:
        self.dims = dims
        self.name = f"hashing-{dims}"
        self.map = None
        self.texts: list[str] = []  # what was asked for, in order

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.texts.extend(texts)
        vectors = np.zeros((len(texts), self.dims), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"[a-z0-9]+", text.lower()) or [""]:
                for piece in (word, *(word[i : i + 3] for i in range(len(word) - 2))):
                    bits = int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=8).digest(), "little")
                    vectors[row, bits % self.dims] += 1.0 if bits >> 63 else -1.0
            norm = float(np.linalg.norm(vectors[row]))
            vectors[row, 0] += norm == 0.0
            vectors[row] /= norm or 1.0
        return vectors


class ScriptedEngine:
    """Answers with the script's lines in turn, the last one for ever.

    A line is a text, an exception to raise, or a function of (messages, schema) that gives a text. For `weigh` it is
    the log-probabilities, or a function of (messages, marks) that gives them.
    `delay_s` holds every answer back (`float("inf")`: for ever); `calls` keeps what was asked and
    `cancelled` counts the requests whose caller went away.
    """

    def __init__(self, *script: Any, delay_s: float = 0.0) -> None:
        lines: Iterable[Any] = script or ('{"picks": []}',)
        self._script = itertools.chain(lines, itertools.repeat(list(lines)[-1]))
        self.delay_s = delay_s
        self.calls: list[dict[str, Any]] = []
        self.cancelled = 0

    async def generate(
        self,
        messages: Sequence[dict[str, str]],
        schema: dict[str, Any],
        max_tokens: int,
        temperature: float,
        request_id: str,
    ) -> Any:
        from pipeline.candidates.propose import Reply

        self.calls.append(
            {
                "messages": list(messages),
                "schema": schema,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "request_id": request_id,
            }
        )
        text = await self._line(messages, schema)
        tokens_in = sum(len(m["content"].split()) for m in messages)
        return Reply(text=text, tokens_in=tokens_in, tokens_cached=0, tokens_out=len(text.split()), finish="stop")

    async def weigh(self, messages: Sequence[dict[str, str]], marks: Sequence[str], request_id: str) -> Any:
        from pipeline.candidates.propose import Weighing

        self.calls.append({"messages": list(messages), "marks": list(marks), "request_id": request_id})
        logprobs = await self._line(messages, marks)
        return Weighing(tuple(logprobs), sum(len(m["content"].split()) for m in messages), 0)

    async def _line(self, *asked: Any) -> Any:
        line = next(self._script)
        try:
            if self.delay_s == float("inf"):
                await asyncio.Event().wait()
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(line, BaseException):
            raise line
        return line(*asked) if callable(line) else line


class ScriptedServer:
    """An OpenAI-compatible server on a socket of its own; answers with the script's lines in turn, the last for ever.

    A line is the text of a completion, an HTTP status, bytes to send as they are, None to break the connection off,
    seconds to wait before an empty completion, or a function of the request's body that gives one of them. `asked`
    keeps (path, headers, body) of every request.
    """

    def __init__(self, *script: Any) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        lines = itertools.chain(script, itertools.repeat(script[-1]))
        outer, self._stopped = self, threading.Event()

        class _Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                line = next(lines)
                line = line(body) if callable(line) else line
                if line is None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                if isinstance(line, float):
                    outer._stopped.wait(line)
                status = line if isinstance(line, int) else 200
                usage = {"prompt_tokens": 40, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 16}}
                text = line if isinstance(line, str) else ""
                completion = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}
                data = line if isinstance(line, bytes) else json.dumps(completion).encode()
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> ScriptedServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()


class LocalHandle:
    """A deployment handle over an object in this process: `handle.method.remote(...)`, `handle.options(...)`."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def options(self, **_: Any) -> LocalHandle:
        return self

    def __getattr__(self, method: str) -> Any:
        target = self.target

        class _Method:
            @staticmethod
            async def remote(*arguments: Any) -> Any:
                return await getattr(target, method)(*arguments)

        return _Method


class HashingEmbedder:
    """Deployment Embedder over the hashing encoder; `failing` makes every call raise it."""

    def __init__(self) -> None:
        self.encoder = HashingEncoder()
        self.failing: Exception | None = None

    async def prompt(self, prompt: str) -> np.ndarray:
        return (await self.cards([prompt]))[0]

    async def cards(self, texts: list[str]) -> np.ndarray:
        if self.failing is not None:
            raise self.failing
        return self.encoder.encode(texts)

    async def identity(self) -> tuple[str, int]:
        return self.encoder.name, self.encoder.dims

    async def state(self) -> dict[str, str]:
        return {"status": "ok"}


class SilentMetrics:
    """`serve.metrics.Metrics` without Ray: keeps what was counted."""

    def __init__(self) -> None:
        self.counted: dict[str, float] = {}
        self.followed: dict[str, Callable[[], float]] = {}

    def count(self, name: str, value: float = 1.0, **tags: str) -> None:
        key = name + "".join(f" {tag}={tags[tag]}" for tag in sorted(tags))
        self.counted[key] = self.counted.get(key, 0.0) + value

    def observe(self, name: str, value: float, **tags: str) -> None:
        self.count(name, 1.0, **tags)

    def begin(self, *names: str) -> None: ...

    def follow(self, name: str, read: Callable[[], float], **tags: str) -> None:
        self.followed[name + "".join(f" {tag}={tags[tag]}" for tag in sorted(tags))] = read


class SpanReceiver:
    """A collector of OpenTelemetry spans, OTLP over HTTP on loopback: keeps what it was sent."""

    def __init__(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.spans: list[Any] = []  # opentelemetry.proto.trace.v1.Span
        self.services: set[str] = set()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
                for resource in told.resource_spans:
                    named = {a.key: a.value.string_value for a in resource.resource.attributes}
                    receiver.services.add(named.get("service.name", ""))
                    receiver.spans += [span for scope in resource.scope_spans for span in scope.spans]
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def of(self, trace_id: str) -> list[Any]:
        return [span for span in self.spans if span.trace_id.hex() == trace_id]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class WaitingGroups:
    """`pipeline.stores.state.State` as far as the journal drains it: one inbox, one batch at a time."""

    def __init__(self, groups: Sequence[Any]) -> None:
        from pipeline.stores.encoding import pack_group

        self.inbox = self
        # Ids of the stream are its times: another inbox later has others.
        self._entries = [(f"{int(group.ts * 1000)}-{i}", pack_group(group)) for i, group in enumerate(groups)]

    async def tenants(self) -> list[str]:
        return ["local"] if self._entries else []

    async def length(self, tenant: str) -> int:
        return len(self._entries)

    async def claim(self, tenant: str, most: int) -> Any:
        from pipeline.stores.inbox import Claim

        some = tuple(self._entries[:most])
        return Claim(tenant, some[0][0], some[-1][0], some) if some else None

    async def acknowledge(self, claim: Any, last: str = "") -> bool:
        del self._entries[: len(claim.entries)]
        return True

    async def close(self) -> None:
        pass


class ShelfRegistry:
    """`pipeline.stores.registry.Registry` in memory: versions, their texts and the champion."""

    def __init__(self) -> None:
        self.versions: list[Any] = []
        self.texts: dict[str, str] = {}
        self.champion = ""
        self.passed = ""
        self.figures: dict[str, bytes] = {}

    def overview(self) -> Any:
        from pipeline.stores.registry import Overview

        return Overview(self.champion, "", "", tuple(reversed(self.versions)))

    def text(self, version: str) -> str:
        return self.texts[version]

    def register(
        self,
        text: str,
        *,
        metrics: Any = None,
        params: Any = None,
        gate: Any = None,
        figures: Any = None,
        passed_over: str | None = None,
    ) -> Any:
        import datetime
        import json

        from pipeline.stores.registry import Version

        header = json.loads(text)
        number = str(len(self.versions) + 1)
        version = Version(
            version=number,
            number=number,
            name=header["version"],
            aliases=(),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            origin="trained",
            sha256="",
            fingerprint=header["fingerprint"],
            run="",
            metrics=dict(metrics or {}),
            params={name: str(value) for name, value in (params or {}).items()},
            gate=gate,
        )
        self.versions.append(version)
        self.texts[number] = text
        self.figures = dict(figures or {})
        self.passed = number if passed_over == self.champion else self.passed
        return version

    def promote(self, version: str) -> Any:
        self.champion, self.passed = version, ""
        return self.overview()

    def finish(self) -> Any:
        if not self.passed:
            return None
        self.promote(self.passed)
        return next(version for version in self.versions if version.number == self.champion)


class ScriptedHandle:
    """A deployment handle whose calls meet, in turn, what a script says; the last line of it goes on for ever.

    A line is an answer, an exception that is raised, or "silence": then the call never ends. Keeps the session of each.
    """

    def __init__(self, *script: Any) -> None:
        self._script = list(script)
        self._session = ""
        self.sessions: list[str] = []

    def options(self, session_id: str = "") -> ScriptedHandle:
        self._session = session_id
        return self

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)
        handle, session = self, self._session

        class _Method:
            @staticmethod
            async def remote(*_: Any) -> Any:
                handle.sessions.append(session)
                line = handle._script.pop(0) if len(handle._script) > 1 else handle._script[0]
                if line == "silence":
                    await asyncio.Event().wait()
                if isinstance(line, BaseException):
                    raise line
                return line

        return _Method


class KubernetesApi:
    """The API of a Kubernetes cluster as far as kubectl asks for it: discovery, and objects by their path.

    What is not there is 404. Streams (exec, port-forward) are refused with `NO_STREAMS` once their pod was found.
    `controllers` gets each new object and gives those that a cluster would make of it.
    """

    NO_STREAMS = "the stand-in plays no streams"
    _CLUSTER_WIDE = ("Namespace", "Node")
    _PARTS: ClassVar = {"Pod": ("eviction", "policy"), "StatefulSet": ("scale", "autoscaling")}

    def __init__(self, kinds: Iterable[tuple[str, str]], controllers: Callable[[Any], list[Any]]) -> None:
        self.objects: dict[str, Any] = {}  # by path
        self._kinds = {self._plural(kind): (version, kind) for version, kind in sorted(kinds)}
        self._controllers = controllers
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _answer(self) -> None:
                sent = self.rfile.read(int(self.headers.get("content-length") or 0))
                read = _unpacked if sent.startswith(b"k8s\0") else json.loads
                status, told = api._answer(self.command, urllib.parse.urlsplit(self.path), read(sent or b"{}"))
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(told).encode())

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def add(self, made: Any) -> None:
        """Keep an object, and what the controllers make of it."""
        root = "/api/v1" if made["apiVersion"] == "v1" else f"/apis/{made['apiVersion']}"
        if made["kind"] not in self._CLUSTER_WIDE:
            root += f"/namespaces/{made['metadata']['namespace']}"
        made["metadata"] |= {"uid": made["metadata"]["name"], "resourceVersion": "1"}
        self.objects[f"{root}/{self._plural(made['kind'])}/{made['metadata']['name']}"] = made
        for other in self._controllers(made):
            self.add(other)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, method: str, url: Any, sent: Any) -> tuple[int, Any]:
        path, query = url.path, dict(urllib.parse.parse_qsl(url.query))
        if method == "GET" and (found := self._discovered(path)):
            return 200, found
        parent, _, last = path.rpartition("/")
        if path in self.objects:
            found = self.objects[path] if method == "GET" else self._merged(self.objects[path], sent)
            self.objects[path] = self.objects[path] if "dryRun" in query else found
            return 200, found
        if parent in self.objects and last == "eviction":
            return 201, self.objects.pop(parent)
        if parent in self.objects and last == "scale":
            found = self.objects[parent] = self._merged(self.objects[parent], sent)
            return 200, found | {"apiVersion": "autoscaling/v1", "kind": "Scale"}
        if parent in self.objects and last in ("exec", "portforward"):
            return self._status(400, "BadRequest", self.NO_STREAMS)
        if method == "POST" and last in self._kinds:
            if f"{path}/{sent['metadata']['name']}" in self.objects:
                return self._status(409, "AlreadyExists", f"{path} has {sent['metadata']['name']}")
            if "namespaces" in parent:
                sent["metadata"]["namespace"] = parent.rpartition("/")[2]
            self.add(sent)
            return 201, sent
        if method == "GET" and last in self._kinds:
            version, kind = self._kinds[last]
            items = [o for place, o in self.objects.items() if place.startswith(parent) and self._taken(o, kind, query)]
            return 200, {"apiVersion": version, "kind": f"{kind}List", "metadata": {}, "items": items}
        return self._status(404, "NotFound", f"{path} is not there")

    def _discovered(self, path: str) -> Any:
        versions = {version for version, _ in self._kinds.values()}
        groups = [(v, *v.split("/")) for v in sorted(versions) if "/" in v]
        match path.strip("/").split("/", 1):
            case ["version"]:
                return {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
            case ["api"]:
                return {"kind": "APIVersions", "versions": ["v1"]}
            case ["apis"]:
                named = [{"name": g, "versions": [{"groupVersion": v, "version": short}]} for v, g, short in groups]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}
            case ["api" | "apis", version] if version in versions:
                found = [(plural, kind) for plural, (known, kind) in self._kinds.items() if known == version]
                resources = [resource for plural, kind in found for resource in self._resources(plural, kind)]
                return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        return None

    def _resources(self, plural: str, kind: str) -> Iterator[Any]:
        """A kind as discovery tells it, and the part of it that has a kind of its own."""
        told = {"namespaced": kind not in self._CLUSTER_WIDE, "verbs": ["get", "list"]}
        yield told | {"name": plural, "singularName": kind.lower(), "kind": kind, "shortNames": _SHORT.get(kind, [])}
        for part, group in [self._PARTS[kind]] if kind in self._PARTS else []:
            own = {"kind": part.title(), "group": group, "version": "v1"}
            yield told | own | {"name": f"{plural}/{part}", "singularName": ""}

    @staticmethod
    def _plural(kind: str) -> str:
        return re.sub("ys$", "ies", re.sub("ss$", "sses", f"{kind.lower()}s"))

    @staticmethod
    def _status(code: int, reason: str, message: str) -> tuple[int, Any]:
        told = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code}
        return code, told | {"reason": reason, "message": message}

    @classmethod
    def _merged(cls, old: Any, new: Any) -> Any:
        """RFC 7396."""
        if not isinstance(old, dict) or not isinstance(new, dict):
            return new
        return {k: cls._merged(old.get(k), v) for k, v in (old | new).items() if v is not None}

    @staticmethod
    def _taken(found: Any, kind: str, query: dict[str, str]) -> bool:
        """Whether an object is of the kind and has what the selectors, all of them equalities, ask for."""
        asked = {name: [pair.split("=") for pair in query.get(name, "").split(",") if pair] for name in _SELECTORS}
        wanted = [(["metadata", "labels", name], value) for name, value in asked["labelSelector"]]
        wanted += [(name.split("."), value) for name, value in asked["fieldSelector"]]
        has = (functools.reduce(lambda held, part: held.get(part, {}), path, found) == value for path, value in wanted)
        return found["kind"] == kind and all(has)


_SHORT = {"Service": ["svc"]}
_SELECTORS = ("labelSelector", "fieldSelector")


def _unpacked(message: bytes) -> Any:
    """An object as kubectl sends those that it makes itself, `runtime.Unknown` of k8s.io/apimachinery in protobuf: its
    type, the name out of ObjectMeta in the first field, and of a Secret the data in the second."""
    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.unknown_fields import UnknownFieldSet

    def fields(raw: bytes, number: int) -> list[Any]:
        return [field.data for field in UnknownFieldSet(Empty.FromString(raw)) if field.field_number == number]

    (kinds,), (raw,) = (fields(message.removeprefix(b"k8s\0"), number) for number in (1, 2))
    (version,), (kind,) = (fields(kinds, number) for number in (1, 2))
    (name,) = fields(fields(raw, 1)[0], 1)
    made: Any = {"apiVersion": version.decode(), "kind": kind.decode(), "metadata": {"name": name.decode()}}
    if made["kind"] == "Secret":
        entries = [(fields(entry, 1)[0], fields(entry, 2)[0]) for entry in fields(raw, 2)]
        made["data"] = {key.decode(): base64.b64encode(value).decode() for key, value in entries}
    return made
