"""The console in a real Chromium over the application in this process: each flow, by keys where there are keys.

Every page is watched: an error on its console, a request to elsewhere or a refusal that the test did not expect
fails the test that opened it.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import redis
import uvicorn
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from ray.exceptions import ActorDiedError

from pipeline import settings
from pipeline.ranking.table import FEATURES
from pipeline.stores.counts import SEPARATOR
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.registry import Registry
from pipeline.stores.spend import of_reason, of_tier, today
from serve.models import ModelsDeployment
from tests.artefacts import saved_ranker
from tests.fakes import SilentMetrics
from tests.serve.conftest import App, make_app
from train import gate

pytestmark = [pytest.mark.slow, pytest.mark.redis]

WAIT_MS = 30_000  # for what the page waits for; a busy machine is slow, not wrong
START_S = 120
STEPS = ("welcome", "answer", "learnt", "completion", "help", "catalog", "override", "operate", "report", "narrow",
         "narrow predict")  # fmt: skip
# The parser takes tags out of texts and resolves their entities: what was escaped comes to the page as tags.
HOSTILE = "<b>&lt;img src=x onerror=window.hacked=1&gt;&lt;script&gt;window.hacked=1&lt;/script&gt;</b>"


class ScriptedJobs:
    """Ray's job API, played: a training that tells one step, then is done."""

    asked = 0

    def submit(self, force: bool) -> dict[str, Any]:
        return {"job_id": "raysubmit_1", "status": "pending", "started": True}

    def read(self, job_id: str) -> dict[str, Any]:
        self.asked += 1
        if self.asked == 1:
            return {"job_id": job_id, "status": "running", "progress": {"step": "fit", "done": 3, "total": 10}}
        return {"job_id": job_id, "status": "succeeded", "progress": {"status": "refused", "why": "not better"}}


class Site:
    """The application on a port of this machine."""

    def __init__(self, redis_url: str, folder: Path) -> None:
        base = settings.load("local")
        state = base.state.model_copy(update={"url": redis_url, "timeout_s": 5.0})
        quick = base.registry.model_copy(update={"poll_s": 0.1})
        patient = base.ranker.model_copy(update={"score_limit_s": 10.0})
        changed = base.model_copy(update={"state": state, "registry": quick, "ranker": patient})
        self._settings = settings.under(changed, folder)
        self.registry = Registry(self._settings.registry)
        self.models = ModelsDeployment.func_or_class(self._settings, ScriptedJobs(), SilentMetrics())
        self.app: App | None = None
        self._redis_url = redis_url
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), daemon=True)
        self._thread.start()
        until = time.monotonic() + START_S
        while self._server is None or not self._server.started:
            assert self._thread.is_alive()
            assert time.monotonic() < until
            time.sleep(0.05)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        with httpx2.Client(base_url=self.url, trust_env=False, timeout=START_S) as client:
            while any(client.get(path).status_code != 200 for path in ("/ready", "/models", "/catalogs")):
                assert time.monotonic() < until
                time.sleep(0.2)

    async def _live(self) -> None:
        async with make_app(self._redis_url, models=self.models) as app:
            self.app = app
            server = uvicorn.Server(uvicorn.Config(app.asgi, host="127.0.0.1", port=0, log_level="warning"))
            self._server = server
            await server.serve()

    def count_experiment(self) -> None:
        """Feedback on two rankers, as `stores/arms.py` keeps its counts."""
        counts = {
            "champion": {"predictions": 1203, "answered": 1000, "accepted": 300, "observed": 800, "hits": 320},
            "challenger": {"predictions": 1190, "answered": 1000, "accepted": 420, "observed": 800, "hits": 330},
        }
        flat = {f"{arm}{SEPARATOR}{what}": n for arm, counted in counts.items() for what, n in counted.items()}
        with redis.Redis.from_url(self._redis_url) as client:
            client.zadd("t:local:experiments", {"ranker 1 2": time.time()})
            client.hset("t:local:arms:ranker 1 2", mapping=flat)

    def count_costs(self, used: float) -> None:
        """What a tier cost today, a share of the day's budget, as `stores/spend.py` keeps its counts."""
        tier = {"asked": 1200, "answered": 1188, "in": 1063000, "out": 98000, "cost": int(used * 100e9)}
        flat = {of_tier("small", what): n for what, n in tier.items()} | {"spent": tier["cost"]}
        flat |= {of_reason("worth"): 1188, of_reason("not_worth"): 512}
        with redis.Redis.from_url(self._redis_url) as client:
            client.hset(f"t:local:cost:{today()}", mapping=flat)

    def forget_costs(self) -> None:
        with redis.Redis.from_url(self._redis_url) as client:
            client.delete(f"t:local:cost:{today()}")

    def close(self) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(30)
        self.models.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    server = EmbeddedRedis.throwaway()
    made = Site(server.start(), tmp_path_factory.mktemp("site"))
    yield made
    made.close()
    server.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        found = shutil.which("chromium") or shutil.which("google-chrome") or (own if own.is_file() else None)
        if found is None:
            pytest.fail("These tests need a browser: apt-get install chromium, or playwright install chromium.")
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """`visit(...)` opens the console; `refused` are the statuses that the test provokes."""
    opened, wrong = [], []

    def go(*, refused: tuple[int, ...] = (), away: bool = False, **context: Any) -> Page:
        made = chromium.new_context(viewport=context.pop("viewport", {"width": 1360, "height": 860}), **context)
        opened.append(made)
        page = made.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: said.type == "error" and not _is_status(said.text) and wrong.append(said.text))
        page.on("request", lambda asked: asked.url.startswith(site.url) or wrong.append(f"asked {asked.url}"))
        page.on(
            "response", lambda got: got.status < 400 or got.status in refused or wrong.append(f"{got.status} {got.url}")
        )
        page.goto(site.url)
        page.wait_for_selector("html[data-ready]")
        return page

    yield go
    for context in opened:
        context.close()
    assert not wrong


