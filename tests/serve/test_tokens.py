"""Tokens: a good one of each algorithm opens what its scopes say; every other is a 401 that says what is wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipeline import settings
from pipeline.errors import Unauthorized, Unavailable
from serve import tokens
from serve.tokens import Tokens
from tests.serve.test_identity import guarded

ISSUER, AUDIENCE = "https://id.example", "opensesame"
MAKERS: dict[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
PRIVATE = {name: make() for name, make in MAKERS.items()}


def public(name: str, key: Any, kid: str) -> dict[str, Any]:
    algorithm = jwt.get_algorithm_by_name(name)
    return json.loads(algorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig", "alg": name}


def jwks(**extra: Any) -> dict[str, Any]:
    return {"keys": [*(public(name, key, f"k-{name}") for name, key in PRIVATE.items()), *extra.values()]}


def token(name: str = "ES256", kid: str | None = None, key: Any = None, **claims: Any) -> str:
    told = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "robot",
        "exp": time.time() + 60,
        "tenant": "acme",
        "scope": "predict",
    }
    told = {k: v for k, v in (told | claims).items() if v is not None}
    return jwt.encode(told, key or PRIVATE[name], algorithm=name, headers={"kid": f"k-{name}" if kid is None else kid})


def auth(source: str, **changes: Any) -> settings.Auth:
    told = {"jwks": source, "issuer": ISSUER, "audience": AUDIENCE, "leeway_s": 0.0}
    return settings.load().auth.model_copy(update=told | changes)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(jwks(symmetric={"kty": "oct", "k": "c2VjcmV0", "kid": "k-oct"}, odd={"kty": "RSA"})))
    return path


@pytest.mark.parametrize("name", MAKERS)
async def test_a_good_token_says_who_asks(file: Path, name: str):
    judge = Tokens(auth(str(file)))
    caller = await judge.caller(token(name, scope="predict feedback openid"))
    assert (caller.tenant, caller.scopes) == ("acme", {"predict", "feedback"})
    assert "robot" not in caller.id
    listed = await judge.caller(token(name, scope=["operator", 1, None], aud=["other", AUDIENCE]))
    assert listed.scopes == {"operator"}


def unsigned(claims: dict[str, Any]) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"k-ES256"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    return f"{header.decode()}.{body.decode()}."


def signed_with_the_public_key() -> str:
    """RFC 8725, 2.1: an RSA public key taken for the secret of an HMAC."""
    pem = PRIVATE["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = token("RS256").split(".")[1]
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k-RS256"}').rstrip(b"=").decode()
    mac = hmac.digest(pem, f"{header}.{body}".encode(), hashlib.sha256)
    return f"{header}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


BAD: dict[str, Callable[[], str]] = {
    "expired": lambda: token(exp=time.time() - 1),
    "not yet": lambda: token(nbf=time.time() + 60),
    "another issuer": lambda: token(iss="https://evil.example"),
    "another audience": lambda: token(aud="another service"),
    "no expiry": lambda: token(exp=None),
    "no subject": lambda: token(sub=None),
    "no tenant": lambda: token(tenant=None),
    "a tenant that is none": lambda: token(tenant="a:b"),
    "a tenant of many": lambda: token(tenant=["a", "b"]),
    "another key": lambda: token(key=MAKERS["ES256"]()),
    "an unknown key": lambda: token(kid="k-other"),
    "another key's name": lambda: token("ES256", kid="k-RS256"),
    "without a key's name": lambda: token(kid=""),
    "a symmetric key": lambda: jwt.encode({"sub": "x"}, "secret" * 8, algorithm="HS256", headers={"kid": "k-oct"}),
    "unsigned": lambda: unsigned({"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "exp": time.time() + 60, "tenant": "a"}),
    "the public key as a secret": signed_with_the_public_key,
    "changed": lambda: token()[:-8] + "AAAAAAAA",
    "no token": lambda: "os_not_a_token",
    "dots": lambda: "..",
    "endless": lambda: "a" * 9000,
}


@pytest.mark.parametrize("fault", BAD)
async def test_a_bad_token_is_refused(file: Path, fault: str):
    with pytest.raises(Unauthorized) as refused:
        await Tokens(auth(str(file))).caller(BAD[fault]())
    assert "token" in refused.value.detail


async def test_an_algorithm_that_is_not_allowed_is_refused(file: Path):
    judge = Tokens(auth(str(file), algorithms=("EdDSA",)))
    assert (await judge.caller(token("EdDSA"))).tenant == "acme"
    with pytest.raises(Unauthorized):
        await judge.caller(token("RS256"))


async def test_a_token_ends_when_its_time_is_over_though_it_was_good_before(file: Path):
    judge = Tokens(auth(str(file)))
    short = token(exp=time.time() + 1)
    assert (await judge.caller(short)).tenant == "acme"
    time.sleep(1.1)
    with pytest.raises(Unauthorized, match="expired"):
        await judge.caller(short)


class _Issuer(http.server.BaseHTTPRequestHandler):
    answer: bytes = b""
    status = 200
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(self.status)
        self.send_header("content-length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def issuer() -> Iterator[tuple[str, type[_Issuer]]]:
    class Issuer(_Issuer):
        answer = orjson.dumps(jwks())

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/jwks", Issuer
    server.shutdown()


async def test_keys_rotate_and_survive_their_issuer(issuer, monkeypatch):
    url, pages = issuer
    monkeypatch.setattr(tokens, "_PAUSE_S", 0.0)
    judge = Tokens(auth(url, jwks_fresh_s=1000.0, cache_s=0.001))
    assert (await judge.caller(token())).tenant == "acme"
    fresh = MAKERS["ES256"]()
    pages.answer = orjson.dumps({"keys": [public("ES256", fresh, "k-new")]})
    assert (await judge.caller(token(kid="k-new", key=fresh))).tenant == "acme"
    with pytest.raises(Unauthorized):  # the old key is gone
        await judge.caller(token())
    pages.status = 503
    assert (await judge.caller(token(kid="k-new", key=fresh))).tenant == "acme"
    with pytest.raises(Unauthorized):
        await judge.caller(token(kid="k-newer"))


async def test_unknown_keys_do_not_make_us_flood_the_issuer(issuer):
    url, pages = issuer
    judge = Tokens(auth(url))
    await judge.caller(token())
    for i in range(20):
        with pytest.raises(Unauthorized):
            await judge.caller(token(kid=f"k-{i}"))
    assert pages.asked == 1


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', b"{"])
async def test_without_keys_no_token_is_judged(issuer, answer: bytes):
    url, pages = issuer
    pages.answer = answer
    with pytest.raises(Unavailable):
        await Tokens(auth(url)).caller(token())


async def test_a_token_opens_the_routes_of_its_scopes(redis_url: str, file: Path):
    told = {"jwks": str(file), "issuer": ISSUER, "audience": AUDIENCE}
    async with guarded(redis_url, server={"auth": "jwt"}, auth=told) as app:
        headers = {"Authorization": f"Bearer {token()}"}
        assert (await app.client.post("/predict", json={"user_id": "ana"}, headers=headers)).status_code == 200
        refused = await app.client.get("/models", headers=headers)
        assert (refused.status_code, "operator" in refused.json()["detail"]) == (403, True)
        assert (await app.client.post("/predict", json={})).status_code == 401
