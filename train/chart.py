"""A report as one picture: hit@1 and hit@3 of ours and the baselines, and whether confidence keeps its word.

Rows are variants, columns suites and their mean; the last column is the reliability diagram. Bars are 95 %
bootstrap intervals over groups. matplotlib is imported when a chart is drawn. Called by `train/evaluate.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train.report import GUARDED, MACRO, RANKER, Cell, Report

_OURS, _FLOOR, _GRID = "#0b5fa5", "#7a7a7a", "#e6e6e6"
_SUITES = ("#d1495b", "#edae49", "#00798c", "#6a4c93", "#66a182", "#2e4057")  # told apart without colour vision too
_MARKERS = "osD^vP"
_LABELS = {"bm25": "BM25", "minilm": "MiniLM", GUARDED: "ranker, guarded", "markov": "Markov (seen API)"}
_VARIANTS = {
    "prompt_only": "A prompt alone",
    "prompt_history": "Prompt and history",
    "history_only": "History alone",
}
_ORDER = (RANKER, GUARDED, "union", "minilm", "bm25", "path overlap", "markov", "random")


def draw(report: Report, file: Path) -> None:
    """Writes the chart as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    variants = report.variants
    suites = [*dict.fromkeys(s for variant in variants for s in report.suites(variant) if s != MACRO), MACRO]
    methods = sorted(report.cells, key=lambda m: _ORDER.index(m) if m in _ORDER else len(_ORDER))
    across, down = len(suites) + 1, len(variants)
    figure = Figure(figsize=(2.6 + 2.9 * across, 1.3 + 0.34 * down * (len(methods) + 2.6)), dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, across, squeeze=False, gridspec_kw={"width_ratios": [1.0] * len(suites) + [1.15]})
    for row, variant in zip(axes, variants, strict=True):
        for axis, suite in zip(row, suites, strict=False):
            cells = {m: by[variant][suite] for m, by in report.cells.items() if suite in by.get(variant, {})}
            _hits(axis, cells, methods)
            cases = next(iter(cells.values())).cases if cells else 0
            name = "mean over suites" if suite == MACRO else suite
            axis.set_title(f"{name}  ({cases:,} cases)", fontsize=9, weight="bold" if suite == MACRO else "normal")
            if axis is row[0]:
                axis.set_yticklabels([_LABELS.get(m, m) for m in methods], fontsize=9)
                for label, method in zip(axis.get_yticklabels(), methods, strict=True):
                    label.set_color(_OURS if method.startswith(RANKER) else "black")
                axis.set_ylabel(_VARIANTS.get(variant, variant), fontsize=11, weight="bold", labelpad=10)
            else:
                axis.set_yticklabels([])
        _reliability(row[-1], report, variant, suites)
        if row is axes[-1]:
            for axis in row[:-1]:
                axis.set_xlabel("share of cases", fontsize=8)
            row[-1].set_xlabel("confidence of the first prediction", fontsize=8)
    _legend(figure)
    figure.suptitle(f"The next call among all operations of the spec: {report.ranker}", fontsize=12, x=0.5)
    figure.tight_layout(rect=(0, 0.035, 1, 0.99), h_pad=1.6)
    figure.savefig(file, format="png")


def _hits(axis: Any, cells: dict[str, Cell], methods: list[str]) -> None:
    """hit@1 filled and hit@3 hollow, one line a method, the first on top."""
    for y, method in enumerate(methods):
        cell = cells.get(method)
        if cell is None:
            continue
        colour = _OURS if method.startswith(RANKER) else _FLOOR
        for column, lift, face, size in (("hit@3", 0.17, "white", 4.5), ("hit@1", -0.17, colour, 5.5)):
            value, (low, high) = cell.values[column], cell.intervals[column]
            axis.plot([low, high], [y + lift] * 2, color=colour, linewidth=1.4, alpha=0.55, solid_capstyle="butt")
            axis.plot([value], [y + lift], "o", color=colour, markerfacecolor=face, markersize=size)
        if method.startswith(RANKER):
            axis.axhspan(y - 0.5, y + 0.5, color=_OURS, alpha=0.05, linewidth=0)
    axis.set_ylim(len(methods) - 0.4, -0.6)
    axis.set_xlim(-0.02, 1.02)
    axis.set_yticks(range(len(methods)))
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"], fontsize=8)
    axis.tick_params(axis="y", length=0)
    _plain(axis)


def _reliability(axis: Any, report: Report, variant: str, suites: list[str]) -> None:
    """Accuracy of the first prediction against its confidence, in bins of equal mass."""
    axis.plot([0, 1], [0, 1], color=_FLOOR, linewidth=0.9, linestyle=(0, (4, 3)))
    for i, suite in enumerate(s for s in suites if s != MACRO):
        bins = report.reliability.get(variant, {}).get(suite)
        if not bins:
            continue
        said, was, _ = zip(*bins, strict=True)
        error = report.cells[report.ours][variant][suite].values["ece"]
        style = {"color": _SUITES[i % len(_SUITES)], "marker": _MARKERS[i % len(_MARKERS)]}
        axis.plot(said, was, linewidth=1.0, alpha=0.35, zorder=2, color=style["color"])
        axis.plot(said, was, linestyle="", markersize=4.8, label=f"{suite}  ECE {error:.2f}", **style)
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    axis.set_xticks([0, 0.5, 1], ["0", ".5", "1"], fontsize=8)
    axis.set_yticks([0, 0.5, 1], ["0", ".5", "1"], fontsize=8)
    axis.set_title("reliability (above the line: too modest)", fontsize=9)
    axis.set_ylabel("share right", fontsize=8)
    axis.legend(fontsize=7, loc="lower right", frameon=True, framealpha=0.8, edgecolor="none", handlelength=1.6)
    _plain(axis)


def _plain(axis: Any) -> None:
    axis.grid(True, axis="x", color=_GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=_OURS, marker="o", markersize=6, linewidth=1.4, label="hit@1, 95 % over groups"),
        Line2D([], [], color=_OURS, marker="o", markerfacecolor="white", markersize=5, linewidth=1.4, label="hit@3"),
        Line2D([], [], color=_OURS, marker="s", linestyle="", markersize=7, label="ours"),
        Line2D([], [], color=_FLOOR, marker="s", linestyle="", markersize=7, label="baselines"),
    ]
    figure.legend(handles=marks, loc="lower center", ncol=len(marks), fontsize=9, frameon=False)
