"""The names under which things lie in Redis: one table, one place.

    t:{tenant}:name                                hash: name -> Upload
    t:{tenant}:references                          hash: digest -> how many names it has
    t:{tenant}:upload:{digest}                     the bytes of an uploaded spec
    t:{tenant}:spec:{url}, spec:{url}              SpecRecord; without a tenant for public addresses only
    catalog:{compiler}:{digest}                    a compiled catalog
    vectors:{encoder}:{digest}                     the vectors of its operations
    lease:{what}                                   token of who does it
    training:until                                 time of the latest label when a training last started by itself
    t:{tenant}:impression:{id}                     Impression
    t:{tenant}:last:{user}, t:{tenant}:suggested:{user}   id of the user's last impression, last one of propositions
    t:{tenant}:inbox                               stream of QueryGroup
    t:{tenant}:claim                               first and last id of the batch that is being drained
    inboxes                                        set: tenants that have one
    trainings                                      hash: how trainings ended, see `trainings.py`
    apikeys                                        hash: id of a key -> ApiKey, which says whose it is
    t:{tenant}:rate:{key}, ...:rate:{key}:{user}   when the bucket of a key, of a user of it, is empty again
    t:{tenant}:refusals:..., t:{tenant}:block:...  refusals of the last minute; until when nothing is answered
    t:{tenant}:once:{user}:{key}                   what was said under an Idempotency-Key
    t:{tenant}:once:{id}                           what was said of a prediction: hash, then the operation chosen
    t:{tenant}:marks:{id}                          hash: proposition -> what happened to it; "" -> edition
    t:{tenant}:tally:{lineage}                     hash: event U+001F proposition -> how often
    t:{tenant}:experiments                         sorted set: experiments by when something was last shown in them
    t:{tenant}:arms:{experiment}                   hash: arm U+001F what -> how often, see `arms.py`
    cost:{day}, t:{tenant}:cost:{day}              hash: what generators cost on a day (UTC), see `spend.py`
    t:{tenant}:cost:{day}:{token}                  a move of them that was made
    t:{tenant}:follow:{lineage}:{shape}            sorted set: what followed what, see `counts.py`
    t:{tenant}:prompts:{lineage}                   list of Remembered, newest first
    t:{tenant}:losses:{lineage}                    list: what the experts lost at each choice, newest first
    t:{tenant}:user:{user}:{lineage}:follow:{shape}, ...:prompts      the same of one user
    t:{tenant}:user:{user}:{lineage}:accepted      set: operations this user accepted
    t:{tenant}:user:{user}:{lineage}:open          sorted set: predictions that wait for the next call, by time
    t:{tenant}:user:{user}:{lineage}:tail          Tail: where this user's observed calls ended
    t:{tenant}:user:{user}:{lineage}:seen          sorted set: observed calls, by when they were reported

A user is what `pseudonym.py` makes of the id that clients send. Catalogs' names are kept in one hash a
tenant, not in a key each: the quota is then exact, and listing is one read. Written for `state.py` and
its neighbours; pure.
"""

from __future__ import annotations

import hashlib
import re

_PART_MAX = 200  # characters; longer ones (URLs, mostly) are named by their hash


def key(*parts: str) -> str:
    """Parts joined by colons, quoted so that no two lists of parts give the same key."""
    return ":".join(_part(part) for part in parts)


def pattern(*parts: str) -> str:
    """The pattern for SCAN of all keys that begin with these parts."""
    return re.sub(r"([\\*?\[\]^-])", r"\\\1", key(*parts)) + ":*"


def digest_key(kind: str, name: str, digest: str) -> str:
    """The key of what is a pure function of public content."""
    return f"{kind}:{_part(name)}:{digest}"


def shape(operation: str) -> str:
    """The last literal segment of `METHOD /template` and how many parameters follow it: `GET issues/*`.

    What followed an operation is kept by its shape, because a call is read back before it is
    matched: see `shapes_of_call`. "" stays "": the start of a session.
    """
    if not operation:
        return ""
    method, _, path = operation.partition(" ")
    segments = [segment for segment in path.split("/") if segment]
    parameters = 0
    while segments and "{" in segments[-1]:
        segments.pop()
        parameters += 1
    return f"{method} {segments[-1] if segments else ''}" + "/*" * parameters


def shapes_of_call(method: str, path: str, parameters_max: int = 2) -> tuple[str, ...]:
    """The shapes that the operation of a concrete call may have."""
    segments = [segment for segment in path.split("?")[0].split("/") if segment]
    shapes = []
    for parameters in range(min(parameters_max, len(segments)) + 1):
        literal = segments[-1 - parameters] if len(segments) > parameters else ""
        shapes.append(f"{method} {literal}" + "/*" * parameters)
    return tuple(shapes)


def may_be(operation: str, method: str, path: str) -> bool:
    """A concrete call may be a call of this operation: same method, and its path ends like the template."""
    if not operation.startswith(f"{method} "):
        return False
    template = [segment for segment in operation.partition(" ")[2].split("/") if segment]
    segments = [segment for segment in path.split("?")[0].split("/") if segment]
    if len(template) > len(segments):
        return False
    tail = segments[len(segments) - len(template) :]
    return all("{" in pattern or pattern == segment for pattern, segment in zip(template, tail, strict=True))


def _part(text: str) -> str:
    if len(text) > _PART_MAX:
        return "#" + hashlib.sha256(text.encode()).hexdigest()
    return text.replace("%", "%25").replace(":", "%3A").replace("#", "%23")
