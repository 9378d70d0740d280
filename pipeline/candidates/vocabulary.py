"""Words by which a wish is read: what parameters are called, and what people say of days, amounts, persons and kinds.

Lower case, plural endings taken off where `wish.py` does so before it looks.
"""

from __future__ import annotations

import re

FREE_TEXT = frozenset(("q", "query", "search", "keyword", "keywords", "kw", "term", "terms", "phrase", "contains"))
TEXT = frozenset(("title", "name", "body", "message", "content", "text", "description", "summary", "subject", "note"))
NAMED = frozenset(("named", "called", "titled", "name", "title", "saying", "says", "message", "text", "subject"))
CUE_NOISE = frozenset(
    (
        "number",
        "no",
        "id",
        "ids",
        "called",
        "named",
        "is",
        "was",
        "are",
        "were",
        "the",
        "nr",
        "code",
        "key",
        "with",
        "of",
        "a",
        "an",
        "my",
    )
)
FIRST_DAY = frozenset(
    (
        "since",
        "from",
        "after",
        "start",
        "starts",
        "begin",
        "min",
        "gte",
        "gt",
        "starting",
        "between",
        "checkin",
        "arrival",
        "pickup",
        "in",
    )
)
LAST_DAY = frozenset(
    (
        "until",
        "to",
        "before",
        "end",
        "ends",
        "max",
        "lte",
        "lt",
        "till",
        "through",
        "and",
        "ending",
        "checkout",
        "out",
        "dropoff",
        "due",
        "deadline",
        "expire",
        "expires",
        "expiry",
    )
)
DAY = frozenset(
    (
        "date",
        "day",
        "at",
        "on",
        "time",
        "when",
        "due",
        "created",
        "updated",
        "departure",
        "checkin",
        "checkout",
        "in",
        "out",
    )
)
PLAIN_DAY = frozenset(("date", "day", "datetime", "time", "at", "on", "in", "to", "from"))
DUE = frozenset(("due", "by", "until", "till", "deadline"))
# What else than its making happens to a thing: days of it are meant only where it is said.
HAPPENED = frozenset(
    ("updated", "modified", "changed", "closed", "published", "processed", "deleted", "archived", "edited", "viewed")
)
DONE = HAPPENED | frozenset(  # what a prompt says of what is behind it
    re.findall(
        r"\w+",
        "created received sent completed finished sold paid posted opened shipped delivered made placed was were did "
        "had happened released issued bought ordered won lost",
    )
)
BIRTH = frozenset(("birth", "birthday", "birthdate", "dob", "born"))
CHANGES = frozenset(("change", "changed", "update", "replace", "switch", "correct", "set", "new", "moved"))
GIVERS = frozenset(("from", "sender", "caller", "source"))  # whose phone number is another than the one called
# Who an API serves: an id that the caller is introduced by is theirs.
SERVED = frozenset(
    re.findall(
        r"\w+",
        "user customer client patient guest traveller traveler passenger subscriber tenant student member policyholder "
        "resident employee",
    )
)
LIMITS = frozenset(("limit", "perpage", "pagesize", "maxresult", "maxitem", "top", "first", "size", "take"))
COUNTS = frozenset(("last", "first", "next", "top", "latest", "recent", "newest", "limit", "only", "most"))
# What stands behind the number of things that are wanted.
COUNTED = frozenset(
    (("newest",), ("latest",), ("oldest",), ("most", "recent"), ("at", "most"), ("per", "page"), ("of", "them"),
     ("results",), ("entries",), ("hits",))
)  # fmt: skip
DATE_WORDS = FIRST_DAY | LAST_DAY | DAY
DOMAIN_CUES = frozenset(("in", "of", "for", "domain", "zone", "on"))  # before the domain that something is in
PERSON = {
    "fullname": "full_name",
    "firstname": "first_name",
    "forename": "first_name",
    "givenname": "first_name",
    "lastname": "last_name",
    "familyname": "last_name",
    "surname": "last_name",
}
# Kind of span -> words of a parameter's name that take it.
TYPED = {
    "email": frozenset(("email", "mail")),
    "url": frozenset(("url", "uri", "link", "href", "website", "homepage")),
    "uuid": frozenset(("uuid", "guid")),
    "zip": frozenset(("zip", "zipcode", "postcode", "postal")),
    "phone": frozenset(("phone", "telephone", "mobile", "cellphone", "msisdn")),
    "money": frozenset(("amount", "price", "total", "cost")),
    "latitude": frozenset(("latitude", "lat")),
    "longitude": frozenset(("longitude", "lng", "lon", "long")),
    "zone": frozenset(("timezone", "tz", "zone")),
}
PLAIN_ENUMS = frozenset(
    re.findall(
        r"\w+",
        "all any none true false yes no on off default other name id date time type user item list new get set key "
        "value read write a the and or for of in to with",
    )
)
BOUNDS = frozenset(("max", "min", "maximum", "minimum", "budget"))
MOST = ("max", "maximum", "under", "below", "most", "within", "less", "cheaper", "than")
LEAST = ("min", "minimum", "over", "above", "least", "more")
BOUND_WORDS = {"data": ("data", "gb", "mb", "tb"), "max": MOST, "maximum": MOST, "min": LEAST, "minimum": LEAST}
UNITS = {
    "min": "minute", "sec": "second", "hr": "hour", "kcal": "calory", "calorie": "calory", "calory": "calory",
    "gb": "gigabyte", "mb": "megabyte", "tb": "terabyte", "km": "kilometer", "kg": "kilogram",
    "bag": "baggage", "luggage": "baggage", "suitcase": "baggage", "monthly": "month", "weekly": "week", "daily": "day",
    "children": "child", "star": "rating",
}  # fmt: skip
# Those who come along, and what counts them: `party_size`, `guests`, `number_of_people`.
PEOPLE_NOUNS = frozenset(
    re.findall(r"\w+", "people person guest traveller traveler passenger rider diner pax cover participant attendee")
)
UNIT_WORDS = frozenset(
    re.findall(r"\w+", "seconds minutes hours days weeks months years gigabytes megabytes terabytes gb mb tb")
)
# That a number is one, in its name: `num_nodes`, `duration_in_months`, `approvals_required`.
COUNTING = frozenset(
    re.findall(r"\w+", "num number count period duration size required in of until total amount quantity qty")
)
ALL_BOUNDS = frozenset((*MOST, *LEAST))
NUMBERED = frozenset(("season", "episode", "page", "chapter", "volume", "week", "quarter", "round", "stage", "level"))
SCALES = frozenset(("percent", "percentage", "pct", "level", "value"))  # how what is before them is measured
CUED = frozenset(("to", "at", "is", "of", "down", "up", "the", "a", "set", "be"))  # between a noun and its number
CURRENCIES = {
    "euro": "€", "euros": "€", "eur": "€", "dollar": "$", "dollars": "$", "usd": "$", "pound": "£", "pounds": "£",
    "gbp": "£",
}  # fmt: skip
ISO_CURRENCIES = frozenset(
    re.findall(
        r"\w+",
        "AED AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF ILS INR JPY KRW MXN NOK NZD PLN RON SEK SGD THB TRY USD ZAR",
    )
)
SIDES = {
    "from": "from", "source": "from", "off": "from", "debit": "from",
    "out": "from", "to": "to", "into": "to", "onto": "to", "target": "to", "destination": "to", "new": "to",
}  # fmt: skip
TIMES = frozenset(re.findall(r"\w+", "day days week weeks month months year years hour hours minute minutes min mins"))
# Words that are capitalised because a sentence begins with them, never because they name something.
SENTENCE_STARTERS = frozenset(
    re.findall(
        r"\w+",
        "a an the i you he she it we they this that these those my your his her our their who what which whose where "
        "when why how is are was were do does did can could will would shall should may might must please give get "
        "show list find search tell create make add delete remove update change set fetch retrieve look open close "
        "cancel send return if and or but so then also after before for from in on at to of with by as ask want need "
        "let hi hello hey dear id ids api url pr",
    )
)
# What people ask for at the beginning of a sentence. Those of the second list begin names too: "Star Wars".
IMPERATIVES = frozenset(
    re.findall(
        r"\w+",
        "accept activate adjust append apply approve archive arrange assign attach book bring buy calculate check "
        "choose clean clear clone combine comment compare complete compute confirm connect convert copy count "
        "deactivate deny deploy describe disable disconnect dismiss display download draft drop duplicate edit "
        "enable enroll estimate exclude explain export extend filter flag follow forward generate grant hide "
        "identify import include increase inform insert inspect install invite invoke join keep kick kindly "
        "launch leave like load lock log lower merge modify move mute notify obtain order pay pick pin place play "
        "plan post prepare print provide publish pull purchase push put queue raise rate read recommend record "
        "reduce refresh refund register reject remind rename renew reopen replace reply report request reschedule "
        "reserve reset resize resolve restart restore resume retry review revoke rotate save schedule select "
        "share skip sort split start stop submit subscribe suggest summarize swap switch sync tag take terminate "
        "transfer translate trigger try turn unblock unfollow unlock unmute unpin unstar unsubscribe upgrade "
        "upload use validate verify view vote watch write",
    )
)
NAME_IMPERATIVES = frozenset(
    re.findall(
        r"\w+",
        "block build call charge end file fix go hold kill link mark match pause release run sell star test track",
    )
)
