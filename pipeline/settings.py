"""One frozen model of all settings and its one loader.

`load` reads `configs/base.yaml`, then one overlay, then `OPENSESAME__SECTION__KEY` from the
environment; nothing else in the project reads the environment. `base.yaml` says what each key
means; an unknown key, in a file or in the environment, is an error.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from pipeline.access import Auth, Limits, Privacy, Section, Server
from pipeline.errors import SettingsError
from pipeline.prices import Endpoint, Price, Router

_PREFIX = "OPENSESAME__"
_SPECS = (".yaml", ".json")  # of the packaged example catalogs


_PersonalPolicy = Literal["off", "flag", "redact", "block"]
_AttackPolicy = Literal["off", "flag", "block"]


class Replicas(Section):
    min: pydantic.PositiveInt = 1
    max: pydantic.PositiveInt = 1

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class _Deployment(Section):
    replicas: Replicas
    num_cpus: pydantic.NonNegativeFloat
    max_ongoing_requests: pydantic.PositiveInt


class RayRuntime(Section):
    address: str
    logical_cpus: pydantic.PositiveInt
    object_store_bytes: pydantic.PositiveInt
    dashboard_port: int = pydantic.Field(ge=0, le=65535)
    haproxy: bool
    request_timeout_s: pydantic.PositiveFloat


class Predict(Section):
    deadline_default_s: pydantic.PositiveFloat
    deadline_max_s: pydantic.PositiveFloat
    history_max: pydantic.PositiveInt
    prompt_max: pydantic.PositiveInt
    user_max: pydantic.PositiveInt
    k_default: pydantic.PositiveInt
    k_max: pydantic.PositiveInt
    prompt_vectors: pydantic.NonNegativeInt
    budget_s: pydantic.PositiveFloat


class Fetch(Section):
    connect_s: pydantic.PositiveFloat
    read_s: pydantic.PositiveFloat
    total_s: pydantic.PositiveFloat
    wire_limit_bytes: pydantic.PositiveInt
    expanded_limit_bytes: pydantic.PositiveInt
    redirects: pydantic.NonNegativeInt
    ports: tuple[int, ...]
    allow_hosts: tuple[str, ...]
    fresh_s: pydantic.PositiveFloat
    tenant_per_minute: pydantic.PositiveInt
    host_per_minute: pydantic.PositiveInt


class Parse(Section):
    inline_limit_bytes: pydantic.PositiveInt
    operations_max: pydantic.PositiveInt
    depth_max: pydantic.PositiveInt
    yaml_events_max: pydantic.PositiveInt
    yaml_aliases_max: pydantic.NonNegativeInt
    memory_bytes: pydantic.PositiveInt
    time_s: pydantic.PositiveFloat


class Catalogs(_Deployment):
    cache_bytes: pydantic.PositiveInt
    first_wait_s: pydantic.PositiveFloat
    lease_s: pydantic.PositiveFloat
    embed_chunk: pydantic.PositiveInt


class Shortlist(Section):
    words: pydantic.NonNegativeInt
    meaning: pydantic.NonNegativeInt
    neighbours: pydantic.NonNegativeInt
    producers: pydantic.NonNegativeInt
    habit: pydantic.NonNegativeInt
    total: pydantic.PositiveInt
    leading: pydantic.PositiveInt
    schemas: pydantic.NonNegativeInt


class Embedder(_Deployment):
    model: str
    dtype: Literal["auto", "float32", "bfloat16"]
    threads: pydantic.PositiveInt
    num_gpus: pydantic.NonNegativeFloat
    batch_max: pydantic.PositiveInt
    batch_wait_s: pydantic.NonNegativeFloat
    prompt_wait_s: pydantic.PositiveFloat


class Ranker(_Deployment):
    artifact: str
    folder: str
    threads: pydantic.PositiveInt
    poll_s: pydantic.PositiveFloat
    first_look_s: pydantic.NonNegativeFloat
    score_limit_s: pydantic.PositiveFloat


class Registry(Section):
    url: str
    folder: str
    name: str
    poll_s: pydantic.PositiveFloat
    away_s: pydantic.PositiveFloat

    @pydantic.field_validator("url")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        if value != "embedded" and not value.startswith(("http://", "https://")):
            raise ValueError("must be 'embedded' or the http:// or https:// URL of an MLflow server")
        return value


class Models(_Deployment):
    niceness: int = pydantic.Field(ge=0, le=19)
    train_num_cpus: pydantic.NonNegativeFloat
    var: str
    train_idle: bool
    schedule_s: pydantic.NonNegativeFloat
    rest_s: pydantic.NonNegativeFloat

    @pydantic.field_validator("replicas")
    @classmethod
    def _one(cls, value: Replicas) -> Replicas:
        if value.max != 1:
            raise ValueError("one replica watches the registry; more would do the same work again")
        return value


class Generator(_Deployment):
    enabled: bool
    model: str
    lora: str
    lora_rank: pydantic.PositiveInt
    dtype: str
    max_model_len: pydantic.PositiveInt
    max_num_seqs: pydantic.PositiveInt
    mode: Literal["choose", "logprob"]
    options: int = pydantic.Field(ge=1, le=52)
    buffer: pydantic.NonNegativeInt
    permutations: pydantic.PositiveInt
    overview_tokens: pydantic.NonNegativeInt
    critique: bool
    max_tokens: pydantic.PositiveInt
    min_budget_s: pydantic.NonNegativeFloat
    reserve_s: pydantic.NonNegativeFloat
    kv_cache_gib: pydantic.PositiveInt
    gpu_memory_utilization: float = pydantic.Field(gt=0, le=1)
    tensor_parallel_size: pydantic.PositiveInt
    quantization: str
    enforce_eager: bool
    lift: float = pydantic.Field(ge=0, le=1)
    price: Price
    num_gpus: pydantic.NonNegativeFloat

    @pydantic.model_validator(mode="after")
    def _has_a_model(self) -> Generator:
        if self.enabled and not self.model:
            raise ValueError("an enabled generator needs a model: a hub name or a path, in generator.model")
        return self

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Generator:
        if self.num_gpus and self.tensor_parallel_size > self.num_gpus:
            raise ValueError(f"tensor_parallel_size {self.tensor_parallel_size} needs as many num_gpus")
        if self.overview_tokens > self.max_model_len // 2:
            raise ValueError(f"overview_tokens {self.overview_tokens} is over half of max_model_len")
        return self


class Ingress(_Deployment):
    shed_at: pydantic.PositiveInt
    ground_at_once: pydantic.PositiveInt


class State(Section):
    url: str
    redis_server: str
    join_window_s: pydantic.PositiveInt
    inbox_max: pydantic.PositiveInt
    catalog_ttl_s: pydantic.PositiveInt
    name_quota: pydantic.PositiveInt
    habit_ttl_s: pydantic.PositiveInt
    habit_decay: float = pydantic.Field(gt=0, le=1)
    prompts_max: pydantic.PositiveInt
    prompts_user_max: pydantic.PositiveInt
    once_ttl_s: pydantic.PositiveInt
    impression_limit_bytes: pydantic.PositiveInt
    timeout_s: pydantic.PositiveFloat
    feedback_timeout_s: pydantic.PositiveFloat
    bulk_timeout_s: pydantic.PositiveFloat
    connect_timeout_s: pydantic.PositiveFloat
    breaker_failures: pydantic.PositiveInt
    breaker_open_s: pydantic.PositiveFloat

    @pydantic.field_validator("url")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        if value != "embedded" and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must be 'embedded' or a redis://, rediss:// or unix:// URL")
        return value


class Journal(Section):
    folder: str
    batch: pydantic.PositiveInt
    small_groups: pydantic.PositiveInt
    file_groups: pydantic.PositiveInt
    retention_days: pydantic.PositiveInt


class Train(Section):
    groups: pydantic.PositiveInt
    hours: pydantic.PositiveFloat
    groups_max: pydantic.PositiveInt
    workers: pydantic.PositiveInt
    rounds: pydantic.PositiveInt
    head_groups: pydantic.PositiveInt
    anchor_groups: pydantic.PositiveInt
    anchor_share: pydantic.NonNegativeFloat
    later_share: float = pydantic.Field(gt=0, lt=1)
    valid_share: float = pydantic.Field(ge=0, lt=1)
    gate_groups: pydantic.PositiveInt

    @pydantic.model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> Train:
        if self.later_share + self.valid_share >= 1:
            raise ValueError(f"later_share {self.later_share} and valid_share {self.valid_share} leave nothing")
        return self


class Experiments(Section):
    name: str = pydantic.Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    challenger_percent: float = pydantic.Field(ge=0, le=100)
    interleave_percent: float = pydantic.Field(ge=0, le=100)
    shadow_percent: float = pydantic.Field(ge=0, le=100)
    explore_percent: float = pydantic.Field(ge=0, le=100)
    alpha: float = pydantic.Field(gt=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _shares_fit(self) -> Experiments:
        if self.challenger_percent + self.interleave_percent > 100:
            raise ValueError("challenger_percent and interleave_percent are more than 100 together")
        return self


class Suggest(Section):
    catalog: str
    limit_default: pydantic.PositiveInt
    limit_max: pydantic.PositiveInt


class PersonalData(Section):
    """What is done with each kind of personal data in a prompt."""

    email: _PersonalPolicy
    phone: _PersonalPolicy
    card: _PersonalPolicy
    iban: _PersonalPolicy
    ssn: _PersonalPolicy
    secret: _PersonalPolicy
    jwt: _PersonalPolicy
    ip: _PersonalPolicy


class Attacks(Section):
    """What is done with a prompt that looks like each kind of attack."""

    sql: _AttackPolicy
    shell: _AttackPolicy
    xss: _AttackPolicy
    path_traversal: _AttackPolicy
    profanity: _AttackPolicy
    prompt_injection: _AttackPolicy


class Guardrails(Section):
    destructive: Literal["intent", "allow"]
    personal: PersonalData
    attacks: Attacks


class Log(Section):
    level: Literal["debug", "info", "warning", "error"]
    format: Literal["json", "console"]


class Tracing(Section):
    endpoint: str
    sample: float = pydantic.Field(ge=0, le=1)


class Settings(BaseSettings):
    """All settings; code receives its section, not the whole."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=_PREFIX, env_nested_delimiter="__", case_sensitive=False
    )

    server: Server
    auth: Auth
    limits: Limits
    privacy: Privacy
    ray: RayRuntime
    predict: Predict
    fetch: Fetch
    parse: Parse
    catalogs: Catalogs
    shortlist: Shortlist
    embedder: Embedder
    ranker: Ranker
    registry: Registry
    models: Models
    generator: Generator
    endpoint: Endpoint
    router: Router
    ingress: Ingress
    state: State
    journal: Journal
    train: Train
    experiments: Experiments
    suggest: Suggest
    guardrails: Guardrails
    log: Log
    tracing: Tracing

    @pydantic.model_validator(mode="after")
    def _tokens_can_be_judged(self) -> Settings:
        told = {"jwks": self.auth.jwks, "issuer": self.auth.issuer, "audience": self.auth.audience}
        missing = [f"auth.{name}" for name, value in told.items() if not value]
        if self.server.auth == "jwt" and missing:
            raise ValueError(f"server.auth is jwt: set {', '.join(missing)} too")
        return self


