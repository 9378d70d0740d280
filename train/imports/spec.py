"""The spec that recorded traffic is held against: a file, a URL or a packaged example, as `--spec` names it."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from pipeline.catalog.fetch import Fetcher
from pipeline.errors import BadRequest
from pipeline.settings import Settings, packaged_spec


def read(spec: str, settings: Settings) -> tuple[bytes, str]:
    """The document and its name, as a corpus has it: `host/file` of a URL, else the file's.

    Raises:
        BadRequest: it is none of the three, or cannot be read.
        SpecUnavailable: the URL cannot be fetched.
    """
    if spec.startswith(("http://", "https://")):
        parts = urlsplit(spec)
        return asyncio.run(_fetch(spec, settings)), f"{parts.hostname}/{PurePosixPath(parts.path).name or 'openapi'}"
    found = Path(spec) if Path(spec).is_file() else packaged_spec(spec)
    if found is None:
        raise BadRequest(f"There is no spec '{spec}': name an OpenAPI file, its URL or a packaged example.")
    try:
        return found.read_bytes(), found.name
    except OSError as error:
        raise BadRequest(f"{found} cannot be read: {error.strerror or error}.") from None


async def _fetch(url: str, settings: Settings) -> bytes:
    fetcher = Fetcher(settings.fetch)
    try:
        return (await fetcher.fetch(url)).data
    finally:
        await fetcher.close()