def _is_status(text: str) -> bool:
    """Chromium's own line about a response, which the watch of the responses judges."""
    return text.startswith("Failed to load resource")


@pytest.fixture(autouse=True)
def patience() -> None:
    expect.set_options(timeout=WAIT_MS)


def rows(page: Page) -> list[str]:
    return [row.get_attribute("data-key") or "" for row in page.locator(".suggestion").all()]


def example(page: Page, prompt: str = "") -> None:
    """The first example session, perhaps with a wish of its own; waits for its answer."""
    with page.expect_response("**/predict"):
        page.keyboard.press("t")
    if prompt:
        page.fill("#wish", prompt)
        with page.expect_response("**/predict"):
            page.keyboard.press("Enter")
        page.keyboard.press("Escape")
    expect(page.locator(".suggestion")).to_have_count(8)
    expect(page.locator("#suggestions")).not_to_have_attribute("aria-busy", "true")


def upload(page: Page, name: str, spec: bytes, kind: str = ".json") -> None:
    page.keyboard.press("u")
    page.set_input_files("#spec-file", {"name": f"{name}{kind}", "mimeType": "text/plain", "buffer": spec})
    expect(page.locator("#spec-name")).to_have_value(name)
    page.click("#upload button")


def test_the_page_allows_no_inline_script_and_nothing_from_elsewhere(site: Site) -> None:
    with httpx2.Client(base_url=site.url, trust_env=False) as client:
        page = client.get("/")
        policy = page.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?://(?!api\.example)", page.text)
        for part in re.findall(r'(?:src|href)="(console/[^"]+)"', page.text):
            answer = client.get(f"/{part}")
            assert answer.status_code == 200
            assert answer.headers["x-content-type-options"] == "nosniff"
            again = client.get(f"/{part}", headers={"if-none-match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
        assert client.get("/console/../ingress.py").status_code == 404
        assert client.get("/console/__init__.py").status_code == 404


def test_modules_never_make_markup_of_text() -> None:
    for module in (Path(__file__).parents[2] / "serve" / "console").glob("*.js"):
        text = module.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            module
        )


def test_a_wish_alone_is_a_question(visit: Callable[..., Page]) -> None:
    page = visit()
    expect(page.locator("#welcome")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("xerox/ a? refund")  # keys of the page are letters here
    expect(page.locator("#wish")).to_have_value("xerox/ a? refund")
    page.fill("#wish", "refund the duplicate charge")
    page.keyboard.press("Enter")
    expect(page.locator(".suggestion")).to_have_count(8)
    assert "POST /v1/refunds" in rows(page)[:3]
    expect(page.locator("#announce")).to_contain_text("8 suggestions. First:")
    expect(page.locator(".suggestion.open .reason")).to_be_visible()
    expect(page.locator("#pulse .stages")).to_contain_text("ground")


def test_every_group_of_features_is_called_by_words_that_people_know() -> None:
    labels = re.search(r"const GROUPS = \{(.*?)\n\};", files("serve").joinpath("console/why.js").read_text(), re.DOTALL)
    assert labels is not None
    named = {name.strip('"') for name in re.findall(r'^  ("[^"]+"|\w+):', labels[1], re.MULTILINE)}
    assert named == {feature.group for feature in FEATURES}


def test_what_a_score_is_made_of_is_drawn_and_folds_by_key(visit: Callable[..., Page]) -> None:
    page = visit()
    example(page)
    chart = page.locator(".suggestion.open .parts-of-score")
    expect(chart).to_be_visible()
    expect(chart).to_contain_text("words of the wish")
    figures = [float(text.replace("−", "-")) for text in chart.locator(".figure").all_inner_texts()]
    whole = page.locator(".suggestion.open .why .hint").inner_text().split(" ")[0]
    assert sum(figures) == pytest.approx(float(whole.replace("−", "-")), abs=0.05)
    page.keyboard.press("w")
    expect(chart).not_to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".suggestion.open .parts-of-score")).not_to_be_visible()
    page.keyboard.press("r")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    example(page)
    expect(page.locator(".suggestion.open .parts-of-score")).not_to_be_visible()  # it is remembered


