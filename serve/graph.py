"""The graph of deployments.

    client ──HTTP──> Ingress ──> Catalogs ──> Embedder
                        │            (a prompt never seen, and operation cards in the background)
                        ├──────> Generator      (when it is on, for queries with a prompt; it asks Catalogs what a
                        │                        catalog it has not met is about)
                        ├──────> Ranker
                        └─ ─ ─ > Models         (the operator's routes; it mirrors the champion into Redis, where
                                                 the replicas of Ranker find it)

Each is scaled by its own section of the settings. `build` is the import path of a Serve config
(`serve.graph:build`, args `config`); `opensesame serve` calls `application` with loaded settings.
"""

from __future__ import annotations

import functools
from typing import Any

import pydantic
from ray import serve
from ray.serve.config import RequestRouterConfig

from pipeline.settings import Embedder, Generator, Settings, load
from serve import tracing
from serve.catalogs import CatalogsDeployment
from serve.embedder import EmbedderDeployment
from serve.ingress import Ingress
from serve.models import ModelsDeployment
from serve.ranker import RankerDeployment

# A catalog lies on few replicas: requests go to the one that the hash of their catalog names.
_ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"

# Requests in the hands of a replica, on average, above which Serve adds one (docs/scaling.md): these replicas are busy
# with one request at a time. What waits for others, or batches, passes another number.
_TARGET = 2


class GraphArgs(pydantic.BaseModel):
    """Arguments of the application in a Serve config."""

    config: str = "cluster"


def build(args: Any) -> serve.Application:
    """The application of configuration `args.config` (a name in configs/ or a path).

    Serve hands over the mapping itself: it does not resolve a postponed annotation (2.60, `serve/_private/api.py`).
    """
    return application(load(GraphArgs.model_validate(args).config))


def application(settings: Settings) -> serve.Application:
    """The graph; the Generator is in it only when it is enabled."""
    scaled = functools.partial(sized, variables=tracing.variables(settings.tracing))
    embedder = scaled(EmbedderDeployment, settings.embedder, threads=settings.embedder.threads).bind(settings)
    router = RequestRouterConfig(request_router_class=_ROUTER)  # type: ignore[arg-type]
    catalogs = scaled(CatalogsDeployment, settings.catalogs, request_router_config=router).bind(settings, embedder)
    ranker = scaled(RankerDeployment, settings.ranker, threads=settings.ranker.threads).bind(settings)
    models = scaled(ModelsDeployment, settings.models).bind(settings)
    generator = None
    if settings.generator.enabled:
        from serve.generator import Generator as GeneratorDeployment

        # To the replica that has the catalog's prefix in its cache, to another one when that one's batch is full.
        batch = max(1, settings.generator.max_num_seqs // 2)
        generator = scaled(GeneratorDeployment, settings.generator, target=batch, request_router_config=router).bind(
            settings, catalogs
        )
    # A request waits here while others work on it; at ground_at_once of them it refuses, so that scaling begins before.
    half = max(1, settings.ingress.ground_at_once // 2)
    return scaled(Ingress, settings.ingress, target=half).bind(settings, catalogs, embedder, ranker, generator, models)


def sized(
    deployment: Any, section: Any, variables: dict[str, str], threads: int = 1, target: int = _TARGET, **more: Any
) -> Any:
    """The deployment with the replicas, concurrency and resources of its section."""
    replicas = section.replicas
    num_gpus = section.num_gpus if isinstance(section, Embedder | Generator) else 0
    options: dict[str, Any] = {
        "max_ongoing_requests": section.max_ongoing_requests,
        "max_queued_requests": 4 * section.max_ongoing_requests,
        "health_check_period_s": 2,
        "health_check_timeout_s": 10,
        "graceful_shutdown_timeout_s": 10,
        # A new replica answers before an old one stops. Where it needs a GPU there may be none to spare.
        "max_surge_percent": 0 if num_gpus else 25,
        "ray_actor_options": {
            "num_cpus": section.num_cpus,
            "num_gpus": num_gpus,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(threads), **variables}},
        },
    }
    if replicas.min == replicas.max:
        options["num_replicas"] = replicas.min
    else:
        options["autoscaling_config"] = {
            "min_replicas": replicas.min,
            "max_replicas": replicas.max,
            "target_ongoing_requests": target,
        }
    return deployment.options(**options, **more)
