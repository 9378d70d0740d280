"""The packaged encoder and the cards it reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import settings
from pipeline.catalog.embed import ADAPTER, Encoder, operation_card, packaged_weights
from pipeline.errors import SettingsError
from pipeline.types import Operation

EMBEDDER = settings.load().embedder


def test_a_card_says_what_the_operation_does_and_where() -> None:
    operation = Operation("GET", "/pets/{petId}", "getPet", "Get a pet.", "Reads one pet. Needs a key.\nAnd more.")
    assert operation_card(operation) == "Get a pet. Reads one pet. GET pets petId"


def test_a_card_without_summary_speaks_by_its_id() -> None:
    assert operation_card(Operation("POST", "/run", "start_job")) == "start job. POST run"


def test_a_card_says_nothing_twice_and_stays_short() -> None:
    assert operation_card(Operation("GET", "/a", "", "List it", "List it.")) == "List it. GET a"
    assert len(operation_card(Operation("GET", "/a" * 300, "", "long " * 300, "longer " * 300))) < 800


def test_the_packaged_weights_are_the_tested_ones() -> None:
    assert (packaged_weights() / "model.safetensors").is_file()


@pytest.mark.slow
def test_an_adapter_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    shutil.copytree(ADAPTER, tmp_path / "broken")
    (tmp_path / "broken" / "adapter_model.safetensors").write_bytes(b"no tensors")
    for adapter in (tmp_path / "broken", tmp_path / "absent"):
        with pytest.raises(SettingsError, match=adapter.name):
            Encoder(EMBEDDER, adapter)


@pytest.mark.slow
def test_an_adapter_whose_weights_have_no_place_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ADAPTER, tmp_path / "narrow")
    config = json.loads((ADAPTER / "adapter_config.json").read_text())
    (tmp_path / "narrow" / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["query"]}))
    with pytest.raises(SettingsError, match="no place for"):
        Encoder(EMBEDDER, tmp_path / "narrow")


@pytest.mark.slow
def test_the_packaged_adapter_changes_what_the_weights_say() -> None:
    card = "Get credits for a movie. GET movie movie id credits"
    others = ["Get the images of a movie. GET movie movie id images", "List users. GET users"]
    texts = ["who starred in it", card, *others]
    plain, adapted = Encoder(EMBEDDER, adapter=None), Encoder(EMBEDDER)
    assert plain.name != adapted.name  # stored vectors are keyed by it
    before, after = plain.encode(texts), adapted.encode(texts)
    assert (before * after).sum(axis=1).max() < 0.999
    assert after[0] @ after[1] > max(after[0] @ after[2], after[0] @ after[3])


@pytest.mark.slow
def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing-here"):
        Encoder(EMBEDDER.model_copy(update={"model": str(tmp_path / "nothing-here")}))


@pytest.mark.slow
def test_vectors_are_of_unit_length_and_near_for_like_texts() -> None:
    texts = ["Cancel an order", "call off a purchase", "List the weather stations", "x" * 5000]
    encoder = Encoder(EMBEDDER)
    vectors = encoder.encode(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, encoder.dims)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert encoder.encode([]).shape == (0, encoder.dims)
    exact = Encoder(EMBEDDER.model_copy(update={"dtype": "float32"}))
    assert (vectors * exact.encode(texts)).sum(axis=1).min() > 0.998
