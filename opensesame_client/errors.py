"""What a call to an OpenSesame service can end in, in one tree.

    OpenSesameError
    ├── WrongAddress             what a client was given is no http or https address
    ├── Unreachable              no connection, or it broke, as often as it was tried
    ├── DeadlineExceeded         the time the caller gave is over
    └── ProblemError             the service answered with a problem document (RFC 9457)
        ├── BadRequest           400: the detail says what to mend
        ├── Unauthorized         401: no key, or one that is not known
        ├── Forbidden            403
        ├── NotFound             404: catalog, prediction, model
        ├── Conflict             409: another outcome, or another body under the same Idempotency-Key
        ├── Gone                 410: past the time in which feedback can name a prediction
        ├── TooLarge             413
        ├── UnsupportedMedia     415
        ├── SpecProblem          422: not a usable spec; `where` says at which place
        ├── RateLimited          429: `retry_after_s`
        ├── Unavailable          503: `retry_after_s`
        └── ServerFault          any other status from 500 on

Raised by the clients after their own retries; every one survives pickling.
"""

from __future__ import annotations

from typing import Any


class OpenSesameError(Exception):
    """Root of the tree; the text says what went wrong, in one sentence."""


class WrongAddress(OpenSesameError):
    """No request can be sent there; raised when a client is made."""


class Unreachable(OpenSesameError):
    """Nobody answered."""


class DeadlineExceeded(OpenSesameError):
    """The overall deadline of the call passed; whether the service acted is not known."""


class ProblemError(OpenSesameError):
    """The service refused; `slug` is stable and made for programs, `detail` for people."""

    def __init__(
        self,
        status: int,
        slug: str = "",
        detail: str = "",
        title: str = "",
        request_id: str = "",
        where: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(status, slug, detail, title, request_id, where, retry_after_s)
        self.status, self.slug, self.detail, self.title = status, slug, detail, title
        self.request_id, self.where, self.retry_after_s = request_id, where, retry_after_s

    def __str__(self) -> str:
        return f"{self.status} {self.slug}: {self.detail or self.title}".replace(" :", ":")


class BadRequest(ProblemError): ...


class Unauthorized(ProblemError): ...


class Forbidden(ProblemError): ...


class NotFound(ProblemError): ...


class Conflict(ProblemError): ...


class Gone(ProblemError): ...


class TooLarge(ProblemError): ...


class UnsupportedMedia(ProblemError): ...


class SpecProblem(ProblemError): ...


class RateLimited(ProblemError): ...


class Unavailable(ProblemError): ...


class ServerFault(ProblemError): ...


_BY_STATUS: dict[int, type[ProblemError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    415: UnsupportedMedia,
    422: SpecProblem,
    429: RateLimited,
    503: Unavailable,
}


def problem(status: int, document: Any, text: str, retry_after_s: float | None) -> ProblemError:
    """The error for an answer of `status`: by its problem document, by its text where a proxy wrote it."""
    kind = _BY_STATUS.get(status, ServerFault if status >= 500 else ProblemError)
    said = document if isinstance(document, dict) else {"detail": " ".join(text.split())[:200]}
    fields = {name: str(said.get(name) or "") for name in ("slug", "detail", "title", "request_id", "where")}
    return kind(status, **fields, retry_after_s=retry_after_s)
