"""Lists that a prompt says for an argument: "labels bug and ui", "invite a@x.io and b@x.io", "assign octocat to it".

An item is quoted, or one word that nothing but "and", a comma or the end of its phrase follows; whose list it is says
the argument's noun beside it, or the verb that goes with the noun. Called by `wish`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence, Set

from pipeline.candidates import names, parameters
from pipeline.candidates.names import Name
from pipeline.candidates.spans import Span
from pipeline.candidates.vocabulary import SENTENCE_STARTERS
from pipeline.types import Parameter

_QUOTE = r"\"[^\"\n]{1,80}\"|“[^”\n]{1,80}”|(?<!\w)'[^'\n]{1,80}'(?!\w)|`[^`\n]{1,80}`"
_QUOTED = re.compile(_QUOTE)
_ITEM = re.compile(rf"{_QUOTE}|@?[A-Za-z0-9][\w@/+-]{{0,80}}(?:[.:]\w[\w@/+-]{{0,80}}){{0,6}}")
_JOIN = re.compile(r"(?P<last>,? (?:and|or|&) |,? ?& ?)|, ?")
_END = re.compile(r"\s*(?:$|[.,;:!?()\n]| (?=[-–—]))")
_NEXT = re.compile(r"\s+([A-Za-z']+)")
_ITEMS_MAX = 20
# Words that no list has, and that one ends before.
_PLAIN = (SENTENCE_STARTERS - {"api", "url", "pr", "open"}) | frozenset(
    re.findall(
        r"\w+",
        "under into onto about via using saying being has have had without within named called else instead only too "
        "yet now already today tomorrow everyone everybody someone somebody anyone anybody nobody them us others other "
        "another each every some any all none no not one two both same right wrong new old usual missing following "
        "needed more most many few as like than there here up down out over again either however whatever anything "
        "something everything nothing thing things well just really very me him her myself team",
    )
)
_GIVERS = frozenset(
    ("with", "add", "by", "under", "having", "using", "set", "put", "apply", "attach", "remove", "drop")
)
_CHANGES = frozenset(("set", "change", "update", "replace"))  # labels to "bug"
_ADDS = r"add|apply|attach|put|set|use|assign"
_TAKES = r"remove|drop|delete|detach|unset"
_SIDES = {"add": _ADDS, "added": _ADDS, "remove": _TAKES, "removed": _TAKES, "delete": _TAKES}
# How people are made what a noun calls them.
_INVITES = r"invite|add"
_MAKES = {"assignee": "assign", "invitee": _INVITES, "attendee": _INVITES, "participant": _INVITES, "user": _INVITES,
          "member": _INVITES, "guest": _INVITES}  # fmt: skip
_MAILED = frozenset(("email", "mail", "to", "cc", "bcc", "recipient", "attendee", "invitee", "participant", "guest"))
_ADDRESSES = frozenset(("email", "emails", "mail"))
_ASKS = frozenset(("to", "with", "invite", "add", "email", "mail", "send", "share", "cc", "bcc", "for", "and", "write"))
_OWN = frozenset(("from", "am", "are", "i'm", "you're", "my", "your"))
_COPIES = frozenset(("cc", "bcc"))
_CODED = re.compile(r"\bISO\b|(?i:\b(?:country|language|currency) codes?\b)")
_URIS = frozenset(("uri", "uris", "urn", "urns", "arn", "arns"))
_URN = re.compile(r"(?<![\w/:.-])[a-z][a-z0-9-]{1,20}(?::[A-Za-z0-9_./-]{1,80}){2,6}\b(?![/:])")
_BETWEEN = re.compile(r"[\s,]*(?:\band\b|&|\bor\b)?\s*")


class Lists:
    """The lists of one prompt, of which `words` are the words in lower case."""

    def __init__(self, prompt: str, words: Set[str], found: Mapping[str, Sequence[Span]]) -> None:
        self._prompt, self._words, self._found = prompt, words, found
        self._may: dict[str, bool] = {}
        self._known: dict[tuple[str, str, str], list[str] | None] = {}

    def may(self, raw: str) -> bool:
        """Whether the prompt has a word for a parameter of this name, or addresses."""
        known = self._may.get(raw)
        if known is None:
            words = names.split(raw)
            nouns = {names.singular(word) for word in words[-2:]}
            known = "email" in self._found or "phone" in self._found or not _MAKES.keys().isdisjoint(nouns)
            known = known or any(not self._words.isdisjoint(_forms(noun)) for noun in nouns)
            self._may[raw] = known
        return known

    def of(self, name: Name, parameter: Parameter) -> list[str] | None:
        """What the prompt lists for an array of plain values; None where it lists nothing, and for ids."""
        key = (parameter.name, parameter.items, parameter.format)
        if key not in self._known:
            self._known[key] = self._read(name, parameter)
        return self._known[key]

    def _read(self, name: Name, parameter: Parameter) -> list[str] | None:
        if parameter.items in ("object", "array", "boolean") or name.kind in ("id", "number", "sha"):
            return None
        if not _URIS.isdisjoint(name.words):
            return self.urns(name, parameter) or None
        if "email" in self._found and (mails := self.emails(name, parameter)):
            return mails
        if "phone" in self._found and "phone number" in parameter.description.lower():
            return list(dict.fromkeys(span.value for span in self._found["phone"]))
        noun = names.singular(name.words[-2] if name.kind and len(name.words) > 1 else name.words[-1])
        makes = _MAKES.get(noun, "")
        if self._words.isdisjoint(_forms(noun)) and not (makes and re.search(rf"(?i)\b(?:{makes})", self._prompt)):
            return None
        side = _SIDES.get(name.words[0]) if len(name.words) > 1 else None
        items = self._behind(noun, side) or self._named(noun, side) or self._made(noun, makes)
        if _CODED.search(parameter.description) and not all(len(item) < 4 for item in items):
            return None  # languages are said by their names
        return items or None

    def urns(self, name: Name, parameter: Parameter) -> list[str]:
        """The addresses `service:kind:id` of the prompt, of the kinds that the parameter takes."""
        if _URIS.isdisjoint(name.words) or ":" not in self._prompt:
            return []
        found = dict.fromkeys(_URN.findall(self._prompt))
        return [urn for urn in found if parameters.takes_urn(urn, parameter)]

    def emails(self, name: Name, parameter: Parameter) -> list[str]:
        """All e-mail addresses of the prompt but the sender's and the caller's own; those behind "cc" for `cc` alone.

        Where a name alone says that people are meant they are given, invited or written to.
        """
        last = names.singular(name.words[-1])
        is_sure = parameter.format == "email" or not _ADDRESSES.isdisjoint((*name.words, *parameter.fields))
        if not is_sure and last not in _MAILED:
            return []
        found, head, end = [], "", -1
        for span in self._found.get("email", ()):
            if end < 0 or not _BETWEEN.fullmatch(self._prompt[end : span.start]):
                near = [word for word in span.before if word not in ("the", "email", "address")]
                head = next((word for word in near if word in _COPIES or word in _OWN), "")
                head = "" if head == "are" and "you" not in span.before else head  # "when are a@x.io and b@x.io free"
                is_meant = is_sure or not _ASKS.isdisjoint(near[:1]) or names.singular(*(near[:1] or [""])) == last
                head = head if is_meant else "from"
            end = span.start + len(span.value)
            if head == (last if last in _COPIES else ""):
                found.append(span.value)
        return list(dict.fromkeys(found))

    def quotes(self, noun: str) -> list[str]:
        """The quoted texts listed behind a noun."""
        items = self._behind(noun, None) if not self._words.isdisjoint(_forms(noun)) else []
        return items if all(f'"{item}"' in self._prompt or f"“{item}”" in self._prompt for item in items) else []

    @functools.cached_property
    def _quotes(self) -> list[tuple[int, int]]:
        return [match.span() for match in _QUOTED.finditer(self._prompt)]

    def _behind(self, noun: str, side: str | None) -> list[str]:
        """A list behind its noun, "tags: red, green", or behind its verb: "tag it with red"."""
        for match in _noun(noun).finditer(self._prompt):
            if any(start < match.start() < end for start, end in self._quotes):
                continue
            before = re.findall(r"\w+", self._prompt[max(0, match.start() - 40) : match.start()].lower())
            if side and not self._says(side, match.start()):
                continue
            is_verb = match.group(1).lower() == noun and (not before or before[-1] in ("and", "please", "then", "to"))
            verb = _WITH.match(self._prompt, match.end(1)) if is_verb else None
            items = self._items(verb.end() if verb else match.end())
            cue = next((word for word in reversed(before) if word not in ("the", "a", "an")), "")
            if match.group(3) and cue not in _CHANGES:
                continue
            is_given = bool(verb) or bool(match.group(2)) or cue in _GIVERS or match.group(1).lower().endswith("ed")
            is_marked = len(items) > 1 or any(not item.isalpha() for item in items)
            is_one = len(items) == 1 or match.group(1).lower() != noun or bool(verb)
            if items and is_one and (is_given or is_marked):
                return items
        return []

    def _named(self, noun: str, side: str | None) -> list[str]:
        """A list before its noun: "add the bug label"."""
        verbs = side or f"{_ADDS}|{_TAKES}"
        for match in re.finditer(rf"(?i)\b(?:{verbs})\b (?:the |an? )?", self._prompt):
            items = self._items(match.end(), ends=_forms(noun))
            if items and not any(word in _PLAIN for word in items):
                return items
        return []

    def _made(self, noun: str, verbs: str) -> list[str]:
        """Who is made what the noun says: "assign octocat to it", "add @ada as a reviewer"."""
        patterns = [rf"(?i)\badd (?=[^.;]{{1,80}}\bas (?:an? )?{noun}s?\b)"]
        if verbs == "assign":
            patterns += [r"(?i)\bassign(?:ed)?\b(?: (?!and\b)[\w#@-]+){0,4}? to ", r"(?i)\bassign "]
        elif verbs:
            patterns.append(rf"(?i)\b(?:{verbs}) (?:(?:the )?{noun}s? )?")
        for pattern in patterns:
            for match in re.finditer(pattern, self._prompt) if verbs or noun in self._words else ():
                items = self._items(match.end())
                is_sure = verbs == "assign" or pattern.startswith(r"(?i)\badd (?=")
                if items and (is_sure or all(_is_handle(item, self._prompt) for item in items)):
                    return items
        return []

    def _says(self, verbs: str, end: int) -> bool:
        """Whether the last verb that adds or removes before a place is one of these."""
        said = re.findall(rf"\b(?:{_ADDS}|{_TAKES})\b", self._prompt[:end].lower())
        return bool(said) and re.fullmatch(verbs, said[-1]) is not None

    def _items(self, at: int, ends: Set[str] = frozenset()) -> list[str]:
        """The items of the list that begins at a place; none where it is no list. With `ends` it ends before a noun."""
        items: list[str] = []
        is_last, text = False, self._prompt
        while len(items) < _ITEMS_MAX and (match := _ITEM.match(text, at)) is not None:
            item, at = match.group(), match.end()
            is_quoted = item[0] in "\"“'`"
            joined = _JOIN.match(text, at)
            following = _NEXT.match(text, at)
            word = following.group(1).lower() if following else ""
            if ends and not joined:
                return [*items, item.strip("\"“”'`@")] if word in ends else []
            if not is_quoted and (
                item.lower() in _PLAIN
                or (items and item.endswith(("ed", "ing")))
                or not (joined or word in _PLAIN or _END.match(text, at))
            ):
                break
            items.append(item.strip("\"“”'`") if is_quoted else item.lstrip("@"))
            if not joined or (is_last and not joined.group("last")):
                break
            is_last, at = bool(joined.group("last")), joined.end()
        return items if not ends else []


_WITH = re.compile(r"(?: [\w#/-]+){0,4}? (?:with|as) |(?: [\w#/-]+){1,3} (?=[\"“])")


def has_urn(prompt: str) -> bool:
    """Whether a prompt has an address `service:kind:id`."""
    return prompt.count(":") > 1 and _URN.search(prompt) is not None


def _is_handle(item: str, prompt: str) -> bool:
    """Whether an item can only be what somebody is called by in an API: `@ada`, `U123ABC45`, `ann_k`."""
    return any(not c.isalpha() for c in item) or f"@{item}" in prompt


@functools.lru_cache(maxsize=1024)
def _forms(noun: str) -> frozenset[str]:
    """A noun, its plural, and the participle of its verb: label, labels, labeled, labelled."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return frozenset((noun, plural, f"{noun}ed", f"{noun}{noun[-1:]}ed"))


@functools.lru_cache(maxsize=1024)
def _noun(noun: str) -> re.Pattern[str]:
    forms = "|".join(sorted(map(re.escape, _forms(noun)), key=len, reverse=True))
    return re.compile(rf"(?i)\b({forms})(?: ?(:)| (?:called|named|as|with|like|are|(to)))? (?=\S)")
