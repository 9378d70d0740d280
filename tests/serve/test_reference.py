"""The page /docs: its files are the service's own, and it shows every route without asking anybody else."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import Any

import pytest
import uvicorn

from serve.identity import ACCESS
from tests.serve.conftest import App


async def test_the_page_and_its_files_come_from_the_service(app: App) -> None:
    page = await app.client.get("/docs")
    assert page.status_code == 200
    found = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert "docs/swagger-ui-bundle.js" in found
    for path in found:
        answer = await app.client.get(f"/{path}")
        assert (answer.status_code, len(answer.content) > 50) == (200, True), path
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "http" not in policy
    same = await app.client.get("/docs", headers={"If-None-Match": page.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


async def test_there_is_no_second_page(app: App) -> None:
    assert (await app.client.get("/redoc")).json()["slug"] == "not_found"


@pytest.mark.slow
async def test_a_browser_shows_every_route_and_tries_one(app: App) -> None:
    server = uvicorn.Server(uvicorn.Config(app.asgi, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.05)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        shown, tried, wrong = await asyncio.to_thread(browse, url)
    finally:
        server.should_exit = True
        await serving
    assert not wrong
    assert shown == len(ACCESS)
    assert '"name": "billing"' in tried


def browse(url: str) -> tuple[int, str, list[Any]]:
    """How many routes the page shows, what one answered there, and what was asked of others or complained of."""
    from playwright.sync_api import sync_playwright

    wrong: list[Any] = []
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=found)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        page.on("request", lambda asked: asked.url.startswith((url, "data:")) or wrong.append(asked.url))
        page.goto(f"{url}/docs")
        page.wait_for_selector(".opblock")
        shown = page.locator(".opblock").count()
        operation = page.locator("#operations-catalogs-get_catalog")
        operation.locator(".opblock-summary-control").click()
        operation.get_by_role("button", name="Try it out").click()
        operation.locator('tr[data-param-name="name"] input').fill("billing")
        operation.get_by_role("button", name="Execute").click()
        operation.locator(".live-responses-table .response-col_status").last.wait_for()
        tried = operation.locator(".live-responses-table").inner_text()
        browser.close()
    return shown, tried, wrong
