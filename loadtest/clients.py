"""Closed-loop HTTP clients on raw keep-alive connections, in a process of their own.

Each client sends its next request when the answer to the last one is there. A request costs about
0.03 ms of CPU here, so that on a shared machine the service is measured and not its clients. Speaks
as much HTTP/1.1 as the services beside it answer: a Content-Length, no chunks, no redirects. `run`
starts the process; `python -m loadtest.clients` is that process (job on stdin, outcome on stdout).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import msgspec

_RECONNECT_S = 0.05


class Job(msgspec.Struct, frozen=True):
    """`bodies` are sent in turn, from the first, until `count` are answered or `limit_s` is over."""

    port: int
    bodies: list[bytes]
    concurrency: int
    count: int
    limit_s: float
    path: str = "/predict"
    host: str = "127.0.0.1"


class Outcome(msgspec.Struct, frozen=True):
    latencies_s: list[float]  # of answers with status 200, in the order they came
    statuses: dict[int, int]  # how often each came; 0: the connection broke
    elapsed_s: float
    timings: list[str]  # Server-Timing of each 200
    last: bytes  # body of the last 200
    refused: bytes = b""  # body of the last answer that was none

    @property
    def errors(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != 200)

    @property
    def requests(self) -> int:
        return sum(self.statuses.values())


def run(job: Job) -> Outcome:
    """What the clients of `job` saw; blocks until they are done.

    Raises:
        subprocess.SubprocessError: the process failed, or did not end 30 s after the job's limit.
    """
    child = subprocess.run(
        [sys.executable, "-m", "loadtest.clients"],
        input=msgspec.msgpack.encode(job),
        stdout=subprocess.PIPE,
        timeout=job.limit_s + 30,
        check=True,
    )
    return msgspec.msgpack.decode(child.stdout, type=Outcome)


class _Load:
    """What all clients of a job share."""

    def __init__(self, job: Job) -> None:
        host = f"{job.host}:{job.port}"
        head = f"POST {job.path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: "
        self.requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in job.bodies]
        self.job = job
        self.sent = 0
        self.latencies: list[float] = []
        self.timings: list[str] = []
        self.statuses: dict[int, int] = {}
        self.last = self.refused = b""
        self.until = time.perf_counter() + job.limit_s

    def take(self) -> bytes | None:
        """The next request, None when it is over."""
        if self.sent >= self.job.count or time.perf_counter() >= self.until:
            return None
        request = self.requests[self.sent % len(self.requests)]
        self.sent += 1
        return request

    def answered(self, status: int, latency_s: float, head: bytes, body: bytes) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status != 200:
            self.refused = body
            return
        self.latencies.append(latency_s)
        self.last = body
        at = head.find(b"server-timing:")
        if at >= 0:
            self.timings.append(head[at + 14 : head.index(b"\r\n", at)].decode().strip())


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: _Load, done: asyncio.Event) -> None:
        self._load = load
        self._done = done
        self._buffer = b""
        self._began = 0.0
        self._is_waiting = False
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's is no subclass
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower() + b"\r\n"
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            self._is_waiting = False
            self._load.answered(0, 0.0, b"", b"an answer without Content-Length: " + head[:200])
            self._transport.abort()
            return
        size = int(head[at + 17 : head.index(b"\r\n", at + 17)])
        body = self._buffer[end + 4 :]
        if len(body) < size:
            return
        self._buffer = b""
        self._is_waiting = False
        self._load.answered(int(head[9:12]), time.perf_counter() - self._began, head, body)
        if b"\r\nconnection: close" in head:
            self._transport.close()
        else:
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if self._is_waiting:
            self._load.answered(0, 0.0, b"", repr(error).encode())
        self._done.set()

    def _next(self) -> None:
        request = self._load.take()
        if request is None:
            self.is_over = True
            self._transport.close()
            return
        self._is_waiting = True
        self._began = time.perf_counter()
        self._transport.write(request)


async def _client(load: _Load) -> None:
    """One client: its connection, and a new one after each that broke, until the job is over."""
    loop = asyncio.get_running_loop()
    while time.perf_counter() < load.until:
        done = asyncio.Event()
        try:
            client = _Client(load, done)
            await loop.create_connection(lambda client=client: client, load.job.host, load.job.port)  # type: ignore[misc]
        except OSError as error:
            load.answered(0, 0.0, b"", repr(error).encode())
            await asyncio.sleep(_RECONNECT_S)
            continue
        await done.wait()
        if client.is_over:
            return
        await asyncio.sleep(_RECONNECT_S)


async def _clients(job: Job) -> Outcome:
    load = _Load(job)
    began = time.perf_counter()
    # An answer that never comes ends with the job, as a broken connection.
    tasks = [asyncio.create_task(_client(load)) for _ in range(job.concurrency)]
    await asyncio.wait(tasks, timeout=job.limit_s + 10)
    elapsed_s = time.perf_counter() - began
    for task in tasks:
        if not task.done():
            task.cancel()
            load.answered(0, 0.0, b"", b"no answer")
    await asyncio.gather(*tasks, return_exceptions=True)
    return Outcome(load.latencies, load.statuses, elapsed_s, load.timings, load.last, load.refused)


def write_out(data: bytes) -> None:
    """To stdout, whole: after uvloop.run a write to a full pipe may be short, and sys.stdout drops the rest."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]


def main() -> None:
    import uvloop

    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job)
    write_out(msgspec.msgpack.encode(uvloop.run(_clients(job))))


if __name__ == "__main__":
    main()
