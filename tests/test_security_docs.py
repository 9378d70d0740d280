"""docs/security.md says what is: its commands run one after the other, its scopes and limits are the code's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline import settings
from pipeline.stores.apikeys import id_of
from serve.cli import app
from serve.identity import ACCESS
from tests.conftest import ROOT
from tests.documented import every

PAGE = (ROOT / "docs" / "security.md").read_text()
COMMANDS = every("docs/security.md", "opensesame")
SECRET = "only-for-this-test-0123456789abcdef"


@pytest.mark.redis
def test_the_commands_do_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSESAME__PRIVACY__SECRET", SECRET)
    created, ran = "", []
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        if words == ["keys"]:  # the group, named in prose
            continue
        if "..." in words:
            words[words.index("...") :] = ["--tenant", "acme", "--scope", "operator"]
        words = [{"ID": id_of(created) if "revoke" in words else "ana", "T": "acme"}.get(word, word) for word in words]
        here = [] if "check-config" in words else ["--var", str(tmp_path)]
        done = CliRunner().invoke(app, [*words, *here])
        assert done.exit_code == 0, (words, done.output)
        match words:
            case ["keys", "create", *rest] if "--entry" not in rest:
                created = done.stdout.strip()
                assert id_of(created)
            case ["keys", "create", *_]:
                assert "sha256" in done.stderr
            case ["keys", "list"]:
                assert id_of(created) in done.output
            case ["keys", "revoke", _]:
                assert "Revoked" in done.output
            case ["check-config"]:
                assert SECRET not in done.output
        ran.append(" ".join(words[:2]))
    assert {"keys create", "keys list", "keys revoke", "forget --user", "check-config"} <= set(ran)


def test_a_key_looks_as_the_page_says() -> None:
    done = CliRunner().invoke(app, ["keys", "create", "--tenant", "acme", "--scope", "predict", "--entry"])
    key = done.stdout.strip()
    name, secret, check = (
        int(n) for n in re.search(r"(\d+) characters that name it, (\d+) .* and (\d+)", PAGE).groups()
    )
    assert key.startswith("os_")
    assert len(key.replace("_", "")) == len("os") + name + secret + check


def test_the_scopes_open_what_the_page_says() -> None:
    told = dict(re.findall(r"^\| `(predict|feedback|catalogs|operator)` \| (.*) \|$", PAGE, re.MULTILINE))
    for (method, path), scopes in ACCESS.items():
        for scope, row in told.items():
            if scope == "operator":
                named = any(path == root or path.startswith(root + "/") for root in re.findall(r"`(/[a-z-]+)`", row))
            else:
                routes = re.findall(r"`([A-Z]+)(?: (/[^`]+))?`", row)  # `PUT`, `DELETE`, `GET /x`: all of the next path
                paths = [next(p for _, p in routes[i:] if p) for i in range(len(routes))]
                named = (method, path) in {(verb, p) for (verb, _), p in zip(routes, paths, strict=True)}
            assert named == (scope in scopes), (method, path, scope)
        if not scopes:
            assert f"`{path}`" in PAGE.split("Open to everybody")[1].split("\n\n")[0]


def test_the_figures_are_the_settings() -> None:
    loaded = settings.load("cluster")
    limits, fetch, parse = loaded.limits, loaded.fetch, loaded.parse
    for told in (
        f"{limits.user_per_minute:.0f} requests a minute for a user of a key, {limits.user_burst} at once",
        f"{limits.key_per_minute:,.0f} a minute for a key",
        f"after {limits.block_after} refusals within a minute",
        f"429 for {limits.block_s / 60:.0f} minutes",
        f"`auth.cache_s` ({loaded.auth.cache_s:.0f} s)",
        f"`state.join_window_s` ({loaded.state.join_window_s / 3600:.0f} h)",
        f"`state.habit_ttl_s` ({loaded.state.habit_ttl_s / 86400:.0f} days",
        f"`journal.retention_days` ({loaded.journal.retention_days})",
        f"{fetch.wire_limit_bytes >> 20} MiB as sent, {fetch.expanded_limit_bytes >> 20} MiB expanded",
        f"{fetch.read_s:.0f} s without a byte, {fetch.total_s:.0f} s in all",
        f"at most {fetch.redirects} redirects",
        "ports " + " and ".join(map(str, fetch.ports)),
        ", ".join(loaded.auth.algorithms),
    ):
        assert told in PAGE, told
    assert parse.operations_max > 20_000
    for section, key in re.findall(r"`(auth|limits|privacy|state|journal|fetch|guardrails|server)\.(\w+)`", PAGE):
        assert key in getattr(loaded, section).model_dump(), (section, key)
