"""Deployment `Ingress`: the routes of the service. No domain rule.

It holds what cannot crash: no spec is parsed and no model runs here. JSON bodies are read with a
limit, parsed by `serve.schemas` and answered by the stories of `pipeline`; errors become problem
documents in `serve.envelope`. `build_app` needs no Ray: tests give it stages of their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Protocol

import fastapi
import msgspec
from fastapi.exceptions import RequestValidationError
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp

from pipeline import errors, guardrails
from pipeline.errors import OpenSesameError
from pipeline.feedback import expose, observe, record
from pipeline.predict import Stages, predict, source_key
from pipeline.settings import Settings
from pipeline.stores.apikeys import KeyFile
from pipeline.stores.state import State
from pipeline.types import Impression, Source
from serve import console, documents, logs, outcomes, reference, schemas, tracing
from serve.compare import Comparison
from serve.costs import Costs
from serve.envelope import Envelope, fault, problem, problem_document, tell
from serve.identity import Door, Handler, Judge, Keys, tenant_of
from serve.metrics import Metrics
from serve.openapi import document
from serve.operator import Operator
from serve.quality import count_answers, count_known
from serve.remote import RemoteStages, budget
from serve.scrape import scrape
from serve.suggest import Suggestions
from serve.tokens import Tokens

_NAME_MAX = 64


class Backend(Stages, Protocol):
    """The stages, and the catalogs' other calls."""

    async def catalogs(self, method: str, *arguments: Any, key: str, timeout_s: float | None = None) -> Any: ...

    async def models(self, method: str, *arguments: Any) -> Any: ...

    async def states(self) -> dict[str, dict[str, Any]]: ...


