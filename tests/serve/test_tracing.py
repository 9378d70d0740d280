"""Spans around stages: none when tracing is off or the request is not traced, and never a word of an exception."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from ray.serve.schema import ServeDeploySchema, TracingConfig

from pipeline import settings
from serve import tracing
from serve.graph import application
from serve.manifest import serve_config

OFF = settings.load("local").tracing
ON = OFF.model_copy(update={"endpoint": "http://127.0.0.1:4318", "sample": 0.5})


class Stages:
    name = "inner"

    async def ground(self, what: str) -> str:
        return f"{what} grounded"

    async def score(self, what: str) -> str:
        raise KeyError(what)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", lambda name: provider.get_tracer(name))
    return exporter


def test_off_nothing_is_wrapped_and_nothing_is_told_to_serve():
    stages = Stages()
    assert tracing.traced(OFF, stages, tracing.STAGES) is stages
    assert tracing.spanned(OFF, "embed", stages.ground) == stages.ground
    assert tracing.config(OFF) is None
    assert tracing.variables(OFF) == {}


async def test_a_traced_request_has_a_span_for_each_stage_and_its_faults_are_not_quoted(spans: InMemorySpanExporter):
    traced = tracing.traced(ON, Stages(), {"ground": "ground", "score": "score"})
    with trace.get_tracer("test").start_as_current_span("request"):
        assert await traced.ground("it") == "it grounded"
        with pytest.raises(KeyError):
            await traced.score("secret")
    assert traced.name == "inner"
    told = spans.get_finished_spans()
    assert [span.name for span in told] == ["ground", "score", "request"]
    assert {span.parent.span_id for span in told[:2] if span.parent} == {told[2].context.span_id}
    assert "secret" not in "".join(span.to_json() for span in told)


async def test_a_request_that_is_not_traced_begins_no_trace(spans: InMemorySpanExporter):
    traced = tracing.traced(ON, Stages(), {"ground": "ground"})
    assert await traced.ground("it") == "it grounded"
    assert spans.get_finished_spans() == ()


def test_serve_is_told_where_spans_go_and_how_many_locally_and_in_a_cluster():
    loaded = settings.load("local").model_copy(update={"tracing": ON})
    told = TracingConfig.model_validate(tracing.config(ON))
    assert (told.enabled, told.sampling_ratio) == (True, 0.5)
    config = serve_config(loaded)
    ServeDeploySchema.model_validate(config)
    assert config["tracing_config"]["exporter_import_path"] == "serve.tracing:processors"
    for deployment in config["applications"][0]["deployments"]:
        variables = deployment["ray_actor_options"]["runtime_env"]["env_vars"]
        assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"] == ON.endpoint
    assert "tracing_config" not in serve_config(settings.load("local"))
    assert application(loaded)
