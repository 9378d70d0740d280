"""What names identify, where no id says it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.catalog.relations import PAIR, Relations
from pipeline.types import Catalog, Operation, Parameter


@pytest.mark.parametrize(
    ("parameter", "grade"),
    [
        (Parameter("channel", "body", required=True, type="string"), 1.0),
        (Parameter("channel", "body", required=True, type="string", description="Name of the channel."), 0.0),
        (Parameter("channel", "body", required=True, type="string", enum=("sms", "mail")), 0.0),
        (Parameter("channel", "body", type="string"), 0.0),
        (Parameter("topic", "body", required=True, type="string"), 0.0),
    ],
)
def test_a_text_called_as_what_answers_hold_with_an_id_is_a_need(parameter: Parameter, grade: float) -> None:
    found = Operation("GET", "/conversations.list", response_fields=("channels.id", "channels.topic"))
    send = Operation("POST", "/chat.postMessage", parameters=(parameter,), verb="create")
    made = Relations(Catalog("sha256:0", operations=(found, send)))
    assert made.pairs(np.array([0]), np.array([1]))[0, PAIR["supplied"], 0] == pytest.approx(grade)
