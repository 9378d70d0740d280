"""What of a recorded request or answer is kept: names and values, within a budget, without secrets.

Every reader of this folder passes paths, parameters and bodies through here; headers and cookies it
never reads. Names that mean a credential keep their name and lose their value, and so does text that
looks like one. Personal data is not recognised: that is for who hands the recording in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import orjson

from pipeline import guardrails

SECRET = "[secret]"

# As serve/schemas.py shortens the samples of a request, so that training sees what serving sees.
_SAMPLE_ITEMS = 3  # of a list in a body: later items look like the first
_SAMPLE_KEYS = 64
_SAMPLE_TEXT = 256  # characters
_DEPTH = 8
_FIELDS = 200  # of one query string or form
_TEXT_MAX = 8192  # characters of a path or prompt that are looked at; guardrails cut them further
_BODY_MAX = 4 << 20  # bytes of one body that is read as JSON

_SECRET_NAMES = re.compile(
    r"(?:^|_)(?:api_?key|(?:access|private|secret)_key|auth(?:orization)?|bearer|card_number|cookies?|credentials?"
    r"|c[sv]c|cvv2?|jwt|t?otp|pass(?:code|phrase|wd|word)|pwd|secret|sig(?:nature)?|ssn|token)$"
)
_PAGE_TOKENS = re.compile(r"(?:^|_)(?:page|next|continuation|sync|start|cursor|pagination|prev|previous)_token$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_TEXT = re.compile(
    r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"  # JSON Web Token, RFC 7519
    r"|(?i:\b(?:bearer|basic)\s+[\w.~+/=-]{8,})"
    r"|\b[spr]k_(?:live|test)_\w{8,}|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bxox[abeprs]-[\w-]{10,}|\bAKIA[0-9A-Z]{16}\b|\bAIza[\w-]{30,}"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
)


def is_secret(name: str) -> bool:
    """Whether a parameter of that name carries a credential: `apiKey`, `x-api-key`, but not `page_token`."""
    plain = re.sub(r"[\W_]+", "_", _CAMEL.sub("_", name[:128])).strip("_").lower()
    return bool(_SECRET_NAMES.search(plain)) and not _PAGE_TOKENS.search(plain)


def clean_text(text: str) -> str:
    """The text without control characters and without what looks like a credential."""
    return str(guardrails.clean_params({"": _SECRET_TEXT.sub(SECRET, text[:_TEXT_MAX])})[""])


def clean_params(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters as a corpus keeps them: bounded, secrets replaced."""
    return guardrails.clean_params(_keep(params, 0, 64, 4096))


def sample(body: Any) -> Any:
    """A sample of an answer's body: the first items of lists, short texts, no secrets."""
    return (
        None if body is None else guardrails.clean_params({"body": _keep(body, 0, _SAMPLE_ITEMS, _SAMPLE_TEXT)})["body"]
    )


def _keep(value: Any, depth: int, items: int, text: int) -> Any:
    """The value without secrets, lists cut to `items`, texts to `text` characters."""
    match value:
        case str():
            return _SECRET_TEXT.sub(SECRET, value[: 2 * text + 4096])[:text]
        case dict():
            if depth == _DEPTH:
                return None
            return {
                str(key)[:_SAMPLE_TEXT]: SECRET
                if is_secret(str(key)) and inner is not None and not isinstance(inner, bool)
                else _keep(inner, depth + 1, items, text)
                for key, inner in list(value.items())[:_SAMPLE_KEYS]
            }
        case list() | tuple():
            return None if depth == _DEPTH else [_keep(inner, depth + 1, items, text) for inner in value[:items]]
    return value


def pairs(found: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Named values as parameters: a name that comes again becomes a list, `ids[]` is `ids`."""
    params: dict[str, Any] = {}
    for name, value in found:
        name = name.removesuffix("[]")
        if name not in params:
            params[name] = value
        elif isinstance(params[name], list):
            params[name].append(value)
        else:
            params[name] = [params[name], value]
    return params


def query(text: str) -> dict[str, Any]:
    """The parameters of a query string or of a form, the first two hundred."""
    fields = text.split("&", _FIELDS)[:_FIELDS]
    return pairs(parse_qsl("&".join(fields), keep_blank_values=True))


def json_body(text: str | bytes) -> Any:
    """The body as JSON, None where it is none or too large."""
    if not text or len(text) > _BODY_MAX:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def body_params(body: Any) -> dict[str, Any]:
    """The parameters a JSON body carries: its top-level properties, or `body` where it is a list."""
    if isinstance(body, dict):
        return body
    return {"body": body} if isinstance(body, list) else {}