class Service:
    """The handlers of one replica."""

    def __init__(self, settings: Settings, backend: Backend, state: State, metrics: Metrics, door: Door) -> None:
        self._settings = settings
        self._backend = backend
        self._state = state
        self._metrics = metrics
        self._door = door
        metrics.begin("opensesame_degraded", "opensesame_feedback", "opensesame_guardrail", "opensesame_suspicious")
        metrics.begin("opensesame_answers", "opensesame_told_confidence", "opensesame_predictions")

    async def predict(self, request: Request) -> Response:
        """The k most likely next calls, given a catalog, past calls and perhaps a sentence of intent."""
        body = schemas.read_json(await self._json(request), schemas.PredictRequest)
        query = schemas.to_query(body, self._settings, tenant=tenant_of(request), header_user=self._user(request))
        query = msgspec.structs.replace(query, user=await self._door.enter(request, query.user))
        with budget(self._settings.predict.budget_s):
            answer = await predict(query, self._backend, self._state, self._settings)
        tell(request, answer)
        count_known(self._metrics, query, answer)
        for stage, seconds in answer.timings_s.items():
            self._metrics.observe("opensesame_predict_ms", seconds * 1000, stage=stage)
        self._metrics.observe("opensesame_shortlist_size", len(answer.grounded.candidates))
        for part in answer.degraded:
            self._metrics.count("opensesame_degraded", part=part)
        for kind in answer.flags:
            self._metrics.count("opensesame_guardrail", kind=kind, action="passed")
        for prediction in answer.predictions:
            for kind in guardrails.suspicions(prediction.candidate):
                self._metrics.count("opensesame_suspicious", kind=kind)
        timing = ", ".join(f"{name};dur={value * 1000:.2f}" for name, value in answer.timings_s.items())
        return _json_response(schemas.answer_json(answer), headers={"Server-Timing": timing})

    async def feedback(self, request: Request) -> Response:
        """Record what the user did with a prediction; answers once that is durable."""
        body = schemas.read_json(await self._json(request), schemas.FeedbackRequest)
        feedback = schemas.to_feedback(
            body,
            tenant=tenant_of(request),
            header_user=self._user(request),
            idempotency_key=request.headers.get("idempotency-key", ""),
        )
        feedback = msgspec.structs.replace(feedback, user=await self._door.enter(request, feedback.user))

        async def match(impression: Impression, method: str, path: str) -> str | None:
            digest = impression.digest
            return await self._backend.catalogs("match", impression.tenant, digest, method, path, key=digest)

        receipt = await record(feedback, self._state, match)
        if receipt.status == "recorded":
            self._metrics.count("opensesame_feedback", outcome=feedback.outcome)
            count_answers(self._metrics, [receipt.group])
        told: documents.FeedbackResponse = {"prediction_id": receipt.prediction_id, "status": receipt.status}
        return _json_response(told, 202)

    async def events(self, request: Request) -> Response:
        """Report calls a user has made: the next one is the best answer to the predictions before it."""
        body = schemas.read_json(await self._json(request), outcomes.EventsRequest)
        reported = outcomes.read_events(
            body, self._settings, self._user(request), request.headers.get("idempotency-key", "")
        )
        user, tenant = await self._door.enter(request, reported.user), tenant_of(request)
        lineage, operations = await self._backend.catalogs(
            "identify", tenant, reported.source, reported.calls, key=source_key(reported.source)
        )
        kept = await observe(
            tenant,
            user,
            lineage,
            reported.observations(operations),
            self._state.observed,
            self._state.join_window_s,
        )
        self._metrics.count("opensesame_feedback", len(kept.closed), outcome="observed")
        count_answers(self._metrics, kept.groups)
        unmatched = [i for i, operation in enumerate(operations) if not operation]
        told: documents.EventsResponse = {
            "recorded": kept.recorded,
            "duplicates": kept.duplicates,
            "unmatched": unmatched,
            "closed": list(kept.closed),
        }
        return _json_response(told, 202)

    async def log_event(self, request: Request) -> Response:
        """Report an impression of a suggested proposition, a click on it, or its conversion."""
        body = schemas.read_json(await self._json(request), outcomes.LogEventRequest)
        exposure = outcomes.read_exposure(
            body, tenant_of(request), self._user(request), request.headers.get("idempotency-key", "")
        )
        exposure = msgspec.structs.replace(exposure, user=await self._door.enter(request, exposure.user))
        receipt = await expose(exposure, self._state.observed, self._state.join_window_s)
        if receipt.status == "recorded":
            self._metrics.count("opensesame_feedback", outcome=exposure.event)
        told: documents.LogEventResponse = {"suggestion_id": receipt.prediction_id, "status": receipt.status}
        return _json_response(told, 202)

    async def put_catalog(self, request: Request) -> Response:
        """Upload a spec under a name: OpenAPI 2.0, 3.0 or 3.1, JSON or YAML; or a list of propositions."""
        kind = _content_type(request)
        if kind.startswith(("multipart/", "image/", "video/", "audio/")):
            raise errors.UnsupportedMedia(f"Send the document itself as JSON or YAML, not {kind}.")
        name = _name(request)
        data = await _body(request, self._settings.server.upload_limit_bytes)
        summary = await self._backend.catalogs(
            "upload", tenant_of(request), name, data, key=name, timeout_s=self._settings.parse.time_s + 5
        )
        return _json_response(summary)

    async def list_catalogs(self, request: Request) -> Response:
        """The catalogs that can be named: the uploaded ones, and those that come with the service."""
        return _json_response(await self._backend.catalogs("names", tenant_of(request), key=""))

    async def get_catalog(self, request: Request) -> Response:
        """A catalog: its operations and what of its spec could not be read."""
        source = Source(name=_name(request))
        described = await self._backend.catalogs("describe", tenant_of(request), source, key=source_key(source))
        return _json_response(described)

    async def delete_catalog(self, request: Request) -> Response:
        """Remove an uploaded catalog."""
        name = _name(request)
        await self._backend.catalogs("remove", tenant_of(request), name, key=name)
        return Response(status_code=204)

    async def health(self, request: Request) -> Response:
        """Alive, and what each component says of itself (to who is known: in full); 200 also when some are away."""
        components = await self._components()
        if await self._door.recognise(request) is None:
            components = {name: {"status": part["status"]} for name, part in components.items()}
        ok = all(part["status"] in ("ok", "starting") for part in components.values())
        return _json_response({"status": "ok" if ok else "degraded", "components": components})

    async def ready(self, request: Request) -> Response:
        """May have traffic: catalogs can be grounded and candidates ranked."""
        components = await self._components()
        away = [name for name in ("catalogs", "ranker") if components[name]["status"] != "ok"]
        if away:
            raise errors.Unavailable(f"Not ready: {' and '.join(away)} did not answer.", 1.0)
        return _json_response({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        """The metrics of every node, in Prometheus text."""
        return Response(await scrape(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _components(self) -> dict[str, dict[str, Any]]:
        components = await self._backend.states()
        try:
            await self._state.ping()
            components["state"] = {"status": "ok"}
        except errors.StateUnavailable:
            components["state"] = {"status": "unavailable"}
        return components

    async def _json(self, request: Request) -> bytes:
        kind = _content_type(request)
        if kind != "application/json":
            raise errors.UnsupportedMedia(f"Send the body as application/json, not {kind or 'without a type'}.")
        return await _body(request, self._settings.server.body_limit_bytes)

    def _user(self, request: Request) -> str:
        user = request.headers.get("x-user-id", "")
        if len(user) > self._settings.predict.user_max:
            raise errors.BadRequest(f"X-User-ID is longer than {self._settings.predict.user_max} characters.")
        return user


def build_app(settings: Settings, backend: Backend, state: State, metrics: Metrics) -> ASGIApp:
    """The HTTP application: every route at `/` and, the same, under `/v1`.

    Raises:
        SettingsError: the settings say who may ask, but not what that takes.
    """
    door = Door(settings, _judge(settings, state), state.limiter(settings.limits))
    service = Service(settings, backend, state, metrics, door)
    operator = Operator(backend, service._json)
    suggestions = Suggestions(settings, backend, state, metrics, service._json, service._user, door.enter)
    comparison = Comparison(settings.experiments, state.arms)
    costs = Costs(settings.router, state.spend)

    @contextlib.asynccontextmanager
    async def lifespan(_: fastapi.FastAPI) -> AsyncIterator[None]:
        # Opens the ways to the other deployments and to Redis before the first request. What goes wrong with it is for
        # that request to meet: it must not keep the replica from starting.
        with contextlib.suppress(Exception):
            await service._components()
        yield

    app = fastapi.FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None)
    handlers: dict[tuple[str, str], Handler] = {}
    for path, method, handler in (
        ("/predict", "POST", service.predict),
        ("/suggest", "POST", suggestions.suggest),
        ("/feedback", "POST", service.feedback),
        ("/events", "POST", service.events),
        ("/log_event", "POST", service.log_event),
        ("/catalogs", "GET", service.list_catalogs),
        ("/catalogs/{name}", "PUT", service.put_catalog),
        ("/catalogs/{name}", "GET", service.get_catalog),
        ("/catalogs/{name}", "DELETE", service.delete_catalog),
        ("/models", "GET", operator.list_models),
        ("/models/compare", "GET", comparison.compare_models),
        ("/models/rollback", "POST", operator.roll_back_model),
        ("/models/{version}", "GET", operator.show_model),
        ("/models/{version}/promote", "POST", operator.promote_model),
        ("/models/{version}/challenge", "POST", operator.challenge_model),
        ("/models/challenger", "DELETE", operator.end_challenge),
        ("/train", "POST", operator.train),
        ("/train/{job_id}", "GET", operator.training),
        ("/cost-analytics", "GET", costs.cost_analytics),
        ("/health", "GET", service.health),
        ("/ready", "GET", service.ready),
        ("/metrics", "GET", service.metrics),
    ):
        handlers[method, path] = handler
        guarded = door.guard(method, path, handler)
        app.add_api_route(path, guarded, methods=[method], response_model=None)
        app.add_api_route(f"/v1{path}", guarded, methods=[method], response_model=None)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, OpenSesameError)
        metrics.count("opensesame_errors", slug=error.slug)
        if isinstance(error, errors.GuardrailRefused):
            for kind in error.kinds:
                metrics.count("opensesame_guardrail", kind=kind, action="refused")
        return problem(error, request.state.request_id)

    async def no_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        slug = "method_not_allowed" if error.status_code == 405 else "not_found"
        detail = f"{request.method} {request.url.path} is no route of this service: see /docs."
        response = problem_document(error.status_code, slug, detail, request.state.request_id)
        response.headers.update(error.headers or {})
        if error.status_code == 405:  # Starlette names the methods of the first route of that path only
            routes = (route for route in app.router.routes if route.matches(request.scope)[0] is not Match.NONE)
            methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
            response.headers["allow"] = ", ".join(sorted(methods))
        return response

    async def malformed(request: Request, error: Exception) -> Response:
        return problem(errors.BadRequest("The request is malformed: see /docs."), request.state.request_id)

    async def left(request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # the client is gone: nobody reads this, the log does

    async def failed(request: Request, error: Exception) -> Response:
        return fault(request.state.request_id)  # Starlette's own would be bare text; the envelope logs what it was

    app.add_exception_handler(OpenSesameError, refused)
    app.add_exception_handler(HTTPException, no_route)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(ClientDisconnect, left)
    app.add_exception_handler(Exception, failed)
    app.router.routes.extend(console.routes(settings.server.default_catalog, settings.server.auth))
    app.router.routes.extend(reference.routes())
    told = document(door, handlers)  # takes up to 100 ms: once, and on no request
    app.openapi = lambda: told  # type: ignore[method-assign]
    return Envelope(app, settings, metrics)


@serve.deployment(name="Ingress")
@serve.ingress()
class Ingress:
    """One replica of the ingress: the application over deployment handles and the state."""

    def __init__(
        self,
        settings: Settings,
        catalogs: DeploymentHandle,
        embedder: DeploymentHandle,
        ranker: DeploymentHandle,
        generator: DeploymentHandle | None = None,
        models: DeploymentHandle | None = None,
    ) -> None:
        logs.configure(settings.log)
        self._settings = settings
        self._metrics = Metrics()
        self._state = State(settings.state, settings.state.url)
        self._stages = RemoteStages(
            settings, catalogs, embedder, ranker, generator, self._metrics, models, self._state.spend
        )

    def __serve_build_asgi_app__(self) -> ASGIApp:
        settings = self._settings
        stages = tracing.traced(settings.tracing, self._stages, tracing.STAGES)
        state = tracing.traced(settings.tracing, self._state, tracing.MEMORY)
        return build_app(settings, stages, state, self._metrics)


def _judge(settings: Settings, state: State) -> Judge | None:
    auth = settings.auth
    if settings.server.auth == "none":
        return None
    if not settings.privacy.secret.get_secret_value():
        raise errors.SettingsError(
            "privacy.secret is empty: users of several tenants need a key that hides their ids "
            "(OPENSESAME__PRIVACY__SECRET, 32 random characters)."
        )
    if settings.server.auth == "jwt":
        return Tokens(auth)
    return Keys(auth.cache_s, state.apikeys, KeyFile(auth.keys_file) if auth.keys_file else None)


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";", 1)[0].strip().lower()


def _name(request: Request) -> str:
    name = request.path_params["name"]
    if not 0 < len(name) <= _NAME_MAX or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
        raise errors.BadRequest(
            f"A name has 1 to {_NAME_MAX} letters, digits, dots, hyphens and underscores; it is {name[:80]!r}."
        )
    return name


async def _body(request: Request, limit: int) -> bytes:
    """The body, read up to `limit` bytes; raises TooLarge beyond, before the rest is read."""
    too_large = errors.TooLarge(f"The body is larger than {limit} bytes.")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


def _json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(schemas.dump(value), status, headers, media_type="application/json")