def test_what_deserves_a_second_look_is_marked(visit: Callable[..., Page]) -> None:
    responses = {"200": {"description": "ok"}}
    paths = {
        "/admin/users": {"get": {"summary": "List users", "responses": responses}},
        "/users": {"delete": {"summary": "Delete users", "responses": responses}},
    }
    spec = {"openapi": "3.1.0", "info": {"title": "Marked", "version": "1"}, "paths": paths}
    page = visit()
    upload(page, "marked", json.dumps(spec).encode())
    expect(page.locator("#catalog-dialog")).not_to_be_visible()
    page.fill("#wish", "delete the users like mira@acme.example")
    page.keyboard.press("Enter")
    expect(page.locator('[data-key="GET /admin/users"] .flag')).to_have_text("admin")
    expect(page.locator('[data-key="DELETE /users"] .flag')).to_have_text("destructive")
    expect(page.locator("#notices [data-flags]")).to_contain_text("an email address")


def test_accepting_by_keys_teaches_at_once_and_goes_on(visit: Callable[..., Page]) -> None:
    page = visit()
    page.fill("#user", "keys")
    page.locator("#user").blur()
    example(page)
    calls = page.locator("#calls li").count()
    page.keyboard.press("ArrowDown")  # from the page: the second
    page.keyboard.press("ArrowDown")
    third = rows(page)[2]
    with page.expect_response("**/feedback") as told, page.expect_response("**/predict"):
        page.keyboard.press("Enter")
    assert json.loads(told.value.request.post_data)["feedback"] == "accept"
    assert json.loads(told.value.request.post_data)["user_id"] == "keys"
    expect(page.locator("#learnt")).to_contain_text(third)
    expect(page.locator("#learning")).to_contain_text("of 1;")
    moved = page.locator(".suggestion", has=page.locator(".delta.up"))
    assert third in [row.get_attribute("data-key") for row in moved.all()]
    expect(page.locator("#go-on")).to_be_focused()
    with page.expect_response("**/predict"):
        page.keyboard.press("Enter")
    expect(page.locator("#calls li")).to_have_count(calls + 1)
    expect(page.locator(".suggestion.open .head")).to_be_focused()


