"""Every metric of ours: name, unit, tags, buckets. Tags are closed sets, never a user, URL or prompt.

Ray exports them as `ray_opensesame_*`. Created inside a replica (`Metrics()` in a deployment's
constructor), so that Serve adds its own tags; importing this module makes none.
"""

from __future__ import annotations

from typing import Any, cast

from ray.serve import metrics as ray_metrics

# Milliseconds.
LATENCY_MS = [1.0, 2, 3, 5, 7, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000, 10000, 30000]

# name -> (kind, what, tags)
METRICS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "opensesame_requests": ("counter", "Requests answered, by route and status.", ("route", "status")),
    "opensesame_errors": ("counter", "Problem documents sent, by slug.", ("slug",)),
    "opensesame_predict_ms": ("histogram", "Time of a stage of POST /predict, in milliseconds.", ("stage",)),
    "opensesame_degraded": ("counter", "Predictions answered without a part, by part.", ("part",)),
    # CTR is outcome `click` by `impression`, acceptance of suggestions `conversion` by `impression`, acceptance of
    # predictions `accept` by `accept` + `override` + `reject`.
    "opensesame_guardrail": (
        "counter",
        "Prompts in which the guard found something, by kind and what was done: passed or refused.",
        ("kind", "action"),
    ),
    "opensesame_suspicious": ("counter", "Shown operations that deserve a second look, by kind.", ("kind",)),
    "opensesame_feedback": ("counter", "Feedback recorded, by outcome.", ("outcome",)),
    # Coverage is `full` by all: as many propositions as were asked for, or as many as there are.
    "opensesame_suggestions": (
        "counter",
        "Answers of POST /suggest, by how far they hold what was asked for (full, partial, none).",
        ("filled", "device", "context_type"),
    ),
    "opensesame_propositions_shown": ("counter", "Propositions in answers of POST /suggest.", ()),
    "opensesame_prompt_vectors": (
        "counter",
        "Prompts looked up in the ingress's vector cache, by result.",
        ("result",),
    ),
    "opensesame_ranker_swaps": ("counter", "Rankers that a replica began to serve, by role.", ("role",)),
    "opensesame_ranker_refused": ("counter", "Rankers that a replica would not serve, by reason.", ("reason",)),
    "opensesame_ranker_load_ms": ("histogram", "Time to load and try a ranker, in milliseconds.", ()),
    "opensesame_generator_tokens": ("counter", "Tokens of the generator, by direction.", ("direction",)),
}


class Metrics:
    """Lazily made metrics of one replica; `count`, `observe` and `set` by name."""

    def __init__(self) -> None:
        self._made: dict[str, object] = {}

    def count(self, name: str, value: float = 1.0, **tags: str) -> None:
        if value:
            self._metric(name).inc(value, tags)  # type: ignore[attr-defined]

    def observe(self, name: str, value: float, **tags: str) -> None:
        self._metric(name).observe(value, tags)  # type: ignore[attr-defined]

    def set(self, name: str, value: float, **tags: str) -> None:
        self._metric(name).set(value, tags)  # type: ignore[attr-defined]

    def _metric(self, name: str) -> object:
        metric = self._made.get(name)
        if metric is None:
            kind, what, tags = METRICS[name]
            tags = cast(Any, tags)  # Ray's annotation says a tuple of one
            if kind == "histogram":
                metric = ray_metrics.Histogram(name, description=what, boundaries=LATENCY_MS, tag_keys=tags)
            else:
                make = ray_metrics.Counter if kind == "counter" else ray_metrics.Gauge
                metric = make(name, description=what, tag_keys=tags)
            self._made[name] = metric
        return metric
