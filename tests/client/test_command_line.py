"""Commands that ask a running service."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from serve.cli import app
from tests.conftest import NOTES

run = CliRunner().invoke


def test_predict_and_feedback_through_a_service(url: str) -> None:
    asked = ["predict", "--prompt", "list the customers", "--user", "cli", "--url", url]
    answer = json.loads(run(app, [*asked, "--json"]).stdout)
    assert answer["predictions"][0]["endpoint"] in run(app, asked).stdout
    said = ["feedback", "reject", "--prediction", answer["prediction_id"], "--url", url]
    assert json.loads(run(app, [*said, "--json"]).stdout)["status"] == "recorded"
    assert "duplicate: reject" in run(app, said).stdout
    refused = run(app, ["feedback", "accept", "--prediction", answer["prediction_id"], "--url", url])
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: 409: Something else was said")


def test_catalogs_are_put_listed_shown_and_removed(url: str, tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text(NOTES)
    put = run(app, ["catalogs", "notes-cli", "--put", str(tmp_path / "notes.yaml"), "--url", url])
    assert "5 operations" in put.stdout
    assert "notes-cli" in run(app, ["catalogs", "--url", url]).stdout
    assert "GET /notes/search  Search notes" in run(app, ["catalogs", "notes-cli", "--url", url]).stdout
    assert run(app, ["catalogs", "notes-cli", "--remove", "--url", url]).exit_code == 0
    gone = run(app, ["catalogs", "notes-cli", "--url", url])
    assert (gone.exit_code, "404: " in gone.stderr) == (1, True)
