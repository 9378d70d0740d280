from __future__ import annotations

from pipeline.catalog.terms import prompt_terms


def test_prompts_of_the_same_words_have_the_same_terms():
    assert prompt_terms("Refund the duplicate charges!") == prompt_terms("duplicate charge: please refund")
    assert len(prompt_terms("Refund the duplicate charges")) == 3
    assert prompt_terms("") == prompt_terms("the of a") == ()


def test_terms_are_sorted_different_and_few():
    terms = prompt_terms(" ".join(f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(100)))
    assert list(terms) == sorted(set(terms))
    assert len(terms) == 32
