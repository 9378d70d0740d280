"""Booleans in a prompt: said by all of their words, denied by the words before them."""

from __future__ import annotations

import pytest

from pipeline.candidates import flags, names
from tests.pipeline.candidates.test_arguments import after, body, operation

TAKEN = frozenset(("update", "a", "label", "squash"))


@pytest.mark.parametrize(
    ("prompt", "raw", "expected"),
    [
        ("merge it and remove the source branch", "remove_source_branch", True),
        ("a branch as the source, and remove it", "remove_source_branch", None),
        ("keep it, cancel at period end", "cancel_at_period_end", True),
        ("without ssl verification", "enable_ssl_verification", False),
        ("and don't prorate", "prorate", False),
        ("a confidential one", "confidential", True),
        ("a confidentiality clause", "confidential", None),
        ("squash the label", "squash", None),
        ("with squash", "squash", True),
        ("where are my backups", "backups", None),
        ("with backups, no ipv6", "backups", True),
        ("with backups, no ipv6", "ipv6", False),
        ("ask the total with and without the waiver", "waiver", None),
        ("autoscale it", "auto_scale", True),
        ("turn the policy 78b3-1 off", "enabled", False),
        ("enable it", "enabled", True),
        ("turn it off and on", "enabled", None),
        ("the enabled ones", "enabled", None),
        ("the default branch", "default", None),
        ("turn comments off", "comments_enabled", False),
        ("turn voicemail off", "voicemail", False),
        ("enable comments on it", "comments_enabled", True),
        ("comments are disabled", "comments_enabled", False),
        ("the comments of it", "comments_enabled", None),
        ("do it silently", "silent", True),
        ("do it quietly", "notify_subscribers", False),
        ("without notifying anyone", "notify_consignee", False),
        ("don't notify the sender", "notify_consignee", None),
    ],
)
def test_a_flag_is_said_by_its_own_words(prompt: str, raw: str, expected: bool | None) -> None:
    assert flags.said(prompt, names.split(raw), TAKEN) is expected


def test_a_flag_that_nobody_speaks_of_is_left_out() -> None:
    merge = operation("PUT", "/merge", body("squash", "boolean", required=False), body("inclusive", "boolean"))
    assert after(prompt="with squash").bind(merge).params == {"squash": True}
    assert after(prompt="not inclusive").bind(merge).params == {"inclusive": False}
    assert after().bind(merge).params == {}
    title = operation("PUT", "/repo", body("use_title_as_default", "boolean", required=False))
    assert after(prompt="edit it with default branch").bind(title).params == {}
