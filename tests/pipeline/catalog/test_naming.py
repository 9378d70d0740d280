"""What a prompt calls by name, and whether it says that this made something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalog.naming import names, own_kinds, without_new


@pytest.mark.parametrize(
    "prompt",
    [
        "the films directed by Ana Lima",
        "Ana Lima's latest film",
        "what has she done? Ana Lima's films, please",
        "which plays did Ana Lima direct",
        "all that Ana Lima wrote",
        "Show Ana Lima's debut",
        "films by Ana Lima and Ivo Kranjec",
        "the works of Ana de Lima",
        "films by ana lima",
        "Show Me Films By Ana Lima",
        "SHOW ME THE FILMS BY ANA LIMA",
        "show Ana Lima's films",
    ],
)
def test_who_made_something_is_a_person(prompt: str) -> None:
    first = names(prompt)[0]
    assert first.makes
    assert first.as_person > first.as_firm


@pytest.mark.parametrize("prompt", ["games made by Hollow Log Games", "Hollow Log Games' newest game"])
def test_a_name_that_ends_like_a_firms_is_one(prompt: str) -> None:
    assert [(named.makes, named.as_person, named.as_firm) for named in names(prompt)] == [(True, 0.0, 1.0)]


@pytest.mark.parametrize(
    ("prompt", "beside"),
    [
        ("which songs are on the album Blue Train", "album the"),
        ("which songs are on the Blue Train album", "album"),
        ('keywords of the movie "Titanic"', "movie the"),
        ("films of the director Ana Lima", "director the"),
        ("find the movie: Dune", "movie the"),
        ("Invite Ana Lima to it", ""),
        ("I just saw the film Dune. Show me its reviews", "film the"),
    ],
)
def test_the_kind_stands_right_beside_a_name(prompt: str, beside: str) -> None:
    assert [named.beside for named in names(prompt)] == [beside]


@pytest.mark.parametrize(
    "prompt",
    [
        "who is the director of Ana Karenina",
        "reviews of Slow Burn",
        "when was Gullwing Park built",
        "did Marrowfat Display win something",
        "what does Brass Lantern cost",
        'the score of "Ana Lima"',
        "the cast of Harry Potter",
        "when did Dune release",
        "How much money did Titanic make",
        "when does Flight LH400 depart",
        "Breaking Bad's last episode",
        "Today's top songs",
        "Germany's biggest cities",
        "hotels close by Alexanderplatz",
        "list invoices due by Friday",
        "show the Jenkins builds",
        "weather in New York City",
        "Virginia Beach hotels",
        "reviews of Charlie's Angels",
        'comment "I checked the invoice"',
    ],
)
def test_what_is_only_spoken_of_made_nothing(prompt: str) -> None:
    assert [(named.makes, named.as_person < 0.5, named.as_firm < 0.5) for named in names(prompt)] == [
        (False, True, True)
    ]


def test_a_museum_says_in_its_name_what_it_is() -> None:
    assert [named.last for named in names("what is on at the Ashmolean Museum")] == ["museum"]


@pytest.mark.parametrize(
    "prompt", ["Show all of it", "What's new? Anything by them?", "getUserById of x7Kq", "I and I", ""]
)
def test_a_capital_alone_names_nothing(prompt: str) -> None:
    assert names(prompt) == ()


@given(st.text(st.sampled_from("aAbB 's\"“.,&-éÉ’\nby of the did"), max_size=200))
def test_any_text_can_be_read(prompt: str) -> None:
    for named in names(prompt):
        assert 0 <= named.as_person <= 1
        assert 0 <= named.as_firm <= 1


@pytest.mark.parametrize(
    "prompt",
    [
        "create a playlist called 'Leg Day'",
        "Create an empty private list for the gym, call it 'Leg Day'",
        "build me a 20 song list named Leg Day",
        "turn my liked songs into a playlist called 'Leg Day'",
        "start a project Leg Day in workspace 5510",
        "put all of it into a new list titled 'Leg Day'",
        "rename list 7 to 'Leg Day'",
        "make a map that is called Leg Day",
    ],
)
def test_what_a_new_thing_is_to_be_called_names_nothing_that_is_there(prompt: str) -> None:
    assert names(prompt) == ()
    assert "Leg" not in without_new(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "find a song called 'Leg Day'",
        "play a track named Leg Day",
        "create a list with songs by 'Leg Day'",
        "delete my list named 'Leg Day'",
        "who directed the new movie Leg Day",
        "open an issue in 'Leg Day'",
        "rename 'Leg Day'",
    ],
)
def test_what_is_looked_for_by_its_name_stays(prompt: str) -> None:
    assert len(names(prompt)) == 1
    assert without_new(prompt) == prompt


@pytest.mark.parametrize(
    ("prompt", "kinds", "is_own"),
    [
        ("delete my board 'Ideas'", "board", True),
        ("add it to our board called 'Ideas'", "board", True),
        ("pin it to the board 'Ideas'", "", False),
        ("take 'Ideas' off my own boards", "boards", False),
    ],
)
def test_what_is_the_callers_own_is_heard(prompt: str, kinds: str, is_own: bool) -> None:
    assert own_kinds(prompt) == kinds
    assert [named.is_own for named in names(prompt)] == [is_own]


@given(st.text(alphabet="my new a called 'XYz' to rename into .;", max_size=400))
def test_any_prompt_is_read_in_bounded_time(prompt: str) -> None:
    assert len(without_new(prompt)) <= len(prompt)
    assert own_kinds(prompt) is not None
