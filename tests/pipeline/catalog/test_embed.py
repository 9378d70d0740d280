"""The packaged encoder and the cards it reads."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import settings
from pipeline.catalog.embed import Encoder, operation_card, packaged_map, packaged_weights, read_map
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


def test_a_map_that_cannot_be_read_is_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no tensors")
    for file in (broken, tmp_path / "absent.safetensors"):
        with pytest.raises(SettingsError, match=file.name):
            read_map(file)


@pytest.mark.slow
def test_the_packaged_encoder_maps_what_the_weights_say() -> None:
    texts = ["Cancel an order", "List the weather stations"]
    plain, mapped = Encoder(EMBEDDER, with_map=False), Encoder(EMBEDDER)
    assert plain.name != mapped.name  # stored vectors are keyed by it
    found, _ = read_map(packaged_map())
    np.testing.assert_allclose(mapped.encode(texts), found.apply(plain.encode(texts)), atol=1e-5)
    np.testing.assert_allclose(found.undo(mapped.encode(texts)), plain.encode(texts), atol=1e-5)


@pytest.mark.slow
def test_a_model_that_is_not_there_is_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
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
