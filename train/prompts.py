"""What a person might type: one prompt for a synthetic session, about its goal.

Phrases come from what the spec says of the goal (summary, description, operationId, path, response
fields), are worn down (words dropped, synonyms, typos) and set into frames; names and typed values
that the session uses are mentioned, distractions added. Many frames, none of them over a tenth of
the prompts, so that a ranker learns meaning and not templates. Called by `train/walks.py`'s users.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Sequence

from pipeline.types import Operation

_FRAMES = (
    "{}",
    "{}",
    "{}.",
    "please {}",
    "I want to {}",
    "I'd like to {}.",
    "I need to {}",
    "can you {}?",
    "could you {} for me?",
    "help me {}",
    "how do I {}?",
    "how can I {}",
    "we have to {} today",
    "You want to {}.",
    "You would like to {}.",
    "let's {}",
    "trying to {}",
    "{} please",
    "{}, thanks",
    "my goal is to {}",
    "now {}",
    "next: {}",
    "{} asap",
    "is there a way to {}?",
    "task: {}",
    "user asks: {}",
    "It would be great to {}.",
    "what I need: {}",
    "the job is to {}",
    "make it so that we {}",
    "todo {}",
)
_QUESTIONS = (
    "what is the {f} of {n}?",
    "what's the {f} for {n}",
    "tell me the {f} of {n}",
    "show me {n}'s {f}",
    "which {f} does {n} have?",
    "give me the {f} of {n}",
    "I need the {f} of {n}",
    "do you know the {f} of {n}?",
    "{n} {f}",
    "look up the {f} of {n}",
    "find the {f} belonging to {n}",
    "how do I see the {f} of {n}?",
)
_JOINTS = (
    " and then ",
    ", then ",
    ". After that, ",
    " and ",
    ". Also, ",
    "; next ",
    ". Once that is done, ",
    " before you ",
)
_DISTRACTIONS = (
    "Thanks in advance.",
    "It is rather urgent.",
    "If something is unclear, ask me first.",
    "I have tried this before without luck.",
    "Please be quick.",
    "My colleague will check it later.",
    "You are polite but in a hurry.",
    "Do not change anything else.",
    "I am working from home today.",
    "The report is due on Friday.",
    "This is for a customer who called yesterday.",
    "You do not remember the exact number.",
    "We moved offices last month.",
    "Use the cheapest option if there are several.",
    "I don't care about the details.",
    "Last week it worked fine.",
    "If it is not possible, tell me why.",
    "You prefer short answers.",
    "I will need the result in a spreadsheet.",
    "Nothing fancy.",
    "Sorry for the short notice.",
    "It was a gift from my sister.",
    "The old one is broken.",
    "I am not sure about the spelling.",
    "You are {name} in zip code {zip}.",
    "You are {name}, living in {place} {zip}.",
    "My name is {name} and I have been a customer since {date}.",
    "It cost {n} dollars on {date}.",
    "You bought {n} of them last time.",
    "Budget is {n}.",
    "Call me at 555-0{n}.",
    "You are {login}.",
    "The limit should stay at {n}.",
    "Somebody mentioned number {id} but I am not sure.",
)


def _each(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_GIVEN = _each(
    "Yusuf Mei Sofia Noah Fatima Ivan Aarav Chen Lucas Emma Olivia Raj Amina Daniel Ethan Mia Omar Lena Jonas "
    "Priya Hugo Sara Mateo Ines Kofi Anya Liam Zoe Mohamed Harper Isabella Juan Evelyn Mason Ava James Yara "
    "Anders Chloe Pedro"
)
_FAMILY = _each(
    "Rossi Kovacs Garcia Li Nguyen Patel Moore Brown Kim Okafor Hansen Silva Sanchez Davis Wilson Novak Haddad "
    "Ito Schmidt Larsen Jackson Dubois Costa Ahmed Lopez Muller Thomas Ivanova Khan Berg Santos Fischer Petrov "
    "Mbeki Lee Ortiz Walsh Singh Romano Weber"
)
_WORDS = _each(
    "Silver Dark River Golden Blue North Harbor Quiet Crimson Lost Winter Paper Electric Hidden Summer Iron "
    "Velvet Broken Green Stone Night Garden Kingdom Mirror Station Empire Signal Bridge Shadow Ocean Forest "
    "Tower Echo Engine Lantern Orchard Compass Falcon"
)
_COMPANIES = (
    "Acme",
    "Globex",
    "Initech",
    "Umbrella",
    "Northwind",
    "Contoso",
    "Hooli",
    "Vandelay",
    "Soylent",
    "Wonka",
    "Tyrell",
    "Aperture",
)
_SYNONYMS = {
    "get": "fetch show see find check look-up view pull-up read",
    "list": "show see all get enumerate browse",
    "retrieve": "get fetch find show pull",
    "returns": "gives shows lists",
    "return": "give show list",
    "fetch": "get load show",
    "search": "find look-for look-up hunt",
    "find": "look-for search locate",
    "create": "make add new set-up open register",
    "add": "create put attach append include",
    "update": "change edit modify set adjust",
    "modify": "change edit update",
    "edit": "change update",
    "set": "change update put",
    "delete": "remove erase drop get-rid-of",
    "remove": "delete drop take-away",
    "cancel": "stop call-off abort",
    "send": "deliver post submit dispatch",
    "upload": "send put add",
    "download": "get fetch save",
    "enable": "turn-on switch-on activate",
    "disable": "turn-off switch-off deactivate",
    "user": "person account member customer",
    "users": "people accounts members",
    "customer": "client buyer",
    "order": "purchase",
    "details": "info information data",
    "information": "details info",
    "current": "present latest",
    "available": "possible existing",
    "specified": "given particular certain",
    "specific": "particular certain given",
    "image": "picture photo",
    "images": "pictures photos",
    "movie": "film",
    "repository": "repo",
    "message": "note text",
    "settings": "configuration options preferences",
    "configuration": "settings setup",
    "status": "state",
    "comment": "remark reply",
    "issue": "ticket problem",
    "invoice": "bill",
    "price": "cost",
    "subscription": "plan",
    "product": "item article",
    "company": "firm business",
    "employee": "worker staff-member",
    "document": "file",
    "group": "team",
    "event": "happening",
    "report": "summary",
    "job": "task",
}
_STOP = frozenset(
    _each("a an the of for to in on by with and or from that this given specified which is are be your all its as at")
)
_WORD = re.compile(r"[A-Za-z0-9]+")


@dataclasses.dataclass(frozen=True, slots=True)
class Mention:
    """A value of the session that the prompt may name."""

    kind: str  # what it is, in words: "order id", "email"
    value: str
    is_name: bool = False  # a proper name a search takes, rather than a typed value


def words(text: str) -> list[str]:
    """Words of prose or of a camelCase, snake_case or path name, lower case."""
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text)
    return [w.lower() for w in _WORD.findall(re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", text))]


def proper_name(rng: random.Random) -> str:
    """A person, a company or a title."""
    pick = rng.random()
    if pick < 0.4:
        return f"{rng.choice(_GIVEN)} {rng.choice(_FAMILY)}"
    if pick < 0.55:
        return f"{rng.choice(_COMPANIES)} {rng.choice(('Inc', 'Ltd', 'Group', ''))}".strip()
    title = rng.sample(_WORDS, rng.choice((1, 2, 2, 3)))
    return " ".join(["The", *title] if rng.random() < 0.4 else title)


def person(rng: random.Random) -> tuple[str, str]:
    return rng.choice(_GIVEN), rng.choice(_FAMILY)


def write_prompt(
    rng: random.Random,
    goal: Operation,
    mentions: Sequence[Mention],
    second: Operation | None = None,
    searched: bool = False,
) -> str:
    """One prompt about `goal`; `searched` says that the session looks something up by its name."""
    named = [m for m in mentions if m.is_name]
    typed = [m for m in mentions if not m.is_name]
    name = rng.choice(named).value if named and rng.random() < (0.85 if searched else 0.4) else ""
    if rng.random() < 0.12:
        text = _terse(rng, goal)
    elif name and goal.response_fields and goal.verb == "read" and rng.random() < 0.45:
        field = rng.choice(goal.response_fields[:40]).rsplit(".", 1)[-1]
        text = rng.choice(_QUESTIONS).format(f=" ".join(words(field)) or "name", n=name)
        name = ""
    else:
        text = rng.choice(_FRAMES).format(_worn(rng, _phrase(rng, goal)))
        if second is not None and rng.random() < 0.6:
            text = text.rstrip(".?") + rng.choice(_JOINTS) + _worn(rng, _phrase(rng, second))
    if name and name not in text:
        text = (
            text.rstrip(".?")
            + rng.choice((" of ", " for ", " ", " called ", " by ", " named ", ": ", " from "))
            + _quoted(rng, name)
        )
    said = [_said(rng, m) for m in typed[:4] if rng.random() < 0.7]
    if said:
        text = f"{text.rstrip('.')}{rng.choice((' ', '. ', ', ', ' - '))}{rng.choice((', ', ' and ', '. ')).join(said)}"
    if rng.random() < 0.3:
        extra = " ".join(_told(rng, one) for one in rng.sample(_DISTRACTIONS, rng.choice((1, 1, 2, 3))))
        text = f"{extra} {text}" if rng.random() < 0.35 else f"{text.rstrip('.')}. {extra}"
    return text[:1].upper() + text[1:] if rng.random() < 0.4 else text


def _told(rng: random.Random, distraction: str) -> str:
    """A distraction with its blanks filled: numbers and names that no argument wants."""
    given, family = person(rng)
    return distraction.format(
        name=f"{given} {family}",
        place=rng.choice(_WORDS) + "ville",
        zip=rng.randrange(10000, 99999),
        date=f"202{rng.randrange(6)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}",
        n=rng.choice((2, 3, 5, 12, 20, 100, 250)),
        login=f"{given}_{family}_{rng.randrange(10**4)}".lower(),
        id=f"{rng.choice(('', '#W', 'A-'))}{rng.randrange(10**5, 10**8)}",
    )


def _phrase(rng: random.Random, goal: Operation) -> str:
    """What the goal is, in the words of one of the places where the spec names it."""
    first = re.split(r"(?<=[.!?])\s|\n", goal.description.strip(), maxsplit=1)[0]
    sources = [
        (5.0, goal.summary),
        (3.0, first if len(first) > 8 else ""),
        (2.0, " ".join(words(goal.operation_id))),
        (1.5, _from_path(goal)),
        (1.0, f"{goal.summary} {first}" if goal.summary and first != goal.summary else ""),
    ]
    usable = [(weight, text) for weight, text in sources if text.strip()]
    text = rng.choices([t for _, t in usable], [w for w, _ in usable])[0] if usable else _from_path(goal)
    return re.sub(r"<[^>]+>|[`*_#]", " ", text)[:240].strip(" .") or _from_path(goal)


_VERB_WORDS = {
    "read": ("get", "show", "list"),
    "create": ("create", "add"),
    "update": ("update", "change"),
    "delete": ("delete", "remove"),
}


def _from_path(goal: Operation) -> str:
    nouns = [" ".join(words(s)) for s in goal.path.split("/") if s and "{" not in s][-3:]
    verb = _VERB_WORDS.get(goal.verb, ("do",))[0]
    return f"{verb} {' '.join(nouns) or 'it'}"


def _terse(rng: random.Random, goal: Operation) -> str:
    """`tag: words`, as test names, tickets and commit subjects are written."""
    name = words(goal.operation_id) or words(goal.summary) or words(_from_path(goal))
    head = words(goal.tags[0]) if goal.tags else words(_from_path(goal))[1:2]
    body = _drop(rng, name[:8], 0.15)
    mark = rng.choice((": ", " - ", " / ", ": ", " "))
    return f"{' '.join(head)}{mark}{' '.join(body)}" if head else " ".join(body)


def _worn(rng: random.Random, phrase: str) -> str:
    """The phrase with words dropped and replaced, and a typing error now and then."""
    tokens = phrase.split()
    if rng.random() < 0.6:
        tokens = [t[:1].lower() + t[1:] if t[1:].islower() else t for t in tokens]
    tokens = _drop(rng, tokens, rng.uniform(0.1, 0.5) if rng.random() < 0.7 else 0.0)
    rate = rng.choice((0.0, 0.3, 0.6))
    out = []
    for token in tokens[: rng.choice((8, 12, 16, 24, 40))]:
        options = _SYNONYMS.get(token.lower().strip(".,;:"))
        if options and rng.random() < rate:
            token = rng.choice(options.split()).replace("-", " ")
        elif len(token) > 4 and token.isalpha() and rng.random() < 0.02:
            token = _typo(rng, token)
        out.append(token)
    return " ".join(out)


def _drop(rng: random.Random, tokens: Sequence[str], rate: float) -> list[str]:
    kept = [t for t in tokens if rng.random() >= rate * (1.4 if t.lower() in _STOP else 0.8)]
    return kept if len(kept) >= min(2, len(tokens)) else list(tokens)


def _typo(rng: random.Random, token: str) -> str:
    at = rng.randrange(1, len(token) - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return token[:at] + token[at + 1] + token[at] + token[at + 2 :]
    return token[:at] + token[at + 1 :] if kind == 1 else token[:at] + token[at] + token[at:]


def _quoted(rng: random.Random, name: str) -> str:
    pick = rng.random()
    return f'"{name}"' if pick < 0.15 else f"'{name}'" if pick < 0.22 else name.lower() if pick < 0.3 else name


def _said(rng: random.Random, mention: Mention) -> str:
    kind, value = mention.kind, mention.value
    return rng.choice(
        (
            f"{kind} {value}",
            f"{value}",
            f"the {kind} is {value}",
            f"{kind}: {value}",
            f"{kind}={value}",
            f"({value})",
            f"my {kind} is {value}",
        )
    )
