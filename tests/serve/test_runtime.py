"""A machine on which the service cannot start: said before anything is."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pipeline import settings as configuration
from pipeline.errors import SettingsError
from serve.runtime import Runtime


@pytest.mark.parametrize(("section", "name"), [("server", "port"), ("ray", "dashboard_port")])
def test_a_port_that_is_taken_is_named_with_its_setting_before_anything_starts(section: str, name: str, tmp_path: Path):
    with socket.socket() as theirs, socket.socket() as ours:
        theirs.bind(("127.0.0.1", 0))
        theirs.listen()
        ours.bind(("127.0.0.1", 0))
        free, taken = ours.getsockname()[1], theirs.getsockname()[1]
        ours.close()
        ports = {("server", "port"): free, ("ray", "dashboard_port"): 0} | {(section, name): taken}
        settings = configuration.load("local")
        settings = settings.model_copy(
            update={
                "server": settings.server.model_copy(update={"port": ports["server", "port"]}),
                "ray": settings.ray.model_copy(update={"dashboard_port": ports["ray", "dashboard_port"]}),
            }
        )
        with pytest.raises(SettingsError, match=rf"{taken} .*\({section}\.{name}\)"):
            Runtime(settings, tmp_path / "var").start()
    assert not (tmp_path / "var").exists()
