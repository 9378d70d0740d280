"""The console of a service that wants keys: it offers a field, and the key stays in the tab."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from pipeline.stores.apikeys import ApiKey
from tests.serve.test_console import WAIT_MS, chromium
from tests.serve.test_fuzz import key, url

__all__ = ["chromium", "key", "url"]  # fixtures
pytestmark = [pytest.mark.slow, pytest.mark.redis]


def test_a_key_opens_the_console_and_ends_with_the_tab(chromium: Browser, url: str, key: tuple[str, ApiKey]):
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        page.goto(url)
        page.wait_for_selector("html[data-ready]")
        page.keyboard.press("t")
        expect(page.locator("#notices")).to_contain_text("API key")
        expect(page.locator("#key")).to_have_attribute("type", "password")
        page.fill("#key", key[0])
        page.keyboard.press("Enter")
        page.wait_for_selector("html[data-ready]")
        expect(page.locator("#key")).to_have_value(key[0])
        page.locator("body").click()
        page.keyboard.press("t")
        expect(page.locator(".suggestion").first).to_be_visible()
        assert key[0] not in str(page.evaluate("Object.values(localStorage)"))
        other = context.new_page()
        other.goto(url)
        other.wait_for_selector("html[data-ready]")
        expect(other.locator("#key")).to_have_value("")
    finally:
        context.close()
