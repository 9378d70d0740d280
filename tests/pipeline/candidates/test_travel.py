"""What of the candidates travels: objects and their parts."""

from __future__ import annotations

from pipeline.candidates import travel
from pipeline.types import Candidate, Parameter


def test_of_an_object_that_is_too_long_neither_parts_nor_lacks_are_told() -> None:
    params = {"ticket": {"subject": "x" * 900, "status": "open"}, "note": "y"}
    origins = {"ticket.subject": ("prompt", -1), "ticket.status": ("prompt", -1), "note": ("prompt", -1)}
    made = Candidate("PUT /tickets", params=params, missing_params=("ticket.comment",), origins=origins)
    assert travel.fit((made,), (), travel.LIMIT_BYTES) == (made,)
    (light,) = travel.fit((made,), (), 4_400)
    assert light.params == {"note": "y"}
    assert light.missing_params == ("ticket",)
    assert light.origins == {"note": ("prompt", -1)}


def test_parts_stay_where_the_catalog_is() -> None:
    whole = Parameter("ticket", "body", type="object", fields=("id",), parts=(Parameter("id", "body"),))
    (offered,) = travel.fit((Candidate("PUT /tickets"),), ((whole,),), travel.LIMIT_BYTES)
    assert offered.schema == (Parameter("ticket", "body", type="object"),)
