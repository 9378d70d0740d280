"""What predictions were made from, and how good they turned out, counted. Called by the ingress."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.types import Answer, Impression, Query, QueryGroup
from serve.metrics import Metrics

_KNOWN = ("accept", "override", "observed")  # outcomes that say which call came next


def count_known(metrics: Metrics, query: Query, answer: Answer) -> None:
    """Count a prediction by what was known; calls that are no operation of the catalog tell nothing."""
    prompt, history = bool(query.prompt.strip()), bool(answer.grounded.previous)
    known = "prompt_history" if prompt and history else "prompt_only" if prompt else "history_only"
    metrics.count("opensesame_predictions", known=known if prompt or history else "nothing")


def count_answers(metrics: Metrics, groups: Iterable[QueryGroup | None]) -> None:
    """Count each prediction whose next call these groups tell; one that was shuffled to explore tells nothing."""
    for group in groups:
        if group is None or group.outcome not in _KNOWN or not group.impression.shown or group.impression.explored:
            continue
        told = group.impression.confidence
        tenth = f"0.{min(9, int(told * 10))}"
        metrics.count("opensesame_answers", rank=_rank(group.impression, group.chosen), confidence=tenth)
        metrics.count("opensesame_told_confidence", told, confidence=tenth)


def _rank(impression: Impression, chosen: str) -> str:
    if chosen not in impression.shown:
        return "none"
    rank = impression.shown.index(chosen) + 1
    return str(rank) if rank <= 3 else "4-5" if rank <= 5 else "6-"
