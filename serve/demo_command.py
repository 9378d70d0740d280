"""`opensesame demo`: predict, feedback, learn, another API, told step by step in the terminal.

Everything runs in this process on a throw-away Redis: no server, no network, nothing kept. Requests are written and
read as on the wire (`serve/schemas.py`); what happens between is `pipeline/local.py`'s. With `--online` two large APIs
are fetched by their address too. Registered by `serve.cli`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline import settings as configuration
from pipeline.errors import SpecError
from serve.terminal import Json, errors, print_json, ranked

HABIT = "GET /v1/charges/{charge}"  # what this team does with a dispute, and no spec says
WIDTH = 110  # of a screen that is none
LESSONS_MAX = 8  # disputes told of at most; fewer when the habit stands first before
ONLINE = (
    (
        "Stripe",
        "https://raw.githubusercontent.com/stripe/openapi/master/openapi/spec3.json",
        ["GET /v1/customers/cus_42"],
        "create an invoice for this customer",
    ),
    (
        "GitHub",
        "https://raw.githubusercontent.com/github/rest-api-description/main/descriptions/api.github.com/api.github.com.json",
        ["GET /repos/acme/shop/pulls/7", "GET /repos/acme/shop/pulls/7/files"],
        "merge it",
    ),
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(demo)


def demo(
    online: Annotated[bool, typer.Option("--online", help="Also for Stripe and GitHub, fetched by address.")] = False,
    json: Json = False,
) -> None:
    """Show in one minute what this does: predict, feedback, learn, another API; nothing is kept."""
    with errors():
        from pipeline.ranking.ranker import import_lightgbm_alone
        from pipeline.stores.embedded import EmbeddedRedis

        import_lightgbm_alone()
        screen = Console(highlight=False, quiet=json, width=None if sys.stdout.isatty() else WIDTH)
        with EmbeddedRedis.throwaway() as redis:
            told = asyncio.run(_tell(screen, redis.url, online))
        if json:
            print_json(told)


async def _tell(screen: Console, redis_url: str, online: bool) -> dict[str, Any]:
    from pipeline.local import LocalService
    from pipeline.stores.state import State

    settings = configuration.load()
    # A person watches, no client waits: a busy machine may take its time.
    patient = settings.state.model_copy(update={"timeout_s": settings.state.bulk_timeout_s})
    state = State(patient, redis_url)
    try:
        async with LocalService(settings, state) as service:
            return await _Demo(screen, settings, service).tell(online)
    finally:
        await state.close()


class _Demo:
    """The story; every step prints itself and returns what was answered."""

    def __init__(self, screen: Console, settings: configuration.Settings, service: Any) -> None:
        self._screen = screen
        self._settings = settings
        self._service = service

    async def tell(self, online: bool) -> dict[str, Any]:
        """What each step was answered, by its name."""
        told: dict[str, Any] = {"predict": await self._predict(), "learn": await self._learn()}
        told["another_api"] = await self._another_api()
        told["destructive"] = await self._destructive()
        if online:
            told["online"] = await self._online()
        self._head("Now yours")
        self._say(
            '  your API, in this terminal           opensesame predict --spec openapi.yaml --prompt "..."\n'
            "  the service, and its console         opensesame serve\n"
            "  what your users did, to learn from   opensesame import access.log --spec openapi.yaml --learn"
        )
        return told

    async def _predict(self) -> Any:
        self._head("Predict")
        self._say("Ana looks for a charge in a billing API of 35 operations, and says what she wants.")
        return await self._ask(
            user_id="ana",
            catalog="billing",
            events=[{"endpoint": "GET /v1/charges?customer=cus_77"}, {"endpoint": "GET /v1/charges/ch_123"}],
            prompt="refund the duplicate charge",
            k=3,
        )

    async def _learn(self) -> dict[str, Any]:
        self._head("Feedback, and what it learns from it")
        self._say(
            "Ana's team has a habit that no spec tells: whoever opens a dispute looks at its charge first.\n"
            "She says nothing, so her calls are all there is to go by:"
        )
        before = await self._ask(**_dispute("ana", 31))
        lessons: list[dict[str, Any]] = []
        answer, after = before, before
        progress = Table("told", "by", "the call made instead", "its rank for the next user", "confidence")
        while len(lessons) < LESSONS_MAX and _rank(after) != 1:
            number = len(lessons) + 1
            user = ("ana", "ben", "cleo")[len(lessons) % 3]
            answer = await self._service.predict(self._query(**_dispute(user, 31 + number)))
            charge = f"GET /v1/charges/ch_{402 + number}"
            await self._feedback(answer.prediction_id, user, charge)
            after = await self._answer(**_dispute("dora", 90))
            lessons.append({"user_id": user, "chosen": charge, "rank": _rank(after), "confidence": _confidence(after)})
            last = lessons[-1]
            progress.add_row(str(number), user, charge, str(last["rank"]), f"{last['confidence']:.2f}")
        self._say("\nWhoever takes another call than the first one, says so (POST /feedback):")
        self._screen.print(progress)
        self._say("\nDora, who never told anything, opens a dispute:")
        self._show(after)
        self._say("No model was trained for that: the counts of what followed what have moved the ranker's order.")
        return {"before": before, "lessons": lessons, "after": after}

    async def _another_api(self) -> Any:
        self._head("Another API")
        self._say("It has seen no call of this one: 33 operations of a deployment platform, read a moment ago.")
        return await self._ask(
            user_id="ana",
            catalog="deployments",
            events=[{"endpoint": "GET /api/v1/services"}, {"endpoint": "GET /api/v1/services/checkout"}],
            prompt="which builds have failed?",
            k=3,
        )

    async def _destructive(self) -> dict[str, Any]:
        self._head("What cannot be undone is not suggested unasked")
        playlist: dict[str, Any] = {
            "user_id": "ana",
            "catalog": "media-player",
            "events": [{"endpoint": "GET /v2/playlists"}, {"endpoint": "GET /v2/playlists/pl_2019"}],
            "k": 3,
        }
        unasked = await self._ask(**playlist)
        self._say("\nAsked for, it is:")
        return {"unasked": unasked, "asked": await self._ask(**playlist, prompt="delete this playlist")}

    async def _online(self) -> list[dict[str, Any]]:
        self._head("APIs of the world, by the address of their spec")
        told: list[dict[str, Any]] = []
        for name, url, calls, prompt in ONLINE:
            self._say(f"{name}: {url}")
            body = {"spec_url": url, "events": [{"endpoint": call} for call in calls], "prompt": prompt, "k": 3}
            began = time.monotonic()
            try:
                answer = await self._ask(**body)
            except SpecError as error:
                self._say(
                    f"[yellow]Left out: this machine is offline, or the address has moved.[/] {escape(error.detail)}"
                )
                told.append({"name": name, "offline": error.detail})
                continue
            operations = answer["metadata"]["operations"]
            self._say(f"{operations} operations, fetched, read and answered in {time.monotonic() - began:.1f} s.")
            told.append({"name": name, "answer": answer})
        return told

    async def _ask(self, **body: Any) -> Any:
        for event in body["events"]:
            self._say(f"  [bold]{escape(event['endpoint'])}[/]")
        if "prompt" in body:
            self._say(f'  [italic]"{escape(body["prompt"])}"[/]')
        answer = await self._answer(**body)
        self._show(answer)
        return answer

    async def _answer(self, **body: Any) -> Any:
        from serve import schemas

        return schemas.answer_json(await self._service.predict(self._query(**body)))

    def _query(self, **body: Any) -> Any:
        from serve import schemas

        return schemas.to_query(schemas.read_value(body, schemas.PredictRequest), self._settings, tenant="local")

    async def _feedback(self, prediction_id: str, user: str, endpoint: str) -> None:
        from serve import schemas

        body = {
            "prediction_id": prediction_id,
            "user_id": user,
            "feedback": "override",
            "chosen": {"endpoint": endpoint},
        }
        request = schemas.read_value(body, schemas.FeedbackRequest)
        await self._service.record(schemas.to_feedback(request, tenant="local"))

    def _show(self, answer: Any) -> None:
        self._screen.print(Padding(ranked(answer), (0, 0, 0, 2)))

    def _say(self, text: str) -> None:
        self._screen.print(text)

    def _head(self, text: str) -> None:
        self._screen.print()
        self._screen.rule(Text(text, style="bold"), align="left")


def _dispute(user: str, number: int) -> dict[str, Any]:
    """The session of somebody who opens a dispute; its answer names the charge."""
    body = {"id": f"dp_{number}", "charge": f"ch_{371 + number}", "reason": "duplicate", "status": "needs_response"}
    return {
        "user_id": user,
        "catalog": "billing",
        "events": [
            {"endpoint": "GET /v1/disputes?status=needs_response"},
            {"endpoint": f"GET /v1/disputes/dp_{number}", "response": {"status": 200, "body": body}},
        ],
        "k": 4,
    }


def _rank(answer: Any) -> int | None:
    return next((p["rank"] for p in answer["predictions"] if p["endpoint"] == HABIT), None)


def _confidence(answer: Any) -> float:
    return next((float(p["confidence"]) for p in answer["predictions"] if p["endpoint"] == HABIT), 0.0)
