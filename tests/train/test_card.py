"""The card of the packaged ranker says what `train/card.py` writes of every ranker that comes with the package."""

from __future__ import annotations

from pipeline.ranking.ranker import packaged_path
from train.card import ABOUT


def test_the_packaged_card_says_what_it_is_for_where_it_ends_and_under_which_licence() -> None:
    card = packaged_path().with_suffix(".md").read_text()
    assert [about.split(".**")[0] for about in ABOUT] == ["**Intended use", "**Limits", "**Licence"]
    assert "\n\n".join(ABOUT) in card
