"""The HTTP application on a real port, without Ray: for clients of any kind that speak over a socket.

Real catalogs, ranker and Redis, as in `tests/serve/conftest.py`; it lives in a thread with a loop of its own. The port
answers once `service` yields.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import uvicorn

from pipeline.stores.embedded import EmbeddedRedis
from tests.serve.conftest import make_app


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None: ...


@contextlib.contextmanager
def service() -> Iterator[tuple[str, str]]:
    """The base URL of a running application with an empty state, and the URL of its Redis."""
    redis = EmbeddedRedis.throwaway()
    started = threading.Event()
    found: list[_Server] = []

    async def run() -> None:
        async with make_app(redis.start()) as app:
            server = _Server(uvicorn.Config(app.asgi, port=0, log_level="warning", lifespan="off"))
            found.append(server)
            serving = asyncio.create_task(server.serve())
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            started.set()
            await serving

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    try:
        assert started.wait(400)  # on a machine that does much else
        port = found[0].servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", redis.url
    finally:
        for server in found:
            server.should_exit = True
        thread.join(30)
        redis.stop()
