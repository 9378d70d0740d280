"""What metrics and the log cost a prediction: `python -m loadtest.telemetry`.

A replica in a private Ray tells again and again what one POST /predict tells, to the real metrics and the real log
(into a file), and says how long each part takes; beside it a prediction's own time, for the share.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from typing import Any

import numpy as np

_TIMES = 5000


def measure() -> dict[str, float]:
    """Microseconds of each part, in this replica."""
    from pipeline import settings
    from pipeline.ranking import drift
    from pipeline.ranking.table import FEATURES
    from serve import logs
    from serve.metrics import Metrics

    made, log = Metrics(), settings.load("local").log
    logs.configure(log.model_copy(update={"format": "json", "level": "info"}))
    logger = logging.getLogger("opensesame.access")
    line: dict[str, Any] = {"method": "POST", "route": "/predict", "status": 200, "latency_ms": 12.34}
    line |= {"tenant": logs.hashed("local"), "key": "", "request_id": "0" * 32, "catalog": "sha256:c0d6aa2e6af3"}
    line |= {"model_version": "7", "degraded": []}
    watched = drift.Drift(drift.load())
    matrix = np.random.default_rng(0).random((64, len(FEATURES))).astype(np.float32)
    stages = {"recall": 0.8, "ground": 6.1, "generate": 0.1, "score": 1.4, "remember": 0.7, "total": 9.3}

    def metrics() -> None:
        for stage, milliseconds in stages.items():
            made.observe("opensesame_predict_ms", milliseconds, stage=stage)
        made.observe("opensesame_shortlist_size", 64)
        made.count("opensesame_cache", layer="prompt_vector", result="miss")
        made.observe("opensesame_batch_size", 1, texts="prompts")
        made.count("opensesame_requests", route="/predict", status="200")

    def looked() -> None:
        watched.offer(matrix, "prompt_only")
        watched.look()

    return {
        "metrics_us": _each(metrics),
        "log_us": _each(lambda: logger.info("request", extra=line)),
        "drift_offer_us": _each(lambda: watched.offer(matrix, "prompt_only")),
        "drift_look_us": _each(looked, 500),  # off the path: at most 64 in five seconds
    }


def _each(work: Any, times: int = _TIMES) -> float:
    work()
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times * 1e6


def predict_us(times: int = 200) -> float:
    """A whole prediction in process, without HTTP, hops and state."""
    from pipeline import settings
    from pipeline.local import LocalStages
    from pipeline.predict import predict
    from pipeline.types import Query, Source

    async def ask() -> float:
        loaded = settings.load("local")
        stages = LocalStages(loaded)
        query = Query(source=Source(name="billing"), prompt="refund the duplicate charge")
        await predict(query, stages, None, loaded)
        began = time.perf_counter()
        for _ in range(times):
            await predict(query, stages, None, loaded)
        return (time.perf_counter() - began) / times * 1e6

    return asyncio.run(ask())


def main() -> None:
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_LOG_TO_STDERR": "0"}
    import ray
    from ray import serve

    @serve.deployment
    class Told:
        def __call__(self) -> dict[str, float]:
            return measure()

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(proxy_location="Disabled")
        told = serve.run(Told.bind(), name="telemetry").remote().result()
    finally:
        serve.shutdown()
        ray.shutdown()
    whole = told["metrics_us"] + told["log_us"] + told["drift_offer_us"]
    told |= {"whole_us": whole, "predict_us": predict_us()}
    print(json.dumps({name: round(value, 1) for name, value in told.items()} | {"share": whole / told["predict_us"]}))


if __name__ == "__main__":
    main()
