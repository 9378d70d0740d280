"""Tokens of an issuer (JWT, RFC 7519): who they say asks, once their signature, issuer, audience and times hold.

The issuer's public keys (JWKS, RFC 7517) come from a URL or a file, are looked at again when they have grown old or a
token names one never seen, and go on being used while their source is away. Only asymmetric algorithms are known
here, so that a public key can never be taken for a shared secret (RFC 8725, 3.1). Used by `serve.ingress`.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import httpx2
import jwt

from pipeline.errors import Unauthorized, Unavailable
from pipeline.settings import Auth
from pipeline.stores.apikeys import SCOPES, is_tenant
from serve.identity import Caller

_KINDS = ("RSA", "EC", "OKP")
_TOKEN_MAX = 8192  # characters
_CACHED_MAX = 4096
_PAUSE_S = 10.0  # between two looks that a token with an unknown key id, or a source that is away, brings about
_FETCH_S = 5.0
_SET_MAX = 1 << 20  # bytes of a JWKS


class Tokens:
    """Judges tokens by the settings' issuer, audience and keys."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._keys: dict[str, jwt.PyJWK] = {}
        self._looked = self._good = float("-inf")  # monotonic: when the source was asked, and when it last answered
        self._looking: asyncio.Lock = asyncio.Lock()
        self._seen: OrderedDict[str, tuple[Caller, float]] = OrderedDict()  # hash of a token -> who, until (wall clock)

    async def caller(self, credential: str) -> Caller:
        """Raises Unauthorized, saying what is wrong; Unavailable when the issuer's keys cannot be had."""
        name = hashlib.sha256(credential.encode("utf-8", "replace")).hexdigest()
        caller, until = self._seen.get(name, (None, 0.0))
        if caller is not None and time.time() < until:
            return caller
        caller, until = await self._judge(credential)
        self._seen[name] = (caller, until)
        self._seen.move_to_end(name)
        if len(self._seen) > _CACHED_MAX:
            self._seen.popitem(last=False)
        return caller

    async def _judge(self, token: str) -> tuple[Caller, float]:
        auth = self._auth
        if len(token) > _TOKEN_MAX:
            raise Unauthorized(f"The token is longer than {_TOKEN_MAX} characters.")
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(str(header.get("kid", "")))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(auth.algorithms),
                audience=auth.audience,
                issuer=auth.issuer,
                leeway=auth.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthorized(f"The token is refused: {str(error) or type(error).__name__}.") from None
        tenant = claims.get(auth.tenant_claim)
        if not is_tenant(tenant):
            raise Unauthorized(f"The token's claim {auth.tenant_claim!r} must be a tenant's name.")
        told = claims.get(auth.scope_claim, "")
        named = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
        scopes = frozenset(scope for scope in named if isinstance(scope, str) and scope in SCOPES)
        subject = hashlib.sha256(f"{auth.issuer} {claims['sub']}".encode("utf-8", "replace")).hexdigest()[:16]
        until = min(time.time() + auth.cache_s, float(claims["exp"]) + auth.leeway_s)
        return Caller(str(tenant), scopes, subject), until

    async def _key(self, id_: str) -> jwt.PyJWK:
        """The issuer's key of this id; without an id the only one there is."""
        age = time.monotonic() - self._good
        if age > self._auth.jwks_fresh_s or (id_ and id_ not in self._keys):
            await self._look()
        if not self._keys:
            raise Unavailable("The issuer's keys cannot be had, so no token can be judged; try again.", _PAUSE_S)
        if not id_ and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if id_ not in self._keys:
            raise Unauthorized("The token is refused: it names a key that its issuer does not have.")
        return self._keys[id_]

    async def _look(self) -> None:
        async with self._looking:
            if time.monotonic() - self._looked < _PAUSE_S:
                return
            self._looked = time.monotonic()
            try:
                found = _read(await self._source())
            except (OSError, ValueError, httpx2.HTTPError, jwt.PyJWTError):
                return  # those that are known go on being used
            self._keys, self._good = found, time.monotonic()
            self._seen.clear()  # a key that is gone takes its tokens with it

    async def _source(self) -> bytes:
        if not self._auth.jwks.startswith(("http://", "https://")):
            return await asyncio.to_thread(Path(self._auth.jwks).read_bytes)
        async with httpx2.AsyncClient(timeout=_FETCH_S, follow_redirects=False) as client:
            answer = await client.get(self._auth.jwks)
            answer.raise_for_status()
            if len(answer.content) > _SET_MAX:
                raise ValueError("the key set is too large")
            return answer.content


def _read(data: bytes) -> dict[str, jwt.PyJWK]:
    """Signing keys by their id; others are left out."""
    import orjson

    keys: dict[str, jwt.PyJWK] = {}
    told: Any = orjson.loads(data)
    for entry in told["keys"] if isinstance(told, dict) and isinstance(told.get("keys"), list) else ():
        if isinstance(entry, dict) and entry.get("kty") in _KINDS and entry.get("use", "sig") == "sig":
            try:
                keys[str(entry.get("kid", ""))] = jwt.PyJWK(entry)
            except jwt.PyJWTError:
                continue  # a kind of key that we do not know
    if not keys:
        raise ValueError("no key that could have signed")
    return keys
