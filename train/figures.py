"""Pictures of a challenger for its run in the registry: whether its confidence keeps its word, and what it looks at.

PNG bytes by name; matplotlib is imported when they are drawn. Called by `train/retrain.py`.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pipeline.ranking import measures
from pipeline.ranking.ranker import Ranker
from pipeline.ranking.table import HEADS, NAMES
from train.gate import Answers, Trial

_BEFORE, _AFTER, _GRID = "#7a7a7a", "#0b5fa5", "#e6e6e6"
_SHOWN = 15  # features of a head
_GROUPS = 200  # of a head that importance is read from


def draw(later: Answers, challenger: Ranker, golden: Iterable[Trial]) -> dict[str, bytes]:
    """`reliability.png` of both rankers on later data, `importance.png` of the challenger on golden groups."""
    return {
        "reliability.png": _reliability(later.where(later.known)),
        "importance.png": _importance(challenger, golden),
    }


def _reliability(known: Answers) -> bytes:
    figure, (axis,) = _figure(1, (4.6, 4.4))
    axis.plot([0, 1], [0, 1], color=_GRID, linewidth=1)
    for column, label, colour in ((0, "champion", _BEFORE), (1, "challenger", _AFTER)):
        bins = measures.reliability(known.confidence[:, column], known.right[:, column])
        axis.plot([b[0] for b in bins], [b[1] for b in bins], marker="o", color=colour, label=label)
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence of the first prediction", ylabel="share that was right")
    axis.set_title(f"Later data, {len(known):,} groups", fontsize=10)
    axis.legend(frameon=False)
    return _png(figure)


def _importance(ranker: Ranker, golden: Iterable[Trial]) -> bytes:
    """How much each feature raises the first of a group above the group's mean, by head."""
    raised: dict[str, Counter[str]] = {head: Counter() for head in HEADS}
    groups: Counter[str] = Counter()
    for trial in golden:
        if groups[trial.head] < _GROUPS:
            groups[trial.head] += 1
            for parts in ranker.score(trial.x, trial.head, range(len(trial.x)), 1).because.values():
                raised[trial.head].update({NAMES[column]: abs(part) for column, part in parts})
    figure, axes = _figure(len(HEADS), (4.2 * len(HEADS), 4.6))
    for axis, head in zip(axes, HEADS, strict=True):
        top = raised[head].most_common(_SHOWN)[::-1]
        axis.barh([name for name, _ in top], [value / groups[head] for _, value in top], color=_AFTER)
        axis.set_title(head, fontsize=10)
    return _png(figure)


def _figure(across: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=110)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, across, squeeze=False)[0]


def _png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.tight_layout()
    figure.savefig(out, format="png")
    return out.getvalue()
