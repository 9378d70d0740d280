"""What must not serve is refused, with a word for counting."""

from __future__ import annotations

import hashlib
import json

import pytest

from pipeline.errors import RankerArtifactError
from pipeline.ranking.admission import admit
from pipeline.ranking.ranker import packaged_path
from pipeline.ranking.table import FINGERPRINT
from tests.artefacts import saved_ranker

TEXT = saved_ranker("made-1")


def ask(text: str, limit_s: float = 10.0, fingerprint: str = FINGERPRINT, sha256: str = ""):
    sha256 = sha256 or hashlib.sha256(text.encode()).hexdigest()
    return admit(text, version="7", sha256=sha256, fingerprint=fingerprint, score_limit_s=limit_s)


def test_a_good_one_answers_under_the_version_it_was_given() -> None:
    assert ask(TEXT).version == "7"
    assert ask(packaged_path().read_text(encoding="utf-8")).version == "7"


def _shaken() -> str:
    saved = json.loads(TEXT)
    saved["heads"]["prompt_only"]["weights"][0] += 0.01
    return json.dumps(saved)


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        (TEXT, {"sha256": "0" * 64}, "hash"),
        (TEXT[:-20], {"sha256": hashlib.sha256(TEXT.encode()).hexdigest()}, "hash"),
        (TEXT, {"fingerprint": "0" * 16}, "fingerprint"),
        (TEXT[:-20], {}, "artefact"),
        ("", {}, "artefact"),
        ("\ud800", {"sha256": "0"}, "hash"),
        (_shaken(), {}, "artefact"),
        (TEXT, {"limit_s": 1e-9}, "slow"),
    ],
)
def test_what_must_not_serve_is_refused(text: str, options: dict, reason: str) -> None:
    with pytest.raises(RankerArtifactError) as refused:
        ask(text, **options)
    assert refused.value.reason == reason
