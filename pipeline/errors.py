"""Every exception of ours, in one tree.

    OpenSesameError
    ├── BadRequest                 the request is malformed
    │   └── GuardrailRefused       the guard will not let it in
    ├── Unauthorized               nobody known asks
    ├── Forbidden                  not from this place or with this identity
    ├── NotFound                   no such thing for this tenant
    │   ├── UnknownCatalog
    │   ├── UnknownPrediction
    │   └── UnknownModel
    ├── Gone                       it was there, its time is over
    ├── Conflict                   another outcome or body for the same key
    ├── TooLarge                   over a size limit
    ├── UnsupportedMedia           not a content type we read
    ├── SpecError                  not a usable spec
    │   ├── SpecInvalid            what it says cannot be read as OpenAPI
    │   └── SpecUnavailable        its URL is refused, missing or slow: one text for all
    ├── Unavailable                try again, after `retry_after_s`
    │   ├── CatalogPreparing
    │   ├── StateUnavailable
    │   ├── RegistryUnavailable
    │   ├── Overloaded
    │   └── RateLimited            this key or user asks too often
    ├── GeneratorError             late, broken or garbage; degrades the answer, never fails it
    ├── RankerArtifactError        a saved ranker that must not be served
    ├── JournalError               the journal's files cannot be read or written
    ├── UnknownOperation           a candidate that is not in the catalog
    └── SettingsError              the configuration cannot be used

Each class has a stable `slug`; the ingress alone assigns HTTP statuses. Every constructor
argument goes to `super().__init__`, so that an exception survives pickling.
"""

from __future__ import annotations


class OpenSesameError(Exception):
    """Root of the tree; `detail` says what to mend, in one sentence."""

    slug = "error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class BadRequest(OpenSesameError):
    slug = "bad_request"


class GuardrailRefused(BadRequest):
    slug = "guardrail_refused"

    def __init__(self, detail: str, kinds: tuple[str, ...] = ()) -> None:
        OpenSesameError.__init__(self, detail)
        self.args = (detail, kinds)
        self.kinds = kinds  # of `guardrails.FLAGS`


class Unauthorized(OpenSesameError):
    slug = "unauthorized"


class Forbidden(OpenSesameError):
    slug = "forbidden"


class NotFound(OpenSesameError):
    slug = "not_found"


class UnknownCatalog(NotFound):
    slug = "unknown_catalog"


class UnknownPrediction(NotFound):
    slug = "unknown_prediction"


class UnknownModel(NotFound):
    slug = "unknown_model"


class Gone(OpenSesameError):
    slug = "gone"


class Conflict(OpenSesameError):
    slug = "conflict"


class TooLarge(OpenSesameError):
    slug = "too_large"


class UnsupportedMedia(OpenSesameError):
    slug = "unsupported_media"


class SpecError(OpenSesameError):
    slug = "spec_error"


class SpecInvalid(SpecError):
    """`where` is a JSON pointer or a line, empty for the whole document."""

    slug = "spec_invalid"

    def __init__(self, detail: str, where: str = "") -> None:
        super().__init__(detail)
        self.args = (detail, where)
        self.where = where


class SpecUnavailable(SpecError):
    """One text for a refused, missing and slow URL alike, so that nobody scans networks through us."""

    slug = "spec_unavailable"

    def __init__(
        self,
        detail: str = "The spec URL could not be fetched: it must be public, reachable over http or "
        "https within the time limit, and answer 200 with an OpenAPI document within the size limit.",
    ) -> None:
        super().__init__(detail)


class Unavailable(OpenSesameError):
    slug = "unavailable"

    def __init__(self, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.args = (detail, retry_after_s)
        self.retry_after_s = retry_after_s


class CatalogPreparing(Unavailable):
    slug = "catalog_preparing"


class StateUnavailable(Unavailable):
    slug = "state_unavailable"


class RegistryUnavailable(Unavailable):
    slug = "registry_unavailable"


class Overloaded(Unavailable):
    slug = "overloaded"


class ReplicaGone(Overloaded):
    """A replica that was asked, or its machine, was lost or stopped before it answered."""

    slug = "replica_gone"


class RateLimited(Unavailable):
    slug = "rate_limited"


class GeneratorError(OpenSesameError):
    """`asked` is true when a model was at work for it, so that it may have cost something."""

    slug = "generator_error"

    def __init__(self, detail: str, asked: bool = False) -> None:
        super().__init__(detail)
        self.args = (detail, asked)
        self.asked = asked


class RankerArtifactError(OpenSesameError):
    """`reason` is one of a closed set, for counting: hash, fingerprint, artefact, slow."""

    slug = "ranker_artifact"

    def __init__(self, detail: str, reason: str = "artefact") -> None:
        super().__init__(detail)
        self.args = (detail, reason)
        self.reason = reason


class JournalError(OpenSesameError):
    slug = "journal"


class UnknownOperation(OpenSesameError):
    slug = "unknown_operation"


class SettingsError(OpenSesameError):
    slug = "settings"