def resource(name: str) -> Path:
    """Folder `name` (configs, examples): inside the installed package, else beside it in a checkout."""
    here = Path(__file__).resolve().parent
    packaged = here / name
    return packaged if packaged.is_dir() else here.parent / name


def packaged_spec(name: str) -> Path | None:
    """The file of the packaged example catalog `name`, None when there is none."""
    found = (resource("examples") / f"{name}{suffix}" for suffix in _SPECS)
    return next((path for path in found if path.is_file() and path.parent == resource("examples")), None)


def packaged_specs() -> list[str]:
    """The names of the packaged example catalogs."""
    return sorted(path.stem for path in resource("examples").iterdir() if path.suffix in _SPECS)


def under(settings: Settings, var: Path) -> Settings:
    """The settings with every folder that they leave open lying under `var`."""
    var = var.resolve()
    registry = settings.registry.folder or str(var / "mlflow")
    ranker = settings.ranker.folder or str(var / "ranker")
    models = settings.models.var or str(var)
    return settings.model_copy(
        update={
            "registry": settings.registry.model_copy(update={"folder": registry}),
            "ranker": settings.ranker.model_copy(update={"folder": ranker}),
            "models": settings.models.model_copy(update={"var": models}),
        }
    )


def load(config: str | Path = "local", **changes: dict[str, Any]) -> Settings:
    """Settings of base.yaml, overlay `config` (a name in configs/ or a path), the environment, then `changes`.

    Raises:
        SettingsError: no such overlay, not YAML, an unknown key or a value out of its range.
    """
    overlay = Path(config)
    if overlay.suffix not in (".yaml", ".yml"):
        overlay = resource("configs") / f"{config}.yaml"
    if not overlay.is_file():
        known = sorted(p.stem for p in resource("configs").glob("*.yaml") if p.stem not in ("base", "slo"))
        raise SettingsError(f"There is no configuration '{config}': name a file, or one of {', '.join(known)}.")
    files = [resource("configs") / "base.yaml", overlay]
    unknown = [
        k
        for k in os.environ
        if k.upper().startswith(_PREFIX)
        and k.upper().removeprefix(_PREFIX).split("__")[0].lower() not in Settings.model_fields
    ]
    if unknown:
        raise SettingsError(f"The environment sets {', '.join(sorted(unknown))}: no such section.")

    class _Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings
        ):  # type: ignore[no-untyped-def]
            return (
                init_settings,
                EnvSettingsSource(settings_cls),
                YamlConfigSettingsSource(settings_cls, yaml_file=files, deep_merge=True),
            )

    try:
        layered = _Layered(**changes)  # type: ignore[arg-type]
    except pydantic.ValidationError as error:
        lines = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise SettingsError(f"{overlay}: " + "; ".join(lines)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError(f"{overlay} is not YAML: {getattr(error, 'problem', None) or error}{where}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{overlay} is not YAML: it is no UTF-8 text.") from None
    return Settings.model_construct(**{name: getattr(layered, name) for name in Settings.model_fields})
