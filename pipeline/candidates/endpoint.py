"""An OpenAI-compatible server as an `Engine`: a hosted model, or another vLLM.

Speaks `POST {url}/chat/completions`. A reply in JSON of a schema is asked for by `response_format`; a server that
refuses that is asked for JSON, then for text that is read as JSON, and what it took is remembered. The address is the
operator's, so none is refused; redirects are not followed, proxies of the environment not used, and of a refusal only
its status is told. The deadline is held by `Proposer`, the caller.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import httpx2

from pipeline.candidates.propose import Reply, Weighing
from pipeline.errors import GeneratorError
from pipeline.prices import Endpoint
from pipeline.settings import Generator

_REPLY_MAX = 1 << 20  # bytes of a reply that are read
_MESSAGE_BYTES = 64  # that a server's chat template adds to a message, at most
_REFUSED = (400, 415, 422)  # statuses by which servers say that they do not know a field

# What a request may hold, most first: some servers know no schema, some only one of the names of the limit.
_FORMATS = ("json_schema", "json_object", "")
_LIMITS = (("max_tokens", "max_completion_tokens"), ("max_completion_tokens",), ("max_tokens",))


def shaped(generator: Generator, endpoint: Endpoint) -> Generator:
    """The settings by which `Proposer` makes a prompt for the endpoint: the generator's, with the endpoint's limits.

    A token is taken for three bytes when a prompt is cut, so that it has no more bytes than `tokens_in_max`.
    """
    return generator.model_copy(
        update={
            "model": endpoint.model,
            "max_tokens": endpoint.max_tokens,
            "max_model_len": endpoint.tokens_in_max // 3 + endpoint.max_tokens,
            "mode": "choose",
            "overview_tokens": 0,
        }
    )


class EndpointEngine:
    """Chat completions of one model of one server. Opens nothing before its first request."""

    def __init__(self, settings: Endpoint) -> None:
        self._settings = settings
        key = settings.api_key.get_secret_value()
        self._client = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(None, connect=settings.connect_s),
            limits=httpx2.Limits(max_connections=settings.max_ongoing_requests),
            trust_env=False,
            follow_redirects=False,
        )
        self._dialects = list(itertools.product(_FORMATS, _LIMITS))  # the first is what the server took last

    async def close(self) -> None:
        await self._client.aclose()

    async def generate(
        self,
        messages: Sequence[dict[str, str]],
        schema: dict[str, Any],
        max_tokens: int,
        temperature: float,
        request_id: str,
    ) -> Reply:
        """One reply; the connection is closed, and with it the request, when the caller is cancelled.

        Raises:
            GeneratorError: the server is away, refuses the request, or says what is no completion.
        """
        size = sum(len(message["content"].encode("utf-8", "replace")) + _MESSAGE_BYTES for message in messages)
        if size > self._settings.tokens_in_max:
            raise GeneratorError(f"a prompt of {size} bytes may have more than {self._settings.tokens_in_max} tokens")
        status = 0
        for dialect in tuple(self._dialects):
            body = {"model": self._settings.model, "messages": list(messages), "temperature": temperature}
            status, data = await self._post(body | _fields(dialect, schema, max_tokens), request_id)
            if status == 200:
                self._dialects.remove(dialect)
                self._dialects.insert(0, dialect)
                return _read(data, size, max_tokens)
            if status not in _REFUSED:
                break
        raise GeneratorError(f"the endpoint refused the request with status {status}")

    async def weigh(self, messages: Sequence[dict[str, str]], marks: Sequence[str], request_id: str) -> Weighing:
        """Raises GeneratorError: such servers tell too few log-probabilities."""
        raise GeneratorError("an endpoint weighs no options")

    async def _post(self, body: dict[str, Any], request_id: str) -> tuple[int, bytes]:
        url = f"{self._settings.url}/chat/completions"
        is_sent = False
        try:
            async with self._client.stream("POST", url, json=body, headers={"X-Request-ID": request_id}) as response:
                is_sent = True
                data = b""
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > _REPLY_MAX:
                        raise GeneratorError(f"the endpoint's reply is longer than {_REPLY_MAX} bytes", asked=True)
                return response.status_code, data
        except httpx2.ConnectError as error:
            raise GeneratorError(f"the endpoint cannot be reached: {type(error).__name__}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            is_sent = is_sent or isinstance(error, httpx2.ReadError | httpx2.RemoteProtocolError)
            raise GeneratorError(f"the endpoint broke off: {type(error).__name__}", asked=is_sent) from None


def _fields(dialect: tuple[str, tuple[str, ...]], schema: dict[str, Any], max_tokens: int) -> dict[str, Any]:
    kind, limits = dialect
    fields: dict[str, Any] = dict.fromkeys(limits, max_tokens)
    if kind == "json_schema":
        fields["response_format"] = {"type": kind, "json_schema": {"name": "picks", "schema": schema}}
    elif kind:
        fields["response_format"] = {"type": kind}
    return fields


def _read(data: bytes, tokens_in_max: int, tokens_out_max: int) -> Reply:
    """The completion; where the server tells no tokens, as many as there can be."""
    try:
        told = json.loads(data)
        choice = told["choices"][0]
        text = choice["message"]["content"] or ""
        usage = told.get("usage") or {}
        tokens_in = int(usage.get("prompt_tokens", tokens_in_max))
        cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
        return Reply(
            text=str(text),
            tokens_in=tokens_in,
            tokens_cached=min(cached, tokens_in),
            tokens_out=int(usage.get("completion_tokens", tokens_out_max)),
            finish=str(choice.get("finish_reason") or "stop"),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise GeneratorError("the endpoint's reply is no chat completion", asked=True) from None
