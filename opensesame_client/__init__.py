"""The Python client of OpenSesame: ask for the next API call, say what became of it.

    from opensesame_client import Client

    with Client("http://127.0.0.1:8000") as client:
        answer = client.predict(["GET /v1/charges/ch_123"], prompt="refund it", catalog="billing", user_id="ana")
        client.accept(answer)

`Client` blocks, `AsyncClient` awaits; `Session` and `AsyncSession` record calls; `errors` draws what may be raised;
`asgi.NextCall` is a middleware. It needs httpx2 and nothing of the service.
"""

from opensesame_client import errors
from opensesame_client.aio import AsyncClient
from opensesame_client.answers import Answer, Prediction, Proposition, Receipt, Recorded, Suggestion
from opensesame_client.client import Client
from opensesame_client.errors import OpenSesameError
from opensesame_client.session import AsyncSession, Session

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncSession",
    "Client",
    "OpenSesameError",
    "Prediction",
    "Proposition",
    "Receipt",
    "Recorded",
    "Session",
    "Suggestion",
    "errors",
]
