"""Objects and lists of objects as arguments: whose they are, which fields they keep, when they are no news."""

from __future__ import annotations

from typing import Any

from pipeline.types import Call
from tests.pipeline.candidates.test_arguments import after, body, operation, query

READ = operation("GET", "/get_reservation", query("reservation_id"))
SEARCH = operation("GET", "/search_flight", query("origin"))
CABIN = body("cabin", enum=("economy", "business"))
FLIGHTS = body("flights", "array", items="object", fields=("flight_number", "date"))
UPDATE = operation("POST", "/update_flights", body("reservation_id"), CABIN, FLIGHTS)
PASSENGERS = body("passengers", "array", items="object", fields=("first_name", "dob"))
RENAME = operation("POST", "/update_passengers", body("reservation_id"), PASSENGERS)
ADDRESS = body("address", "object", fields=("street", "city"))
SHIP = operation("POST", "/ship", body("speed"), ADDRESS)


def reservation(key: str, flight: str, **more: Any) -> Call:
    flights = [{"flight_number": flight, "date": "2024-05-20", "price": 124, "seats": {"12A": True}}]
    passengers = [{"first_name": "Anna", "dob": "1986-03-14"}]
    answer = {"reservation_id": key, "cabin": "economy", "flights": flights, "passengers": passengers, **more}
    return Call("GET", "/get_reservation", params={"reservation_id": key}, body=answer)


def test_a_list_of_objects_is_that_of_the_thing_meant_cut_to_its_fields() -> None:
    made = (READ, reservation("Q69X3R", "HAT130")), (READ, reservation("4OG6T3", "HAT174"))
    flights = [{"flight_number": "HAT130", "date": "2024-05-20"}]
    binding = after(*made, prompt="upgrade reservation Q69X3R to business").bind(UPDATE)
    assert binding.params == {"reservation_id": "Q69X3R", "cabin": "business", "flights": flights}
    assert binding.origins["flights"] == ("response", 0)
    latest = after(*made, prompt="to business").bind(UPDATE)
    assert latest.params["flights"] == [{"flight_number": "HAT174", "date": "2024-05-20"}]


def test_what_is_so_far_is_no_news_where_nothing_else_is_set_or_others_were_looked_up() -> None:
    read = READ, reservation("Q69X3R", "HAT130")
    assert after(read).bind(RENAME).missing == ("passengers",)
    search = Call("GET", "/search_flight", params={"origin": "PHL"}, body=[{"flight_number": "HAT223"}])
    assert after(read, (SEARCH, search)).bind(UPDATE).missing == ("flights",)


def test_what_another_call_was_given_stays_and_what_is_done_does_not_come_again() -> None:
    home = {"street": "742 Evergreen Terrace", "city": "Springfield"}
    move = operation("POST", "/move", ADDRESS)
    moved = move, Call("POST", "/move", params={"address": home})
    assert after(moved).bind(SHIP).params == {"address": home}
    assert after(moved).bind(move).missing == ("address",)
    shapes: list[Any] = [[home], {"street": {"name": "x"}, "city": "y"}, {"number": 7}, {}, [], "home", None, [[home]]]
    for odd in shapes:
        assert "address" in after((move, Call("POST", "/move", params={"address": odd}))).bind(SHIP).missing
