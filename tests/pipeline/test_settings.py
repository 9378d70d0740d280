"""Settings: base, overlay, environment; what is unknown or out of range is an error that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline import settings
from pipeline.errors import SettingsError


def test_the_environment_beats_the_overlay_and_the_overlay_beats_the_base(tmp_path: Path, monkeypatch):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("server: {port: 9000}\npredict: {k_default: 7}\n")
    monkeypatch.setenv("OPENSESAME__SERVER__PORT", "9001")
    loaded = settings.load(overlay)
    assert (loaded.server.port, loaded.predict.k_default) == (9001, 7)
    assert loaded.server.host == settings.load("local").server.host


@pytest.mark.parametrize(
    ("overlay", "says"),
    [
        ("server: {prot: 1}", "server.prot"),
        ("surver: {port: 1}", "surver"),
        ("server: {port: 70000}", "server.port"),
        ("catalogs: {replicas: {min: 3, max: 1}}", "min 3 is above max 1"),
        ("state: {url: mysql://x}", "state.url"),
        ("generator: {enabled: true}", "an enabled generator needs a model"),
        ("generator: {num_gpus: 1, tensor_parallel_size: 2}", "tensor_parallel_size 2 needs as many num_gpus"),
        ("generator: {max_model_len: 4096, overview_tokens: 3000}", "overview_tokens 3000 is over half"),
        ("generator: {mode: guess}", "generator.mode"),
        ("generator: {options: 60}", "generator.options"),
        ("server: [", "is not YAML"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, overlay: str, says: str):
    file = tmp_path / "bad.yaml"
    file.write_text(overlay)
    with pytest.raises(SettingsError, match=r"bad\.yaml") as refused:
        settings.load(file)
    assert says in refused.value.detail


def test_an_unknown_key_of_the_environment_is_an_error(monkeypatch):
    monkeypatch.setenv("OPENSESAME__SERVER__PROT", "1")
    with pytest.raises(SettingsError, match="prot"):
        settings.load()


def test_the_base_declares_every_key_with_a_comment_for_each_section():
    base = yaml.safe_load((settings.resource("configs") / "base.yaml").read_text())
    for section, model in settings.Settings.model_fields.items():
        assert set(base[section]) == set(model.annotation.model_fields), section


def test_settings_are_frozen_and_travel():
    import pickle

    loaded = settings.load()
    with pytest.raises(ValueError, match="frozen"):
        loaded.server.port = 1
    assert pickle.loads(pickle.dumps(loaded)) == loaded
