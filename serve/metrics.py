"""Every metric of ours: name, unit, tags, buckets. Tags are closed sets, never a user, URL or prompt.

Ray exports them as `ray_opensesame_*`. Created inside a replica (`Metrics()` in a deployment's
constructor), so that Serve adds its own tags (deployment, replica); importing this module makes none.
What happens is counted and observed, what is there is followed. Of a histogram read quantiles only: Ray
puts its sum together from the middles of the buckets.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, cast, get_args

from ray.serve import metrics as ray_metrics
from ray.util.metrics import Metric as RayMetric

from pipeline import guardrails
from pipeline.candidates import route
from pipeline.errors import OpenSesameError
from pipeline.ranking import drift
from pipeline.stores.mirror import ROLES
from pipeline.stores.trainings import ENDINGS

_log = logging.getLogger("opensesame.metrics")

LATENCY_MS = [1.0, 2, 3, 5, 7, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000, 10000, 30000]
SIZES = [1.0, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96]
_LOOK_S = 5.0  # between two looks at what is followed; Ray forgets a gauge that was not set for 20 s


def _slugs(kind: type[OpenSesameError]) -> set[str]:
    return {kind.slug}.union(*map(_slugs, kind.__subclasses__()))


# What each tag can say; anything else is told as "other". () is chosen by the code already: the template of a route
# of the application, the status of an answer.
TAGS: dict[str, tuple[str, ...]] = {
    "route": (),
    "status": (),
    "slug": tuple(sorted({"method_not_allowed", *_slugs(OpenSesameError)})),
    "stage": ("recall", "ground", "generate", "score", "remember", "total"),
    "known": ("prompt_history", "prompt_only", "history_only", "nothing"),
    "part": ("generator", "embedding", "state", "registry", "adaptation"),
    "kind": (*guardrails.FLAGS, "admin", "internal", "debug"),
    "action": ("passed", "refused"),
    "outcome": ("accept", "override", "reject", "observed", "impression", "click", "conversion"),
    "filled": ("full", "partial", "none"),
    "device": ("web", "desktop", "mobile", "tablet", "app", "tv", "voice", "kiosk", "other"),
    "context_type": (
        "search",
        "browse",
        "home",
        "category",
        "detail",
        "cart",
        "checkout",
        "account",
        "support",
        "message",
        "other",
    ),
    "layer": ("catalog_memory", "catalog_store", "prompt_vector", "prefix"),
    "result": ("hit", "miss"),
    "work": ("parse", "fetch", "evict"),
    "role": ROLES,
    "reason": ("hash", "fingerprint", "artefact", "slow"),
    "ending": ENDINGS,
    "direction": ("in", "cached", "out"),
    "tier": ("none", "small", "large"),
    "decision": get_args(route.Reason),
    "asked": ("catalogs", "ranker"),
    "had": ("died", "hung"),
    "texts": ("prompts", "cards"),
    "rank": ("1", "2", "3", "4-5", "6-", "none"),
    "confidence": tuple(f"0.{tenth}" for tenth in range(10)),
    "group": drift.GROUPS,
}

# name -> (kind, what, tags)
METRICS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "opensesame_requests": ("counter", "Requests answered, by route and status.", ("route", "status")),
    "opensesame_errors": ("counter", "Problem documents sent, by slug.", ("slug",)),
    "opensesame_predict_ms": ("histogram", "Time of a stage of POST /predict, in milliseconds.", ("stage",)),
    "opensesame_degraded": ("counter", "Predictions answered without a part, by part.", ("part",)),
    # Cold starts are `prompt_only` and `nothing`, by all.
    "opensesame_predictions": (
        "counter",
        "Predictions, by what was known: a prompt, calls of the catalog, both or nothing.",
        ("known",),
    ),
    # CTR is outcome `click` by `impression`, acceptance of suggestions `conversion` by `impression`, acceptance of
    # predictions `accept` by `accept` + `override` + `reject`.
    "opensesame_guardrail": (
        "counter",
        "Prompts in which the guard found something, by kind and what was done: passed or refused.",
        ("kind", "action"),
    ),
    "opensesame_suspicious": ("counter", "Shown operations that deserve a second look, by kind.", ("kind",)),
    "opensesame_feedback": ("counter", "Feedback recorded, by outcome.", ("outcome",)),
    # hit@1 is rank 1 by all. Calibration error is the mean, over the bins of confidence, of the difference between
    # hits and told confidences, by all.
    "opensesame_answers": (
        "counter",
        "Predictions whose next call became known, by its rank and by the confidence told for rank 1.",
        ("rank", "confidence"),
    ),
    "opensesame_told_confidence": (
        "counter",
        "Sum of the confidences told for rank 1 of those predictions, by tenth.",
        ("confidence",),
    ),
    "opensesame_feature_drift": (
        "gauge",
        "Mean PSI of the features of a group against the packaged ranker's; 0 below a hundred predictions.",
        ("group",),
    ),
    "opensesame_inbox": ("gauge", "Labelled groups that wait to be drained to the journal.", ()),
    "opensesame_inbox_age_s": ("gauge", "Seconds since the oldest of them came; 0 when none waits.", ()),
    "opensesame_trainings": ("counter", "Trainings that ended, by how.", ("ending",)),
    "opensesame_training_age_s": ("gauge", "Seconds since the last training ended; 0 when none has.", ()),
    # Coverage is `full` by all: as many propositions as were asked for, or as many as there are.
    "opensesame_suggestions": (
        "counter",
        "Answers of POST /suggest, by how far they hold what was asked for (full, partial, none).",
        ("filled", "device", "context_type"),
    ),
    "opensesame_propositions_shown": ("counter", "Propositions in answers of POST /suggest.", ()),
    "opensesame_ongoing": ("gauge", "Requests in hand, waiting or at work, by deployment.", ()),
    "opensesame_shortlist_size": ("histogram", "Candidates that were scored for a prediction.", ()),
    "opensesame_batch_size": ("histogram", "Texts in one pass of the encoder, by what they are.", ("texts",)),
    # Prompts in the ingress's vectors; catalogs in the replica, else in Redis; prompts of which the generator's engine
    # knew the beginning.
    "opensesame_cache": ("counter", "What was looked for in a cache, by layer and result.", ("layer", "result")),
    "opensesame_catalogs": ("gauge", "Compiled catalogs a replica holds.", ()),
    "opensesame_catalogs_bytes": ("gauge", "Memory of the compiled catalogs a replica holds, as it counts it.", ()),
    "opensesame_catalog_work": ("counter", "Specs parsed and fetched, catalogs let go for want of room.", ("work",)),
    "opensesame_retries": (
        "counter",
        "Inner calls that were asked again, by whom they asked and what that replica had done.",
        ("asked", "had"),
    ),
    "opensesame_ranker_swaps": ("counter", "Rankers that a replica began to serve, by role.", ("role",)),
    "opensesame_ranker_refused": ("counter", "Rankers that a replica would not serve, by reason.", ("reason",)),
    "opensesame_ranker_version": (
        "gauge",
        "The registry's number of the ranker in a role; 0 the installed one, -1 none, or the cold-start order.",
        ("role",),
    ),
    "opensesame_ranker_current": ("gauge", "1 while the registry's champion serves, as far as it was heard of.", ()),
    "opensesame_ranker_load_ms": ("histogram", "Time to load and try a ranker, in milliseconds.", ()),
    # The hit rate of the engine's prefix cache is `cached` by `in`.
    "opensesame_generator_tokens": (
        "counter",
        "Tokens of generators, by direction (in, out, and those of `in` that were cached) and tier.",
        ("direction", "tier"),
    ),
    "opensesame_route": (
        "counter",
        "Predictions by the tier that proposed and why it did or none.",
        ("tier", "decision"),
    ),
    "opensesame_cost_usd": ("counter", "What proposals cost, in US dollars.", ()),
    "opensesame_tier_up": ("gauge", "1 while a tier's breaker is closed: it answers, as far as was seen.", ("tier",)),
    "opensesame_budget_used": ("gauge", "Share of the day's budget that is spent or reserved.", ()),
}


# Boundaries of the histograms that are no times.
_SIZED = {"opensesame_shortlist_size": SIZES, "opensesame_batch_size": SIZES}


class Metrics:
    """The metrics of one replica, by name; each is made when it is first told of."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}
        self._followed: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None

    def count(self, name: str, value: float = 1.0, **tags: str) -> None:
        if value:
            self._metric(name).inc(value, _closed(tags))

    def observe(self, name: str, value: float, **tags: str) -> None:
        self._metric(name).observe(value, _closed(tags))

    def begin(self, *names: str) -> None:
        """Tell counters as 0, with whatever their tags can say: a rate sees the first event only after a zero."""
        for name in names:
            tags = METRICS[name][2]
            for values in itertools.product(*(TAGS[tag] for tag in tags)):
                # Ray's own `inc` refuses a zero (2.60).
                RayMetric._record(self._metric(name), 0.0, dict(zip(tags, values, strict=True)))

    def follow(self, name: str, read: Callable[[], float], **tags: str) -> None:
        """Look at `read` every few seconds: a gauge is what it gives, a counter grows as it grows.

        It is called on a thread of its own, so it only reads; what it holds is held as long as the replica lives.
        """
        metric, tags, told = self._metric(name), _closed(tags), 0.0

        def look() -> None:
            nonlocal told
            value = float(read())
            if METRICS[name][0] == "gauge":
                metric.set(value, tags)
            else:
                RayMetric._record(metric, max(0.0, value - told), tags)
                told = value

        look()
        self._followed.append(look)
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="metrics", daemon=True)
            self._thread.start()

    def _look(self) -> None:
        said: list[Callable[[], None]] = []  # whose first fault is in the log
        while True:
            time.sleep(_LOOK_S)
            for look in list(self._followed):
                try:
                    look()
                except Exception:  # a fault of one must not end the looking at the others
                    if look not in said:
                        said.append(look)
                        _log.exception("what is followed could not be read")

    def _metric(self, name: str) -> Any:
        metric: Any = self._made.get(name)
        if metric is None:
            kind, what, tags = METRICS[name]
            tags = cast(Any, tags)  # Ray's annotation says a tuple of one
            if kind == "histogram":
                boundaries = _SIZED.get(name, LATENCY_MS)
                metric = ray_metrics.Histogram(name, description=what, boundaries=boundaries, tag_keys=tags)
            else:
                make = ray_metrics.Counter if kind == "counter" else ray_metrics.Gauge
                metric = make(name, description=what, tag_keys=tags)
            self._made[name] = metric
        return metric


def _closed(tags: dict[str, str]) -> dict[str, str]:
    """The tags, with "other" for what a tag cannot say."""
    for tag, value in tags.items():
        if TAGS[tag] and value not in TAGS[tag]:
            tags[tag] = "other"
    return tags
