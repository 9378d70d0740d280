"""The SQLite file of an embedded MLflow, made ready before MLflow opens it; used by `registry.py`."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def settle(path: Path, experiment: str, artifacts: str) -> None:
    """Prepare an embedded database: reader and writer do not wait for each other; a moved folder is found again."""
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as database, database:
        database.execute("PRAGMA journal_mode=WAL")
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name='model_versions'").fetchone():
            return  # a new one: MLflow makes the tables
        found = database.execute("SELECT artifact_location FROM experiments WHERE name=?", (experiment,)).fetchone()
        if found is None or found[0] == artifacts:
            return
        # MLflow keeps where artefacts lie as absolute addresses.
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("model_versions", "source"),
            ("model_versions", "storage_location"),
        ):
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                (artifacts, len(found[0]) + 1, len(found[0]), found[0]),
            )
