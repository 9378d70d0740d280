"""Takes the pictures of the console in this folder: `python docs/images/take.py http://127.0.0.1:8000`.

From a service just started, so that what was learnt before does not show. Needs a Chromium and Playwright.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

_FOLDER = Path(__file__).parent
_WAIT_MS = 60_000


def ask(page: Page, url: str) -> None:
    """The first example session; asked again once its catalog has vectors."""
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    page.keyboard.press("t")
    page.wait_for_selector(".suggestion")
    page.wait_for_timeout(2000)
    for _ in range(6):
        with page.expect_response("**/predict"):
            page.keyboard.press("r")
    page.wait_for_timeout(500)


def main(url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for name, scheme, size in (
            ("light", "light", (1360, 900)),
            ("dark", "dark", (1360, 900)),
            ("narrow", "light", (390, 844)),
        ):
            page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
            page.set_default_timeout(_WAIT_MS)
            ask(page, url)
            if name != "light":
                page.fill("#user", name)
                page.locator("#user").blur()
                page.keyboard.press("r")
                page.wait_for_timeout(500)
                page.keyboard.press("ArrowDown")
                page.keyboard.press("ArrowDown")
                page.keyboard.press("Enter")
                page.wait_for_selector("#learnt:not([hidden])")
                page.wait_for_timeout(800)  # the rows have glided to their places
            if name == "narrow":
                page.evaluate("document.querySelector('.answers').scrollIntoView()")
            path = _FOLDER / f"console-{name}.png"
            page.screenshot(path=path)
            Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)  # a third of the size
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