def test_arguments_are_edited_and_told(visit: Callable[..., Page]) -> None:
    page = visit()
    example(page)
    refund = page.locator('[data-key="POST /v1/refunds"]')
    expect(refund.locator(".flag")).to_have_text("destructive")
    refund.locator(".head").click()
    page.keyboard.press("e")
    page.keyboard.type("ch_9/9")
    refund.get_by_role("button", name="Add an argument").click()
    page.keyboard.type("note")
    page.keyboard.press("Tab")
    page.keyboard.type("twice")
    with page.expect_response("**/feedback") as told:
        page.keyboard.press("Enter")
    chosen = json.loads(told.value.request.post_data)["chosen"]
    assert chosen["endpoint"] == "POST /v1/refunds"
    assert {"charge": "ch_9/9", "note": "twice"}.items() <= chosen["params"].items()


def test_what_an_object_lacks_is_put_into_it(visit: Callable[..., Page]) -> None:
    text = {"type": "string"}
    comment = {"type": "object", "properties": {"body": text}}
    ticket = {"type": "object", "required": ["subject"], "properties": {"subject": text, "comment": comment}}
    body = {"type": "object", "required": ["ticket"], "properties": {"ticket": ticket}}
    create = {"summary": "Create a ticket", "requestBody": {"content": {"application/json": {"schema": body}}}}
    paths = {"/tickets": {"post": {**create, "responses": {"201": {"description": "Made"}}}}}
    page = visit()
    upload(
        page,
        "desk",
        json.dumps({"openapi": "3.1.0", "info": {"title": "Desk", "version": "1"}, "paths": paths}).encode(),
    )
    expect(page.locator("#catalog-dialog")).not_to_be_visible()
    page.fill("#wish", 'create a ticket with a comment saying "Help"')
    page.keyboard.press("Enter")
    created = page.locator('[data-key="POST /tickets"]')
    if not created.locator(".body").is_visible():
        created.locator(".head").click()
    created.locator('[data-name="ticket.subject"]').fill("Printer")
    whole = {"ticket": {"comment": {"body": "Help"}, "subject": "Printer"}}
    assert json.loads(created.locator('[data-name="ticket"]').input_value()) == whole["ticket"]
    with page.expect_response("**/feedback") as told:
        page.keyboard.press("Enter")
    assert json.loads(told.value.request.post_data)["chosen"]["params"] == whole


