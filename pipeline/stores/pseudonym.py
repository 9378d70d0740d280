"""What stands for a user's id in every store and label: a keyed hash.

Whoever reads Redis, the journal or a backup cannot tell who it is about, nor try ids out, without the key
(`privacy.secret`). Made where a request comes in and where a user is forgotten, nowhere else: what lies between
knows no other name.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from pipeline import settings
from pipeline.stores.counts import ANONYMOUS


def pseudonym(secret: str, tenant: str, user: str) -> str:
    """32 hexadecimal digits, another in each tenant; "anonymous" stays what it is. `user` may be any text."""
    if user == ANONYMOUS:
        return ANONYMOUS
    told = f"{len(tenant)}:{tenant}{user}".encode("utf-8", "surrogatepass")
    return hmac.digest(secret.encode(), told, "sha256").hex()[:32]


def secret_of(privacy: settings.Privacy, var: Path) -> str:
    """The key of the hash: the setting, else what lies in `user-secret` under `var`, made when it is not there."""
    if told := privacy.secret.get_secret_value():
        return told
    path = var / "user-secret"
    if not path.exists():
        var.mkdir(parents=True, exist_ok=True)
        descriptor, made = tempfile.mkstemp(dir=var)  # 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(made, path)
        os.unlink(made)
    return path.read_text(encoding="ascii").strip()
