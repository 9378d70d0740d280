"""The sections of the settings that say who may ask, how often, and what is known of them.

Declared beside `settings.py`, which is their one reader and gives them on; docs/security.md says what they are for.
"""

from __future__ import annotations

from typing import Literal

import pydantic

LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")


class Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Server(Section):
    host: str
    port: int = pydantic.Field(ge=0, le=65535)
    auth: Literal["none", "keys", "jwt"]
    body_limit_bytes: pydantic.PositiveInt
    upload_limit_bytes: pydantic.PositiveInt
    default_catalog: str

    @pydantic.model_validator(mode="after")
    def _open_only_here(self) -> Server:
        if self.auth == "none" and self.host not in LOOPBACK:
            raise ValueError(
                f"host {self.host} is reached by others and auth is none: set server.auth to keys or jwt, "
                "or server.host to 127.0.0.1"
            )
        return self


class Auth(Section):
    """Who may ask: see docs/security.md."""

    metrics: Literal["operator", "open"]
    cache_s: pydantic.PositiveFloat
    keys_file: str
    jwks: str
    jwks_fresh_s: pydantic.PositiveFloat
    issuer: str
    audience: str
    algorithms: tuple[Literal["RS256", "ES256", "EdDSA"], ...]
    tenant_claim: str
    scope_claim: str
    leeway_s: pydantic.NonNegativeFloat

    @pydantic.field_validator("jwks")
    @classmethod
    def _cannot_be_exchanged_on_its_way(cls, value: str) -> str:
        if value.startswith("http://") and value.split("/")[2].rsplit(":", 1)[0] not in LOOPBACK:
            raise ValueError("the keys that tokens are believed by must come by https:// or from a file")
        return value


class Limits(Section):
    """How much one may ask: see `stores/limits.py`."""

    enabled: bool
    user_per_minute: pydantic.PositiveFloat
    user_burst: pydantic.PositiveInt
    key_per_minute: pydantic.PositiveFloat
    key_burst: pydantic.PositiveInt
    block_after: pydantic.PositiveInt
    block_s: pydantic.PositiveFloat


class Privacy(Section):
    secret: pydantic.SecretStr
    prompts: Literal["stems", "none"]
