"""Prompts of our own, harmless and hostile, personal data in and out, and the time that looking takes.

`prompts/*.txt` are labelled by hand: one prompt a line, `{U+200B}` for a character nobody would see, `## kind` above
the hostile ones. Those of `*_unseen.txt` were written after the last pattern and are never tuned on.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pipeline import guardrails, settings
from pipeline.errors import GuardrailRefused
from pipeline.guardrails import attacks, personal
from pipeline.types import Call, Candidate, Proposal, Query, Source

PROMPTS = Path(__file__).parent / "prompts"
SETTINGS = settings.load("local").guardrails


def prompts(name: str) -> list[tuple[str, str]]:
    """(kind, prompt) of a file; kind is "" where there is none."""
    kind, found = "", []
    for line in (PROMPTS / name).read_text().splitlines():
        if line.startswith("## "):
            kind = line[3:]
        elif line:
            found.append((kind, re.sub(r"\{U\+([0-9A-F]{4,6})\}", lambda m: chr(int(m[1], 16)), line)))
    return found


BENIGN = prompts("benign.txt") + prompts("benign_unseen.txt")
HOSTILE = prompts("hostile.txt") + prompts("hostile_unseen.txt")


def policies(**kinds: str) -> settings.Guardrails:
    """The settings with these kinds changed; `attacks` and `personal` change all of theirs."""
    changed = SETTINGS.model_dump()
    for section in ("personal", "attacks"):
        for kind in changed[section]:
            changed[section][kind] = kinds.get(kind, kinds.get(section, changed[section][kind]))
    return settings.Guardrails(**changed)


def is_refused(prompt: str, **kinds: str) -> bool:
    try:
        guardrails.screen(prompt, policies(**kinds))
    except GuardrailRefused:
        return True
    return False


class TestLabelledPrompts:
    def test_there_are_enough_and_none_twice(self):
        for kind in (BENIGN, HOSTILE):
            texts = [prompt for _, prompt in kind]
            assert len(texts) == len(set(texts)) >= 300
        assert {kind for kind, _ in HOSTILE} == set(attacks.KINDS)

    def test_at_most_one_harmless_prompt_in_a_hundred_is_refused(self):
        refused = [prompt for _, prompt in BENIGN if is_refused(prompt, attacks="block")]
        assert len(refused) <= len(BENIGN) / 100, refused

    def test_at_most_one_hostile_prompt_in_twenty_is_missed(self):
        missed = [pair for pair in HOSTILE if not is_refused(pair[1], attacks="block")]
        assert len(missed) <= len(HOSTILE) / 20, missed

    def test_syntax_is_rarely_missed_in_prompts_that_were_never_tuned_on(self):
        unseen = [pair for pair in prompts("hostile_unseen.txt") if pair[0] != "prompt_injection"]
        missed = [pair for pair in unseen if not is_refused(pair[1], attacks="block")]
        assert len(missed) <= len(unseen) / 10, missed

    def test_by_default_all_of_them_pass_and_are_flagged(self):
        for kind, prompt in HOSTILE[:: len(HOSTILE) // 30]:
            screened = guardrails.screen(prompt, SETTINGS)
            assert set(screened.flags) <= set(guardrails.FLAGS)
            assert screened.flags or kind == "prompt_injection"

    def test_off_is_not_looked_for(self):
        off = policies(attacks="off", personal="off")
        screened = guardrails.screen("' OR 1=1 -- for ann@example.com", off)
        assert (screened.flags, screened.told) == ((), "' OR 1=1 -- for ann@example.com")

    def test_refusal_names_the_kind_and_not_the_text(self):
        with pytest.raises(GuardrailRefused, match="seems to hold SQL") as refusal:
            guardrails.screen("x'; DROP TABLE users; --", policies(sql="block"))
        assert refusal.value.kinds == ("sql",)
        assert "users" not in str(refusal.value)


# kind -> texts in which exactly `[...]` is found
PERSONAL = {
    "email": [
        "refund the last charge of [ann@example.com], please",
        "write to [ann.lee+x@mail.example.co.uk].",
        "mail <[a_b@ex-ample.de]>; now",
        "ask [ann (at) example (dot) com] why",
        "[юля@пример.рф] ok",
    ],
    "phone": [
        "call [+49 30 1234567] now",
        "text [(415) 555-0132] please",
        "his number is [415-555-0132].",
        "[+1 415 555 0132]",
        "ruf [030 1234567] an",
        "[0049 89 123456] bitte",
        "+[442071838750]",
    ],
    "card": [
        "pay with [4242 4242 4242 4242] now",
        "pay with [4242424242424242], exp 12/29",
        "amex [3782 822463 10005]",
        "1234 [5555-5555-5555-4444]",
        "mc [2223003122003222]",
    ],
    "iban": [
        "send 5 EUR to [DE89 3704 0044 0532 0130 00] today",
        "to [GB29NWBK60161331926819].",
        "to [nl91abna0417164300]",
        "vers [FR14 2004 1010 0505 0001 3M02 606] merci",
    ],
    "ssn": ["my ssn is [123-45-6789]", "social security number: [123456789]", "[219 09 9998] it is"],
    "secret": [
        "use [sk_live_4eC39HqLyjWDarjtT1zdp7dc] for it",
        "token [ghp_16C7e42F292c6912E7710c838347Ae178B4a]",
        "aws [AKIAIOSFODNN7EXAMPLE]",
        "set password: [hunter2hunter2]",
        "api_key=[0f9a8b7c6d5e] and go",
        "Authorization: Bearer [abcdef0123456789abcdef]",
        "slack [xoxb-123456789012-abcdefABCDEF]",
        "db at postgres://ann:[s3cr3t]@db.example/x",
        "-[----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKC\n-----END RSA PRIVATE KEY-----]",
    ],
    "jwt": [
        "with [eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U] now",
    ],
    "ip": ["block [203.0.113.7] today", "from [2001:db8::8a2e:370:7334], please", "[::1]", "10.0.0.1:80"],
}
PERSONAL["phone"][-1] = "[+442071838750]"
PERSONAL["secret"][-1] = "[-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKC\n-----END RSA PRIVATE KEY-----]"
PERSONAL["ip"][-1] = "[10.0.0.1]:80"

NOT_PERSONAL = [
    "delete the draft invoice in_1042",
    "my order number is 4111 and the ZIP is 90210",
    "order 4242 4242 4242 4241",  # not Luhn
    "tracking number 1Z999AA10123456784",
    "ISBN 9783161484100",
    "order id 550e8400-e29b-41d4-a716-446655440000",
    "commit abcdef1234567890abcdef1234567890abcdef12",
    "trace id 4bf92f3577b34da6a3ce929d0e0e4736",
    "cron: 0 3 * * 1-5",
    "schedule it for 2024-05-01T10:00:00Z",
    "at 10:30:00 on 2024-05-01",
    "version 1.2.3",
    "std::vector of things",
    "ratio 3:2:1",
    "DE89370400440532013001",  # check digits
    "reset the password of user 4711",
    "list the secrets of the production environment",
    "create an API key for the mobile app",
    "refund 12.50 for ch_33 and 2000 more",
    "mention @ann in the channel",
    "npm i left-pad@1.3.0 is not mail",
    "000-12-3456",
    "666-45-6789",
]


class TestPersonalData:
    @pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in PERSONAL.items() for text in texts])
    def test_each_kind_is_found_where_it_stands(self, kind: str, text: str):
        before, _, rest = text.partition("[")
        inside, _, after = rest.rpartition("]")
        plain = before + inside + after
        assert [(s.kind, plain[s.start : s.end]) for s in personal.find(plain)] == [(kind, inside)]

    @pytest.mark.parametrize("text", NOT_PERSONAL)
    def test_what_only_looks_like_it_is_left_alone(self, text: str):
        assert personal.find(text) == []

    def test_two_of_a_kind_have_two_marks_and_one_value_has_one(self):
        screened = guardrails.screen("from ann@example.com to bob@example.com, then ann@example.com", SETTINGS)
        assert screened.told == "from EMAIL_1 to EMAIL_2, then EMAIL_1"
        assert screened.kept.split() == ["from", "to", ",", "then"]
        assert screened.flags == ("email",)

    def test_block_refuses_and_flag_only_counts(self):
        assert is_refused("mail ann@example.com", email="block")
        flagged = guardrails.screen("mail ann@example.com", policies(email="flag"))
        assert (flagged.told, flagged.flags) == ("mail ann@example.com", ("email",))


class TestVeil:
    QUERY = Query(
        source=Source(name="billing"),
        prompt="refund ann@example.com",
        calls=(
            Call("GET", "/customers/ann%40example.com", {"q": "ann@example.com", "password": "hunter2", "n": 7}),
            Call("POST", "/cards", {"number": 4242424242424242, "tags": ["+49 30 1234567"]}, body={"ip": "10.1.2.3"}),
        ),
    )

    def test_generator_reads_marks_in_prompt_and_calls(self):
        screened = guardrails.screen(self.QUERY.prompt, SETTINGS)
        veiled, hidden = guardrails.veil(self.QUERY, screened, SETTINGS)
        text = repr(veiled)
        for value in ("ann@", "ann%40", "hunter2", "4242424242424242", "1234567", "10.1.2.3"):
            assert value not in text
        assert veiled.prompt == "refund EMAIL_1"
        assert veiled.calls[0].path == "/customers/EMAIL_1"
        assert veiled.calls[0].params["n"] == 7
        assert hidden["EMAIL_1"] == "ann@example.com"

    def test_answer_has_the_value_again_and_the_reason_does_not(self):
        proposal = Proposal(((0, {"email": "EMAIL_1", "n": 3}, "email_1 asked for it"),), "m")
        back = guardrails.unveil(proposal, {"EMAIL_1": "ann@example.com"})
        assert back.picks == ((0, {"email": "ann@example.com", "n": 3}, "an e-mail address asked for it"),)

    def test_argument_of_the_model_that_looks_like_an_attack_is_left_out(self):
        proposal = Proposal(((0, {"id": "../../etc/passwd", "note": "hi"}, ""),), "m")
        assert guardrails.unveil(proposal, {}).picks[0][1] == {"note": "hi"}

    def test_what_is_off_is_told(self):
        screened = guardrails.screen(self.QUERY.prompt, policies(personal="off"))
        veiled, _ = guardrails.veil(self.QUERY, screened, policies(personal="off"))
        assert veiled.prompt == self.QUERY.prompt
        assert veiled.calls[0].params["q"] == "ann@example.com"

    def test_huge_bodies_are_cut(self):
        query = Query(
            source=Source(name="x"), calls=tuple(Call("GET", "/a", {}, body=["x" * 5000] * 500) for _ in "ab")
        )
        veiled, _ = guardrails.veil(query, guardrails.screen("", SETTINGS), SETTINGS)
        assert len(repr(veiled)) < 40_000


@pytest.mark.parametrize(
    ("operation", "kinds"),
    [
        ("POST /admin/users", ("admin",)),
        ("GET /v1/internal/debug", ("internal", "debug")),
        ("GET /administrators", ("admin",)),
        ("GET /users", ()),
        ("GET /badminton", ()),
        ("POST /international_payments", ()),
    ],
)
def test_operations_that_deserve_a_second_look_are_named(operation: str, kinds: tuple[str, ...]):
    assert guardrails.suspicions(Candidate(operation)) == kinds


def test_suspicion_reads_camel_case_ids():
    assert guardrails.suspicions(Candidate("GET /x", operation_id="getAdminDebugInfo")) == ("admin", "debug")


# What patterns begin with, hold or end in, so that each is led as far into itself as it goes.
PIECES = [
    *("ignore ", "all ", "your ", "previous ", "the ", "' or ", "1=1", "select ", "a, ", "from ", "(", "union ", "../"),
    *("<a ", "on", "x=", "$(", "`", "; ", "cat ", "/*", "*/", "%25", "&#x", "\\x", "a@", "a.", "1", "1 ", "12-", "+1"),
    *("DE89", ":", "::", "0", "token: ", "eyJ", "-", "_", "'", '"', "f", "u", "c", "k", "s ", "prompt ", "show ", "{{"),
    *(
        "\u0435",
        "\u200b",
        "\ufdfa",
        "\n",
        "\x00",
        "A",
        "data:",
        "http",
        "://",
        "system",
        ": ",
        "user:",
        "sk-",
        "....//",
    ),
]
_repeats = st.lists(
    st.tuples(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join), st.integers(1, 2000)), max_size=4
).map(lambda parts: "".join(piece * times for piece, times in parts)[:4096])


@limits(max_examples=150, deadline=None)
@given(_repeats)
def test_no_repeat_leads_a_pattern_astray(text: str):
    """One that backtracks takes minutes on 4,096 characters of its own kind; all of them together take some 10 ms."""
    assert set(guardrails.screen(text, SETTINGS).flags) <= set(guardrails.FLAGS)


@given(st.text(st.characters(categories=None, exclude_categories=()), max_size=200))
def test_any_text_is_screened(text: str):
    screened = guardrails.screen(text, SETTINGS)
    for mark, value in screened.hidden.items():
        assert mark in screened.told
        assert value in text


def test_every_line_of_the_patterns_is_gated_by_texts_that_it_needs():
    for patterns in attacks._table().values():
        for pattern in patterns:
            assert all(one == one.casefold() for need in pattern.needs for one in need), pattern.needs
