"""Takes the pictures in this folder: `python docs/images/take.py SERVICE DASHBOARD TOKEN`, as `make serve` prints them.

From a service just started, so that what was learnt before does not show: the console, and Ray's dashboard with the
deployments and with a training, which is started for it. Needs a Chromium and Playwright.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import httpx2
from PIL import Image
from playwright.sync_api import Page, sync_playwright

_FOLDER = Path(__file__).parent
_WAIT_MS = 60_000
_TRAINING_MS = 300_000
_TOLD = 160  # predictions accepted before a training
_LESSONS, _HABIT = 4, "GET /v1/refunds"  # accepted so often, where the ranker expects another call
# Paths of this machine, as seen from its folder.
_WITHOUT = """folder => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(folder, "");
}"""


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
            ("narrow", "light", (390, 844)),
            ("dark", "dark", (1360, 900)),
        ):
            page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
            page.set_default_timeout(_WAIT_MS)
            ask(page, url)
            if name == "dark":
                page.fill("#user", name)
                page.locator("#user").blur()
                page.keyboard.press("r")
                page.wait_for_timeout(500)
                for _ in range(_LESSONS):
                    page.locator(f'[data-key="{_HABIT}"] .head').click()
                    page.keyboard.press("Enter")
                    page.wait_for_selector("#go-on")
                    page.wait_for_timeout(800)  # the rows have glided to their places
            if name == "narrow":
                page.evaluate("document.querySelector('.answers').scrollIntoView()")
            shot(page, f"console-{name}")
            if name == "dark":
                operate(page)
        browser.close()


def operate(page: Page) -> None:
    """The operator's half, after a training of what was just told."""
    for i in range(_TOLD):
        user = {"user_id": f"user-{i}"}
        question = {"catalog": "billing", "prompt": "refund it", "events": [{"endpoint": f"GET /v1/charges/ch_{i}"}]}
        page.request.post(f"{page.url}predict", data=user | question)
        page.request.post(f"{page.url}feedback", data=user | {"feedback": "accept"})
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1360, "height": 560})
    page.click("#to-operate")
    page.check("#train-force")
    page.click("#train")
    page.get_by_text("Training succeeded").wait_for(timeout=_TRAINING_MS)
    page.wait_for_timeout(1000)
    shot(page, "console-operate")


def dashboard(url: str, ray: str, token: str) -> None:
    """Ray's dashboard: the deployments with their replicas; a training on what the console was told."""
    job = httpx2.post(f"{url}/train", json={"force": True}, trust_env=False).raise_for_status().json()["job_id"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        context = browser.new_context(viewport={"width": 1360, "height": 880})
        context.add_cookies([{"name": "ray-authentication-token", "value": token, "url": ray}])
        page = context.new_page()
        page.set_default_timeout(_WAIT_MS)
        page.goto(f"{ray}/#/serve")
        page.get_by_text("Ingress").first.wait_for()
        page.wait_for_timeout(3000)
        shot(page, "ray-serve")
        page.goto(f"{ray}/#/jobs")
        page.get_by_text(job).first.wait_for()
        page.wait_for_timeout(3000)
        page.set_viewport_size({"width": 1360, "height": 640})
        page.evaluate(_WITHOUT, f"{Path(sys.prefix).parent}/")
        shot(page, "ray-jobs")
        browser.close()


def shot(page: Page, name: str) -> None:
    path = _FOLDER / f"{name}.png"
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)  # a third of the size


if __name__ == "__main__":
    main(sys.argv[1])
    if len(sys.argv) > 3:
        dashboard(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_text().strip())
