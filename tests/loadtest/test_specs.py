"""The count of operations that is held against the parser's."""

from __future__ import annotations

import json
import sys

from loadtest import specs


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["specs", *arguments])
    return specs.main()


def test_packaged_examples_parse_with_equal_counts(monkeypatch, tmp_path, examples_folder, capsys):
    for name in ("billing.yaml", "issue-tracker.json"):
        (tmp_path / name).write_bytes((examples_folder / name).read_bytes())
    assert run(monkeypatch, str(tmp_path)) == 0
    assert "2 documents" in capsys.readouterr().out


def test_what_cannot_be_read_fails_the_run(monkeypatch, tmp_path, capsys):
    (tmp_path / "good.json").write_text(json.dumps({"openapi": "3.0.0", "paths": {"/a": {"get": {}}}}))
    (tmp_path / "bad.json").write_text("{")
    assert run(monkeypatch, str(tmp_path), "--sample", "2") == 1
    assert "FAIL bad.json: spec_invalid" in capsys.readouterr().out


def test_count_follows_references_and_skips_extensions():
    item = {"get": {}, "post": {}, "parameters": []}
    document = {"paths": {"/a": item, "/b": {"$ref": "#/paths/~1a", "put": {}}, "x-c": item, "/d": None}}
    assert specs.count(json.dumps(document).encode(), ".json") == 5
