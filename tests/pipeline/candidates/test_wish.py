"""What a prompt gives to a parameter: whole ids, whose they are, days, persons, new values instead of old ones."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from pipeline.candidates import parameters, spans
from pipeline.types import Call, Operation, Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation, query


def bound(prompt: str, parameter: Parameter, *made: tuple[Operation, Call], method: str = "GET") -> Any:
    """What one parameter of an operation takes; None where it is missing or left out."""
    return after(*made, prompt=prompt).bind(operation(method, "/things", parameter)).params.get(parameter.name)


def ids(prompt: str) -> list[str]:
    return [span.value for span in spans.extract(prompt) if span.kind == "id"]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Invoice INV-2025-0042", ["INV-2025-0042"]),
        ("claim CLM-24-00913 and bill B2025-0519.", ["CLM-24-00913", "B2025-0519"]),
        ("order ORD/2025/117, part AB-12-C", ["ORD/2025/117", "AB-12-C"]),
        ("from DE44 5001 0517 5407 3249 31 MORE", ["DE44500105175407324931"]),
        ("reservations K7QX2M, BZ41QC", ["K7QX2M", "BZ41QC"]),
        ("COVID-19, UTF-16, Q1-2024, ISO-8601 since 2025-05-01, 20MB, 1080P", []),
    ],
)
def test_an_id_is_read_as_a_whole(prompt: str, expected: list[str]) -> None:
    assert ids(prompt) == expected
    assert all(span.kind != "phone" for span in spans.extract(prompt))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("#W2378156", "#W0000000", True),
        ("K7QX2M", "BZ41QC", True),
        ("K7QX2M", "NW732", False),
        ("MRN-0042871", "MRN-0000777", True),
        ("MRN-0042871", "DR-144", False),
        ("CL88120", "DE44", True),
    ],
)
def test_an_example_says_how_an_id_looks_and_by_its_prefix_whose_it_is(one: str, other: str, alike: bool) -> None:
    assert (parameters.shape(one) == parameters.shape(other)) is alike


def test_an_id_goes_to_the_argument_whose_example_has_its_prefix() -> None:
    record = query("mrn", description="Record number, such as 'MRN-0042871'.")
    assert bound("See DR-144. My record is MRN-0000777", record) == "MRN-0000777"
    assert bound("See DR-144", record) is None
    locator = query("pnr", description="Record locator, such as 'K7QX2M'.")
    assert bound("Flight NW732 was late. It is BZ41QC", locator) == "BZ41QC"


def test_an_id_that_a_call_carries_under_another_name_is_not_taken() -> None:
    client = operation("GET", "/clients/{clientRef}")
    account = query("iban", description="such as 'DE12'")
    made = (client, Call("GET", "/clients/CL60230"))
    assert bound("client reference CL60230", account, made) is None
    assert bound("client reference CL60230 and DE75", account, made) is None
    assert bound("of DE512108001245126199", query("iban", example="DE02120300000000202051"), made) is not None


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        (
            "put droplets 3164494 and 3164495 behind it",
            body("droplet_ids", "array", items="integer"),
            [3164494, 3164495],
        ),
        ("for services PIJ90N7, PF9KMXH and PAB12CD", body("service_ids", "array"), ["PIJ90N7", "PF9KMXH", "PAB12CD"]),
        ("refund ch_123", body("charge"), "ch_123"),
        ("refund ch_123", body("customer"), None),
        ("refund ch_123", body("merchant"), None),
        ("attach it to droplet 3164494", body("droplet_id", "integer"), 3164494),
    ],
)
@pytest.mark.parametrize("required", [True, False])
def test_ids_go_where_their_noun_or_their_prefix_says(
    prompt: str, parameter: Parameter, expected: Any, required: bool
) -> None:
    parameter = msgspec.structs.replace(parameter, required=required)
    assert bound(prompt, parameter, method="POST") == expected


def test_a_verb_before_the_only_id_names_no_other_thing() -> None:
    assert after(prompt="resolve PT4KHLK").bind(operation("PUT", "/incidents/{id}")).params == {"id": "PT4KHLK"}


@pytest.mark.parametrize("prompt", ["with a TTL of 300", "set the ttl to 300", "ttl 300"])
def test_an_optional_number_is_read_behind_its_noun(prompt: str) -> None:
    assert bound(prompt, query("ttl", "integer", required=False)) == 300


DOB = query("dob", description="Date of birth, YYYY-MM-DD.")
SLOT = query("day", description="YYYY-MM-DD")


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("You are Ada Brook, born 1971-05-30", DOB, "1971-05-30"),
        ("You are Ada Brook, 30 May 1971, and come on 9 June 2025", DOB, "1971-05-30"),
        ("I am born on 12 February 1979", query("birthday"), "1979-02-12"),
        ("a slot on 2025-06-09", DOB, None),
        ("my children Ida, 11.3.2020, and Jan, 6.9.2017", DOB, None),
        ("born 1971-05-30, and need a slot", SLOT, None),
        ("My date of birth is 1971-05-30. I want a slot on 2025-06-09", SLOT, "2025-06-09"),
        ("the week of 2025-06-09", query("week", description="Monday of the week, YYYY-MM-DD."), "2025-06-09"),
        ("the week of 2025-06-11", query("week", description="Monday of the week, YYYY-MM-DD."), None),
        ("NW5 of 2025-06-10, not until 2025-06-11", query("departureDate", description="Day of departure"), None),
        ("from 1 March until 31 May 2026", query("start_date", format="date"), "2026-03-01"),
        ("since 31 May 2026", query("end_date", format="date"), None),
        ("a pitch from 3 to 10 October 2026", query("departure", description="Last day"), "2026-10-10"),
        ("my number is +49 170 5551234", query("msisdn"), "+491705551234"),
        ("my number is +49 170 5551234", query("line", description="The phone number of the line."), "+491705551234"),
        ("my number is +49 170 5551234", query("line_id", description="Phone number of the line."), None),
        ("my number is +49 170 5551234", query("text", description="What is sent to the phone number."), None),
        ("You are Igor Pavlov", query("full_name"), "Igor Pavlov"),
        ("You are Igor Pavlov", query("name", description="The full name."), "Igor Pavlov"),
        ("You are sofia_rossi_6602", query("customer_id"), "sofia_rossi_6602"),
        ("You are sofia_rossi_6602", query("order_id"), None),
    ],
)
def test_a_value_is_what_the_parameter_is_said_to_take(prompt: str, parameter: Parameter, expected: Any) -> None:
    assert bound(prompt, parameter) == expected


def test_the_next_id_of_the_prompt_follows_the_one_that_was_dealt_with() -> None:
    target = operation("POST", "/cancel", body("appt", description="such as 'AP-10001'"))
    prompt = "Cancel AP-77120 and AP-77121"
    assert after(prompt=prompt).bind(target).params == {"appt": "AP-77120"}
    first = (target, Call("POST", "/cancel", {"appt": "AP-77120"}))
    assert after(first, prompt=prompt).bind(target).params == {"appt": "AP-77121"}
    second = (target, Call("POST", "/cancel", {"appt": "AP-77121"}))
    assert after(first, second, prompt=prompt).bind(target).missing == ("appt",)


@pytest.mark.parametrize("required", [True, False])
def test_a_write_sets_the_new_value_and_a_look_up_asks_by_the_old_one(required: bool) -> None:
    find = operation("GET", "/find", query("email"))
    update = operation("PATCH", "/people/{id}", body("email", required=required))
    prompt = "change my e-mail from old@x.org to new@x.org"
    found = (find, Call("GET", "/find", {"email": "old@x.org"}))
    assert after(prompt=prompt).bind(find).params == {"email": "old@x.org"}
    assert after(found, prompt=prompt).bind(update).params == {"email": "new@x.org"}
    other_way = "My e-mail should be set to new@x.org, it was old@x.org"
    assert after(prompt=other_way).bind(find).params == {"email": "old@x.org"}
    assert after(prompt=other_way).bind(update).params == {"email": "new@x.org"}


def test_the_only_address_a_change_was_looked_up_by_is_not_what_it_sets() -> None:
    found = (operation("GET", "/find", query("email")), Call("GET", "/find", {"email": "old@x.org"}))
    update = operation("PATCH", "/people/{id}", body("email", required=False))
    assert after(found, prompt="I am old@x.org and want to be called Ada").bind(update).params == {}
    phone = operation("POST", "/phone", body("phone"))
    known = (operation("GET", "/me"), Call("GET", "/me", body={"phone": "020 1111 1111"}))
    assert after(known, prompt="I have a new phone number, 020 7946 0991").bind(phone).params == {
        "phone": "020 7946 0991"
    }


IP = "such as the IPv4 address"
BLOCKS = body("source_addresses", "array", items="string", description="An array of IPs and CIDRs")


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("point www at 203.0.113.9.", body("data", description=f"{IP} of an A record"), "203.0.113.9"),
        ("from 10.0.0.0/8 and 192.168.100.100", BLOCKS, ["10.0.0.0/8", "192.168.100.100"]),
        ("version 1.2.3 of 10.2.2024", body("ip_address"), None),
        ("10.0.0.1 or 10.0.0.2", body("ip_address"), None),
        ("drop example.org.", query("domain_name"), "example.org"),
        ("point it to a.example.net in shop.example.org", query("domain"), "shop.example.org"),
        ("mail ada@example.org about setup.py, e.g. now", query("domain"), None),
        ("it is due 2026-04-15", body("due_date", required=False, description="A date"), "2026-04-15"),
        ("until 2026-04-15", body("expires_at", required=False, description="A date"), "2026-04-15"),
        ("since 2026-04-15", body("expires_at", required=False, description="A date"), None),
        ("tag v3.0.1 from there", query("tag_name"), "v3.0.1"),
        ("restart server web-02.", query("server"), "web-02"),
        ('a coupon called "Welcome"', body("name", required=False), "Welcome"),
        ('for "Welcome"', body("name", required=False), None),
        ('described as "All of it"', body("description", required=False), "All of it"),
    ],
)
def test_addresses_hosts_ends_and_names_are_taken_by_who_is_after_them(
    prompt: str, parameter: Parameter, expected: Any
) -> None:
    assert bound(prompt, parameter, method="POST") == expected


FIND = query("q")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Invite carla@example.com to the budget review", None),
        ("Reply in the thread", None),
        ("Move the all-hands. You're late", None),
        ("Drop Lost from my watch history", "Lost"),
        ("Put The Godfather on my watchlist", "The Godfather"),
        ('Rate "Run Lola Run"', "Run Lola Run"),
        ("Star Wars, please", "Star Wars"),
        ("the film Run Lola Run", "Run Lola Run"),
        ("You are Tindra Falk. You want vitamin D and B12 tested", None),
        ("I'm Ada Brook, from Umeå", None),
        ("I'm Ada Brook, postcode BS6 5QA, at 12 Cotham Vale", None),
        ("Find the new Kingsolver novel. I'm Ada Brook", "Kingsolver"),
        ("My name is Ada Brook. Who directed The Dark Knight?", "The Dark Knight"),
    ],
)
def test_neither_an_imperative_nor_the_caller_is_looked_for(prompt: str, expected: str | None) -> None:
    assert bound(prompt, FIND) == expected


def number(name: str, **more: Any) -> Parameter:
    return query(name, "integer", **more)


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("the fourth season of The Wire", number("season"), 4),
        ("the second episode of the first season", number("season_number"), 1),
        ("season one, episode two", number("episode"), 2),
        ("the first comment", number("comment"), None),
        ("two pages of it", number("page"), None),
        ("turn the volume down to 30", number("volume_percent"), 30),
        ("volume 30", number("volume_percent"), 30),
        ("volume to 30", number("weight"), None),
        ("in six monthly instalments", number("months"), 6),
        ("split it over three months", number("months"), 3),
        ("one day I want to know", number("days"), None),
        ("2 GB more", number("gigabytes"), 2),
        ("raise the daily limit to 2000 euros", number("dailyLimit", description="Daily limit in euros."), 2000),
        ("raise the daily limit to 2000 dollars", number("dailyLimit", description="Daily limit in euros."), None),
        ("the limit from 500 euros to 900 euros", number("dailyLimit", description="Daily limit in euros."), None),
        ("I live at postcode D08 C5P3, born 1990", query("postcode"), "D08 C5P3"),
        ("post code SW1A 1AA", query("postcode"), "SW1A 1AA"),
        ("the zip is in the mail", query("zip"), None),
        ("You are Mary Jane Watson", query("last_name"), "Watson"),
        ("You are Mary Jane Watson", query("first_name"), "Mary"),
        ("You are Jürgen Müller.", query("last_name"), "Müller"),
        ("You are Anne-Marie O'Brien, 30", query("full_name"), "Anne-Marie O'Brien"),
        ("I'm Ludwig van der Berg", query("last_name"), "van der Berg"),
        ("a user Jonas Weld's order", query("last_name"), "Weld"),
    ],
)
def test_what_is_counted_numbered_or_named_in_words_is_read(prompt: str, parameter: Parameter, expected: Any) -> None:
    assert bound(prompt, parameter) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("the 20 newest drafts", 20),
        ("max 100 per page", 100),
        ("time range short, 30 of them", 30),
        ("any status, 250 at most", 250),
        ("the next 5 events", 5),
        ("the next 5 days", None),
        ("room 30, please", None),
        ("order 12 bags", None),
    ],
)
@pytest.mark.parametrize("name", ["limit", "page_size", "take"])
def test_how_many_are_wanted_stands_before_or_behind_the_number(prompt: str, name: str, expected: int | None) -> None:
    assert bound(prompt, query(name, "integer", required=False)) == expected


# What a prompt is made of where arguments are found, each with numbers of any size.
_PIECES = (
    "{a:04}-{b:02}-{c:02}|{a:04}-{b:02}-{c:02}T{b:02}:{c:02}:00Z|{b}.{c}.{a}|{b}-{c} May {a}|${b}.{c}.{a}|{b} euros|"
)
_PIECES += "born|week|Monday of|volume|to|season|{b}th|three|months|+49{a}{b}{c}|zip {a}{b}|INV-{a}-{b}|You are|new"
_PIECES += "|Ada Lovelace"
_TAKERS = (
    query("week", description="Monday of the week, YYYY-MM-DD"),
    query("dob", description="Date of birth"),
    query("from_date", format="date-time"),
    query("until", description="Last day."),
    query("amount", "integer", description="In cents"),
    query("daily_limit", "number", description="In euros."),
    query("volume_percent", "integer"),
    query("season", "integer"),
    query("months", "integer"),
    query("contact", description="Phone number"),
    query("zip"),
    query("name", description="Full name"),
    query("invoice_id", description="such as 'INV-2025-0042'"),
    query("q"),
)


@effort(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(_PIECES.split("|")), st.integers(0, 9999), st.integers(0, 99), st.integers(0, 99))
    )
)
def test_no_numbers_in_a_prompt_are_too_odd_to_be_read(said: list[tuple[str, int, int, int]]) -> None:
    prompt = " ".join(piece.format(a=a, b=b, c=c) for piece, a, b, c in said)
    binding = after(prompt=prompt).bind(operation("POST", "/things", *_TAKERS))
    assert {*binding.params, *binding.missing} == {p.name for p in _TAKERS}


@pytest.mark.parametrize("day", ["2025-02-31", "2025-13-45", "0000-01-01", "9999-99-99T10:00:00Z", "31.02.2025"])
def test_what_is_no_day_fills_nothing(day: str) -> None:
    assert bound(f"the rota of {day}", query("week", description="Monday of the week, YYYY-MM-DD")) is None
    assert bound(f"the rota of {day}", query("date", format="date")) is None


def test_a_list_takes_all_ids_and_a_single_one_the_next() -> None:
    prompt = "Withdraw claims CLM-55030, CLM-55031 and CLM-55032."
    withdraw = operation("POST", "/withdraw_claim", body("claim_id"))
    made = [(withdraw, Call("POST", "/withdraw_claim", params={"claim_id": f"CLM-5503{n}"})) for n in range(2)]
    assert [after(*made[:n], prompt=prompt).bind(withdraw).params["claim_id"][-2:] for n in range(3)] == [
        "30",
        "31",
        "32",
    ]
    listed = bound(prompt, body("claim_ids", "array", items="string"), method="POST")
    assert listed == ["CLM-55030", "CLM-55031", "CLM-55032"]
    assert bound("the june-july 2026 invoices", query("invoice_id")) is None


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("in basic economy please", "basic_economy"),
        ("from business to economy", "economy"),
        ("is business better than economy?", None),
        ("basic economy, or else economy", None),
    ],
)
def test_of_several_literals_the_whole_one_or_what_it_is_changed_to(prompt: str, expected: str | None) -> None:
    assert bound(prompt, query("cabin", enum=("basic_economy", "economy", "business"))) == expected


def test_of_several_literals_the_one_not_given_yet() -> None:
    period = body("period", enum=("daily", "monthly"))
    limit = operation("POST", "/set_limit", body("card_id"), period)
    made = limit, Call("POST", "/set_limit", params={"card_id": "card_5f21ab", "period": "monthly"})
    session = after(made, prompt="raise the monthly limit of card_5f21ab, and the daily one")
    assert session.bind(limit).params == {"card_id": "card_5f21ab", "period": "daily"}


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("add 2 GB for $10", body("gb_amount", "number"), 2),
        ("add 1.5gb", body("gb_amount", "number"), 1.5),
        ("five gigabytes more", body("gb_amount", "number"), 5),
        ("with 2 bags for $90", body("total_baggages", "integer"), 2),
        ("it costs $90", body("total_baggages", "integer"), None),
    ],
)
def test_a_count_in_a_unit_is_no_money(prompt: str, parameter: Parameter, expected: float | None) -> None:
    assert bound(prompt, parameter, method="POST") == expected


def test_a_write_takes_what_the_prompt_says_instead_of_what_is_so_far() -> None:
    read = operation("GET", "/get_booking", query("booking_id"))
    move = operation("POST", "/move_booking", body("booking_id"), body("cabin", enum=("economy", "business")))
    pay = operation("POST", "/credit_bill", body("booking_id"), body("amount", "number"))
    answer = {"booking_id": "K7QX2M", "cabin": "economy", "amount": 60.0}
    made = read, Call("GET", "/get_booking", params={"booking_id": "K7QX2M"}, body=answer)
    prompt = "Upgrade K7QX2M to business class, and credit me $12.50."
    assert after(made, prompt=prompt).bind(move).params == {"booking_id": "K7QX2M", "cabin": "business"}
    assert after(made, prompt=prompt).bind(pay).params == {"booking_id": "K7QX2M", "amount": 12.5}
    assert after(made, prompt="the same again").bind(pay).params == {"booking_id": "K7QX2M", "amount": 60.0}


def test_the_next_of_several_amounts_goes_to_the_next_call() -> None:
    send = operation(
        "POST", "/send_voucher", body("user_id", description="such as 'sara_doe_496'"), body("amount", "integer")
    )
    made = send, Call("POST", "/send_voucher", params={"user_id": "james_patel_9828", "amount": 50})
    prompt = "Send a $50 voucher to james_patel_9828, then one for $150 to lucas_silva_2020."
    assert after(made, prompt=prompt).bind(send).params == {"user_id": "lucas_silva_2020", "amount": 150}


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("one way, no insurance", body("insurance", enum=("yes", "no")), "no"),
        ("without any insurance please", body("insurance", enum=("yes", "no")), "no"),
        ("business, with insurance", body("travel_insurance", "boolean"), True),
        ("what does the insurance cost?", body("insurance", enum=("yes", "no")), None),
        ("my vacation begins", body("reason", description="'lost_or_stolen', 'vacation' or 'other'."), "vacation"),
        (
            "ordered by mistake",
            body("reason", description="'no longer needed' or 'ordered by mistake'"),
            "ordered by mistake",
        ),
        ("my vacation begins", body("reason", description="What it is, such as 'vacation'."), None),
    ],
)
def test_a_setting_is_what_the_prompt_says_of_it(prompt: str, parameter: Parameter, expected: object) -> None:
    assert bound(prompt, parameter, method="POST") == expected


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("from ACC-1042 to ACC-2093", body("from_account_id"), "ACC-1042"),
        ("from ACC-1042 to ACC-2093", body("to_account_id", required=False), "ACC-2093"),
        ("switch L5600 to P1011", body("new_plan_id"), "P1011"),
        ("change the lamp in order #W9300146", body("new_item_ids", "array", items="string"), None),
        ("pay DE89 3704 0044 0532 0130 00 from ACC-1042", body("to_iban"), "DE89370400440532013000"),
        ("pay DE89 3704 0044 0532 0130 00 from ACC-1042", body("account_id"), "ACC-1042"),
        ("add data to L3100 (customer C2044)", body("line_id", description="e.g. 'L1001'"), "L3100"),
        ("my L4410 (account C2300)", body("customer_id", description="e.g. 'C1001'"), "C2300"),
        ("my L4410, please", body("customer_id", description="e.g. 'C1001'"), None),
        ("charged twice: tx_4411aa01", body("transaction_id", description="Such as 'tx_90af31c2'."), "tx_4411aa01"),
        ("reservation HXDUBJ, then reservation GV1N64", body("reservation_id"), "HXDUBJ"),
        ("IBAN AT611904300234573201 and 5 EUR to ES9121000418450200051332", body("to_iban"), "AT611904300234573201"),
        ("seat 14C in IFOYYZ, on HAT271", body("reservation_id", description="Such as '8JX2WO'."), "IFOYYZ"),
        ("SEAT 14C IN IFOYYZ", body("reservation_id", description="Such as '8JX2WO'."), None),
        ("the caller is Maria Gonzalez", body("full_name"), "Maria Gonzalez"),
    ],
)
def test_an_id_goes_where_its_form_or_its_side_says(prompt: str, parameter: Parameter, expected: object) -> None:
    order = operation("GET", "/orders", query("order_id"))
    made = order, Call("GET", "/orders", params={"order_id": "7"})  # a first call takes the only id there is
    assert bound(prompt, parameter, made, method="POST") == expected


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("on 2025-10-01, please", body("execution_date", required=False, format="date"), "2025-10-01"),
        ("before 2025-10-01, please", body("execution_date", required=False, format="date"), None),
        ("on 2025-10-01 at noon", body("ends_at", required=False, format="date-time"), None),
        ("first on 2025-10-05 until 2026-10-05", body("first_date", format="date"), "2025-10-05"),
        ("first on 2025-10-05 until 2026-10-05", body("last_date", required=False, format="date"), "2026-10-05"),
        ("recipient Jonas Weber", body("recipient_name", required=False), "Jonas Weber"),
        ("guests Li Wen and Jo Paz", body("guestName"), "Li Wen"),
        ("water damage, about 1800 euros", body("amount", "number", required=False), 1800),
        ("900 euros for one, 80 euros for two", body("amount", "number", required=False), None),
        ("a cap of 50 dollars", body("cap_usd", "integer", description="Cap in US dollars."), 50),
        ("economy, no insurance, 1 bag", body("insurance", enum=("yes", "no")), "no"),
        ("what does it cost with insurance and without insurance?", body("insurance", "boolean"), None),
        ("my new number is 555-818-3030", body("phone_number", required=False), "555-818-3030"),
        ("send it to 43026", body("postal_address", required=False), None),
        (
            "with gift_card_6276644, I'm ada_kim_8776",
            body("payment_id", description="'credit_card_7', 'gift_card_7815826'"),
            "gift_card_6276644",
        ),
        (
            "I'm not sure, ada_kim_8776 or not",
            body("payment_id", description="'credit_card_7815826', 'gift_card_7815826'"),
            None,
        ),
    ],
)
def test_a_write_takes_what_is_said_once(prompt: str, parameter: Parameter, expected: object) -> None:
    order = operation("GET", "/orders", query("order_id"))
    made = order, Call("GET", "/orders", params={"order_id": "7"})
    assert bound(prompt, parameter, made, method="POST") == expected


def test_of_two_days_that_something_takes_neither_is_the_day() -> None:
    book = operation(
        "POST", "/book", body("arrives", required=False, format="date"), body("day", required=False, format="date")
    )
    assert after(prompt="on 2025-10-01").bind(book).params == {}


def test_what_was_read_already_is_not_read_again_where_an_answer_names_another() -> None:
    user, read = operation("GET", "/get_user", query("user_id")), operation("GET", "/get_trip", query("reservation_id"))
    listed = user, Call("GET", "/get_user", params={"user_id": "u1"}, body={"reservations": ["MDC1VA", "K1NW8N"]})
    made = read, Call("GET", "/get_trip", params={"reservation_id": "MDC1VA"})
    prompt = "Upgrade reservation MDC1VA, and tell me of the other one."
    assert after(listed, prompt=prompt).bind(read).params == {"reservation_id": "MDC1VA"}
    assert after(listed, made, prompt=prompt).bind(read).params == {"reservation_id": "K1NW8N"}
    assert after(made, prompt=prompt).bind(read).params.get("reservation_id") in (None, "MDC1VA")
