"""Graphs that do nothing: what the platform itself costs, measured by `loadtest.bench` beside ours.

`build` is Ingress -> C -> R in sequence, with the payloads that our graph sends over the same hops
and the limits of its deployments; `plain` is the bare FastAPI under it. Both answer POST /predict.
`python -m loadtest.noop` serves one of them until SIGTERM; the graph is started by the runtime of
the product, so that mode, ports and authentication are the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import fastapi
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from pipeline import settings as configuration
from pipeline.ranking.features import FEATURES
from pipeline.settings import Settings

GROUNDED_BYTES = 45_000  # a grounded query of the GitHub catalog, pickled: median of 300, 21 November 2026
ANSWER = b'{"predictions":"' + b"x" * 3_000 + b'"}'  # five predictions


def plain() -> fastapi.FastAPI:
    """The route alone: reads the body and answers."""

    async def predict(request: Request) -> Response:
        await request.body()
        return Response(ANSWER, media_type="application/json")

    app = fastapi.FastAPI()
    app.add_api_route("/predict", predict, methods=["POST"], response_model=None)
    return app


class C:
    async def ground(self, body: bytes) -> bytes:
        return bytes(GROUNDED_BYTES)


class R:
    async def score(self, matrix: np.ndarray) -> np.ndarray:
        return matrix[:, 0].copy()


class Ingress:
    def __init__(self, c: Any, r: Any, candidates: int) -> None:
        self._c, self._r = c, r
        self._matrix = np.ones((candidates, len(FEATURES)), dtype=np.float32)  # what goes to Ranker

    def __serve_build_asgi_app__(self) -> fastapi.FastAPI:
        app = fastapi.FastAPI()
        app.add_api_route("/predict", self.predict, methods=["POST"], response_model=None)
        return app

    async def predict(self, request: Request) -> Response:
        await self._c.ground.remote(await request.body())
        await self._r.score.remote(self._matrix)
        return Response(ANSWER, media_type="application/json")


def build(settings: Settings) -> Any:
    """The no-op graph as a Serve application."""
    from ray import serve  # here, since the runtime sets Ray's environment first

    def limited(target: Any, section: Any) -> Any:
        return serve.deployment(
            target,
            num_replicas=section.replicas.min,
            max_ongoing_requests=section.max_ongoing_requests,
            ray_actor_options={"num_cpus": section.num_cpus, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "1"}}},
        )

    c = limited(C, settings.catalogs).bind()
    r = limited(R, settings.ranker).bind()
    return limited(serve.ingress()(Ingress), settings.ingress).bind(c, r, settings.shortlist.total)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.noop", description=__doc__)
    parser.add_argument("what", choices=["plain", "graph"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--config", default="local")
    parser.add_argument("--var", type=Path, required=True, help="folder of the Ray token and an idle Redis")
    arguments = parser.parse_args()
    if arguments.what == "plain":
        import uvicorn

        uvicorn.run(plain(), host="127.0.0.1", port=arguments.port, log_level="warning", access_log=False)
        return
    loaded = configuration.load(arguments.config)
    settings = loaded.model_copy(
        update={
            "server": loaded.server.model_copy(update={"port": arguments.port}),
            "ray": loaded.ray.model_copy(update={"dashboard_port": 0}),
        }
    )
    from loadtest import noop  # under its own name: what stands in __main__ travels by value, without its annotations
    from serve.runtime import Runtime, wait_for_signal

    runtime = Runtime(settings, arguments.var, noop.build)
    try:
        with wait_for_signal() as stopped:
            runtime.start()
            print("ready", flush=True)
            stopped.wait()
    finally:
        runtime.stop()


if __name__ == "__main__":
    main()