def test_another_call_is_named_with_completion(visit: Callable[..., Page]) -> None:
    page = visit()
    example(page, "something else")
    page.keyboard.press("o")
    page.keyboard.type("subscriptions cancel")
    expect(page.locator("#override-options [role=option]")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#override-call")).to_have_attribute("aria-activedescendant", "override-options-0")
    page.keyboard.press("Enter")
    field = page.locator("#override-call")
    assert field.input_value().endswith("}/cancel")
    page.keyboard.type("sub_1")  # over the hole that is selected
    expect(field).to_have_value("POST /v1/subscriptions/sub_1/cancel")
    with page.expect_response("**/feedback") as told, page.expect_response("**/predict"):
        page.keyboard.press("Enter")
    assert told.value.status == 202
    assert json.loads(told.value.request.post_data)["chosen"]["endpoint"] == "POST /v1/subscriptions/sub_1/cancel"
    expect(page.locator("#learnt")).to_contain_text("POST /v1/subscriptions/sub_1/cancel")


def test_enter_on_the_page_accepts_the_open_suggestion(visit: Callable[..., Page]) -> None:
    page = visit()
    example(page)
    first = rows(page)[0]
    with page.expect_response("**/feedback") as told:
        page.keyboard.press("Enter")
    assert json.loads(told.value.request.post_data)["chosen"]["endpoint"] == first
    expect(page.locator("#go-on")).to_be_focused()


def test_rejecting_all_is_recorded(visit: Callable[..., Page]) -> None:
    page = visit()
    example(page, "nothing of these")
    rejected = rows(page)
    with page.expect_response("**/feedback") as told, page.expect_response("**/predict"):
        page.keyboard.press("x")
    assert told.value.status == 202
    expect(page.locator("#learnt")).to_contain_text("none of these was right")
    assert not set(rejected) & set(rows(page))  # the next ones are shown
    expect(page.locator(".suggestion .rank").first).to_have_text("9")
    page.keyboard.press("r")
    expect(page.locator(".suggestion .rank").first).to_have_text("1")
    expect(page.locator("#go-on")).to_have_count(0)


def test_a_typed_call_is_completed_observed_and_removed(visit: Callable[..., Page]) -> None:
    page = visit()
    page.check("#observe")
    page.keyboard.press("a")
    page.keyboard.type("POST /v1/subscriptions/sub_1/c")
    page.keyboard.press("Tab")  # takes what fits best, with the id that was typed
    expect(page.locator("#call")).to_have_value("POST /v1/subscriptions/sub_1/cancel")
    with page.expect_response("**/events") as told, page.expect_response("**/predict"):
        page.keyboard.press("Enter")
    assert told.value.status == 202
    assert told.value.json()["recorded"] == 1
    page.fill("#call", "charges of ana")
    page.keyboard.press("Enter")
    expect(page.locator("#call-problem")).to_contain_text("METHOD /path")
    page.uncheck("#observe")
    page.fill("#call", "GET /v9/nowhere")
    page.keyboard.press("Enter")
    expect(page.locator("#calls .stranger")).to_contain_text("not in the catalog")
    page.get_by_role("button", name="Remove GET /v9/nowhere").click()
    expect(page.locator("#calls li")).to_have_count(1)


def test_another_catalog_is_chosen_and_a_session_cleared(visit: Callable[..., Page]) -> None:
    page = visit()
    example(page)
    page.select_option("#catalog", "deployments")
    expect(page.locator("#calls li")).to_have_count(0)
    expect(page.locator("#wish")).to_have_value("")
    expect(page.locator("#welcome")).to_be_visible()
    page.locator("#catalog").blur()
    with page.expect_request("**/predict") as asked:
        page.keyboard.press("t")
    assert json.loads(asked.value.post_data or "")["catalog"] == "deployments"
    expect(page.locator('.suggestion[data-key*="/services/{service}"]').first).to_be_visible()
    page.click("#clear")
    expect(page.locator("#calls li")).to_have_count(0)
    expect(page.locator(".suggestion")).to_have_count(0)
    expect(page.locator("#welcome")).to_be_visible()
    page.select_option("#catalog", "offers")  # propositions come with the service too, without sessions
    expect(page.locator("#example")).not_to_be_visible()
    page.fill("#wish", "insurance for a trip")
    page.keyboard.press("Enter")
    expect(page.locator(".suggestion").first).to_have_attribute("data-key", "travel-insurance")


def test_a_catalog_by_address_completes_what_was_met_and_is_remembered(visit: Callable[..., Page], site: Site) -> None:
    page = visit()
    page.keyboard.press("u")
    page.fill("#spec-url", f"{site.url}/openapi.json")
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#catalog-dialog")).not_to_be_visible()
    page.fill("#wish", "promote a model")
    page.keyboard.press("Enter")
    promote = "POST /models/{version}/promote"
    expect(page.locator(f'.suggestion[data-key="{promote}"]')).to_be_visible()
    page.fill("#call", "promote")
    expect(page.locator("#call-options")).to_contain_text("/models/{version}/promote")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    expect(page.locator("#catalog")).to_have_value(f"url:{site.url}/openapi.json")


def test_a_spec_is_dropped_on_the_page(visit: Callable[..., Page]) -> None:
    pets = {"openapi": "3.1.0", "info": {"title": "Pets", "version": "1"}, "paths": {"/pets": {"get": {}}}}
    page = visit()
    held = page.evaluate_handle(
        "text => { const held = new DataTransfer(); held.items.add(new File([text], 'my pets.json')); return held; }",
        json.dumps(pets),
    )
    page.dispatch_event("body", "drop", {"dataTransfer": held})
    expect(page.locator("#spec-name")).to_have_value("my-pets")
    page.click("#upload button")
    expect(page.locator("#catalog")).to_have_value("my-pets")
    expect(page.locator("#catalog option:checked")).to_have_text("Pets · 1")


def test_what_is_typed_while_a_catalog_is_read_stays(visit: Callable[..., Page]) -> None:
    pets = {"openapi": "3.1.0", "info": {"title": "Pets", "version": "1"}, "paths": {
        "/pets": {"get": {"summary": "List pets"}, "post": {"summary": "Add a pet"}}}}  # fmt: skip
    page = visit()
    asked: list[Route] = []
    page.route(
        "**/catalogs/early", lambda route: asked.append(route) if route.request.method == "GET" else route.continue_()
    )
    upload(page, "early", json.dumps(pets).encode())
    expect(page.locator("#catalog-dialog")).not_to_be_visible()
    page.fill("#wish", "add a pet")
    page.keyboard.press("Enter")
    expect(page.locator(".suggestion").first).to_be_visible()
    page.fill("#call", "pets")
    asked[0].continue_()
    expect(page.locator("#call-options [role=option]").first).to_be_visible()
    expect(page.locator("#wish")).to_have_value("add a pet")


def test_a_hostile_spec_is_text(visit: Callable[..., Page]) -> None:
    operation = {
        "operationId": HOSTILE, "summary": HOSTILE, "description": HOSTILE, "tags": [HOSTILE],
        "parameters": [{"name": HOSTILE, "in": "query", "required": True, "schema": {"type": "string"}}],
        "responses": {"200": {"description": HOSTILE}},
    }  # fmt: skip
    spec = {"openapi": "3.1.0", "info": {"title": HOSTILE, "version": "1"}, "paths": {
        "/a/{<b>}": {"get": operation}, "/<img src=x onerror=window.hacked=1>": {"post": operation}}}  # fmt: skip
    page = visit()
    upload(page, "hostile", json.dumps(spec).encode())
    expect(page.locator("#catalog-dialog")).not_to_be_visible()
    page.fill("#wish", HOSTILE)
    page.keyboard.press("Enter")
    expect(page.locator(".suggestion .summary").first).to_contain_text("<script>window.hacked=1</script>")
    page.fill("#call", "img")
    expect(page.locator("#call-options [role=option]").first).to_contain_text("onerror")
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script, header select img").count() == 0


def test_an_upload_that_is_no_spec_says_why(visit: Callable[..., Page], examples_folder: Path) -> None:
    page = visit(refused=(422,))
    upload(page, "broken", b"[1, 2, 3]")
    expect(page.locator("#catalog-problem")).to_be_visible()
    page.keyboard.press("Escape")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    upload(page, "offers", (examples_folder / "offers.json").read_bytes())
    expect(page.locator("#catalog")).to_have_value("offers")
    page.fill("#wish", "save money for my child")
    page.keyboard.press("Enter")
    expect(page.locator(".suggestion").first).to_have_attribute("data-key", "child-saver")
    with page.expect_response("**/feedback") as told:
        page.locator(".suggestion .accept").first.click()
    assert json.loads(told.value.request.post_data)["chosen"]["endpoint"] == "child-saver"


def test_models_are_promoted_rolled_back_and_trained(visit: Callable[..., Page], site: Site) -> None:
    later = gate.Condition("later data", False, "hit@1 0.48 after 0.50", 240, 0.5, 0.48, -0.031, -0.004)
    report = gate.Report("default", "made-1", False, "hit@1 −2.0 points", (later,))
    told = msgspec.to_builtins(report)
    made = site.registry.register(saved_ranker("made-1", 1.0), metrics={"hit@1": 0.5}, gate=told)
    page = visit()
    page.keyboard.press("2")
    expect(page.locator("#main")).not_to_be_visible()
    row = page.locator(f'.model[data-version="{made.version}"]')
    expect(row.locator(".gate")).to_contain_text("hit@1 −2.0 points")
    expect(row.locator(".chip.failed")).to_have_text("gate refused")
    row.get_by_role("button", name="made-1").first.click()
    expect(page.locator("#model-report .failed th")).to_contain_text("hit@1 0.48 after 0.50")
    expect(page.locator("#model-report")).to_contain_text("-0.031 to -0.004")
    page.keyboard.press("Escape")
    row.get_by_role("button", name="Promote").click()
    with page.expect_response("**/promote"):
        page.click("#confirm-yes")
    expect(row.locator(".chip.champion")).to_be_visible()
    page.click("#roll-back")
    with page.expect_response("**/models/rollback"):
        page.click("#confirm-yes")
    expect(row.locator(".chip.champion")).to_have_count(0)
    page.click("#train")
    expect(page.locator("#training progress")).to_have_attribute("aria-label", "fit")
    expect(page.locator("#training .now")).to_have_text("fit")
    expect(page.locator("#training")).to_contain_text("Training succeeded, refused: not better")


def test_a_challenger_is_named_compared_and_sent_home(visit: Callable[..., Page], site: Site) -> None:
    made = site.registry.register(saved_ranker("rival", 2.0))
    page = visit()
    page.click("#to-operate")
    expect(page.locator("#arms")).to_contain_text("No two rankers have been compared")
    row = page.locator(f'.model[data-version="{made.version}"]')
    row.get_by_role("button", name="Challenge with rival").click()
    with page.expect_response("**/challenge"):
        page.click("#confirm-yes")
    expect(row.locator(".chip.challenger")).to_be_visible()
    site.count_experiment()
    with page.expect_response("**/models/compare"):
        page.keyboard.press("2")
    expect(page.locator("#arms tbody tr")).to_have_count(2)
    accepted = page.locator('[data-measure="acceptance"]')
    expect(accepted).to_contain_text("30 % of 1000")
    expect(accepted.locator(".axis .interval")).to_have_count(2)
    expect(accepted).to_contain_text("the challenger is better")
    expect(page.locator('[data-measure="hit@1"]')).to_contain_text("undecided")
    row.get_by_role("button", name="End the challenge").click()
    with page.expect_response("**/models/challenger"):
        page.click("#confirm-yes")
    expect(row.locator(".chip.challenger")).to_have_count(0)


def test_what_language_models_cost_is_told(visit: Callable[..., Page]) -> None:
    page = visit()
    example(page)
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect(page.locator("#costs .big")).to_contain_text("the ranker costs nothing")
    expect(page.locator("#costs")).to_contain_text("of the day's $100.00")
    page.keyboard.press("1")
    expect(page.locator(".suggestion").first).to_be_visible()


def test_spend_is_told_by_tier_with_the_state_of_the_budget(visit: Callable[..., Page], site: Site) -> None:
    try:
        site.count_costs(0.41)
        page = visit()
        page.keyboard.press("2")
        expect(page.locator("#costs .big")).to_contain_text("$41.00")
        expect(page.locator("#costs tbody tr")).to_have_text("small120011881063000 + 98000$41.00")
        expect(page.locator("#costs .counts")).to_contain_text("the ranker is sure enough")
        expect(page.locator("#costs .counts dd").first).to_have_text("1188")
        expect(page.locator("#costs .budget .chip")).to_have_text("ok")
        for used, state in ((0.8, "warning"), (0.95, "saving"), (1.0, "exhausted")):
            site.count_costs(used)
            page.keyboard.press("2")
            expect(page.locator("#costs .budget .chip")).to_have_text(state)
    finally:
        site.forget_costs()


def test_a_part_that_does_not_answer_degrades_the_health(
    visit: Callable[..., Page], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent() -> None:
        raise TimeoutError

    assert site.app is not None
    monkeypatch.setattr(site.app.embedder, "state", silent)
    page = visit()
    pill = page.locator("#health")
    expect(pill).to_have_text("degraded")
    expect(page.locator(".parts li", has_text="embedder").locator(".state")).to_have_text("unavailable")
    expect(page.locator(".parts li", has_text="ranker").locator(".state")).to_have_text("ok")
    monkeypatch.undo()
    look = "document.dispatchEvent(new Event('visibilitychange'))"  # as when somebody comes back to the page
    page.evaluate(look)
    expect(pill).to_have_text("ok")
    page.route("**/health", lambda route: route.abort())
    page.evaluate(look)
    expect(pill).to_have_text("away")
    expect(page.locator("#parts")).to_have_text("The service does not answer.")


def test_parts_that_are_away_are_told(visit: Callable[..., Page], site: Site) -> None:
    assert site.app is not None
    page = visit()
    site.app.embedder.failing = ActorDiedError()
    try:
        page.fill("#wish", "a wish that was never embedded before")
        with page.expect_response("**/predict"):
            page.keyboard.press("Enter")
        expect(page.locator('#notices [data-degraded="embedding"]')).to_be_visible()
    finally:
        site.app.embedder.failing = None
    page.route("**/predict", lambda route: route.abort())
    page.locator("#wish").blur()
    page.keyboard.press("r")
    expect(page.locator("#notices .notice.bad")).to_have_text("The service does not answer.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_found_by_axe(visit: Callable[..., Page], scheme: str) -> None:
    axe = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    page = visit(color_scheme=scheme, reduced_motion="reduce")
    page.evaluate(axe)
    for step in STEPS:
        if step == "answer":
            example(page)
        elif step == "learnt":
            page.locator(".suggestion.open .accept").click()
            page.wait_for_selector("#learnt:not([hidden])")
        elif step == "completion":
            page.fill("#call", "charges")
            page.wait_for_selector("#call-options:not([hidden])")
        elif step in ("help", "catalog", "override"):
            page.keyboard.press({"help": "?", "catalog": "u", "override": "o"}[step])
            page.wait_for_selector("dialog[open]")
        elif step == "operate":
            page.keyboard.press("2")
            page.wait_for_selector(".model")
            page.wait_for_selector("#costs .big")
        elif step == "report":
            page.locator(".model .report").first.click()
            page.wait_for_selector("#model-report details")
        elif step == "narrow":
            page.set_viewport_size({"width": 360, "height": 740})
        elif step == "narrow predict":
            page.keyboard.press("1")
        found = page.evaluate("axe.run().then(found => found.violations)")
        serious = [f for f in found if f["impact"] in ("serious", "critical")]
        assert not serious, (step, json.dumps(serious, indent=1)[:3000])
        while page.locator("dialog[open]").count():
            page.keyboard.press("Escape")
            page.wait_for_timeout(100)
        page.evaluate("document.activeElement.blur()")


def test_a_narrow_screen_needs_no_sideways_scrolling(visit: Callable[..., Page]) -> None:
    page = visit(viewport={"width": 360, "height": 740})
    example(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#to-operate")
    page.wait_for_selector(".model")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Keyboard help").click()
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
