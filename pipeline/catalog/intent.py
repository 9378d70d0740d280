"""What a prompt asks to be done, and what it asks not to be done.

A reading of clauses, not of grammar: a destructive word counts where it is an order ("cancel it", "I want a
refund", "needs to be deleted"), not where it is negated ("don't delete", "undo the cancellation"), nor where it only
describes ("list cancelled orders", "refund policy", "what happens if I delete it") or is quoted (a title, a message).
In doubt a negation wins. Words come from `lexicon`; called through `verbs`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.catalog.lexicon import ADMITS, AMBIGUOUS, CLASS, FAMILY, INFLECTED, NOUNS, Inflected, word_set
from pipeline.types import Verb

_TITLE = re.compile(r"^[\w/ -]{1,40}(?=: \w)")
_TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)?|[.,;:!?()\n]|\S", re.I)

# Parts of the phrases below
_MY = r"(?:the|my|our|your|this|that|his|her|their)"
_NAME = r"(?!Me |Us |You )(?-i:[A-Z])\w*"
_SOME = r"(?:[\w'’#-]{1,30} ){1,5}?"
_OF_IT = rf"(?:{_MY}\b|what\b|which\b|these|those|all\b|every|(?-i:[A-Z]))"
_MONEY = (
    r"(?:[$€£] ?\d[\d.,]{0,14}|\d[\d.,]{0,14} ?(?:[$€£]|(?:euros?|dollars?|pounds?|francs?|bucks|eur|usd|gbp|chf|jpy"
    r"|inr|cad|aud|sek|nok|dkk|pln)\b))"
)
_AGREED = (
    rf"{_MY} (?:\w{{1,30}} )?(?:subscription|membership|contract|plan|lease|standing order|direct debit|booking"
    r"|reservation|order|payment|transfer)s?"
)
_LEADS = r"(?:^|(?<=[.,;:!?(] )|(?<=\band )|(?<=\bthen )|(?<=please )|(?<=want to )|(?<=need to )|(?<=like to ))"
_ENDS = r"(?= (?:and|please|then|for|as|if)\b|[.,;!?]|$)"
# What one takes off without removing anything (a day, the train, ten dollars), and where one takes things out of
_TAKEN = (
    r"(?:an?|some|any|one|two|time|care|place|part|days?|weeks?|weekend|months?|years?|hours?|minutes?|\w{2,6}day"
    r"|percent|dollars?|euros?|pounds?|money|cash|train|bus|flight|plane|ferry|boat|taxi|cab|car|tram|metro|road|exit"
    r"|photos?|pictures?|mind|eyes?|weight)"
)
_PLACES = r"(?:city|town|country|coast|road|street|station|airport|way|window|house|office|building|hotel|question)"

# Phrases that mean one word of the lexicon
_PHRASES = tuple(
    (re.compile(rf"\b(?:{pattern})(?!\w)", re.I), word)
    for word, pattern in (
        ("never", r"(?:under|in) no circumstances|by no means|on no account"),
        (
            "delete",
            r"get(?:ting)? rid of|throw(?:ing)? (?:(?:it|them) )?away|tear(?:ing)? (?:it )?down|clean(?:ing)? up",
        ),
        ("withdraw", rf"tak(?:e|ing) (?:{_MONEY}|(?:the |some |my )?(?:money|cash)) out"),
        ("remove", rf"take (?:it|them|him|her) off(?! (?:from|work))|take off(?= {_OF_IT})"),
        (
            "remove",
            rf"tak(?:e|ing) (?:(?!{_TAKEN} )[^\W\d][\w'-]{{0,30}} ){{1,6}}?(?:off|out of)(?= {_MY} (?!{_PLACES}\b)\w)",
        ),
        ("cancel", r"call(?:ing)? (?:(?:it|this) )?off|back(?:ing)? out of|opt(?:ing)? out(?: of)?"),
        ("cancel", rf"call(?:ing)?(?= {_MY} (?:[\w-]{{1,30}} ){{1,3}}off{_ENDS})"),
        ("cancel", rf"(?:end|scrap|stop|get out of)(?:p?ing)?(?= {_AGREED}\b(?! (?:from|being)))"),
        ("cancel", rf"(?:scrap|(?=recall){_LEADS}recall)(?= (?:it|them)\b)|(?=recall){_LEADS}recall(?= {_AGREED}\b)"),
        ("cancel", rf"(?:no longer|don't) (?:want|need) {_MY} (?:subscription|membership|booking|reservation)"),
        ("return", r"send(?:ing)? (?:\w+ ){0,3}back|giv(?:e|ing) (?:(?:it|them) )?back"),
        ("refund", r"(?:my|the|their|his|her|our|your) money back|(?:^|(?<=[:,;.] ))money back|charge ?back"),
        ("transfer", r"(?:send|wir|mov)(?:e|ing)? (?:(?:the|some|my) )?(?:money|funds|cash)|pay(?:ing)? out"),
        (
            "transfer",
            rf"(?:send|wir|mov)(?:e|ing)? (?:(?:him|her|them|me) )?{_MONEY}(?= (?:to|from|into|again)\b|[.,;!?]|$)",
        ),
        ("transfer", rf"pay(?:ing)? {_MONEY}(?= (?:in)?to (?:{_MY}\b|(?-i:[A-Z])))"),
        ("disable", r"(?:turn|switch)(?:ing)? (?:(?:it|them|this) )?off"),
        ("disabled", r"(?:turned|switched) off"),
        ("unfollow", r"stop(?:ping)? (?:following|watching)"),
        ("terminate", r"shut(?:ting)? (?:(?:it|them|this) )?down"),
        ("teach how to", rf"{_LEADS}how to|(?:walk|talk|guide) (?:me|us) through(?: (?:how|the \w{{1,30}}) to)?"),
        ("teach how to", r"what(?:'s| is| are) the (?:[a-z]{1,20} )?(?:way|steps?|procedure|process) (?:to|for|of)"),
        ("create", r"(?:log(?:ging)?|fil(?:e|ing)|rais(?:e|ing)|lodg(?:e|ing)|open(?:ing)?)(?= (?:an?|another)\b)"),
        ("send", rf"{_LEADS}(?:tell|inform|dm|text|message|e?-?mail)(?= (?:the|my|our|him|her|them|{_NAME})\b)"),
        ("send", rf"let(?:ting)? (?!me\b|us\b){_SOME}know"),
        (
            "assign",
            rf"hand(?:ing)? {_SOME}over|giv(?:e|ing)(?= (?:it|this|that|the [\w-]{{1,30}}|[\w#-]{{0,30}}\d) to\b)",
        ),
        ("add", rf"put(?:ting)?(?= {_SOME}(?:on|onto|into) {_MY}\b)|bring(?:ing)?(?= {_SOME}into\b)"),
        ("restore", rf"bring(?:ing)?(?= (?:{_SOME})?back\b)"),
        ("resume", rf"(?:get|turn|switch)(?:ting|ing)? {_SOME}back on"),
        ("complete", r"wrap(?:ping)? up|(?:tick|check)(?:ing)? off"),
        ("watch", rf"keep(?:ing)? {_SOME}in the loop|keep(?:ing)? an eye on"),
        ("start", r"kick(?:ing)? off"),
        # Tests of client libraries are called so; "is it deletable?" is a question.
        ("create", r"(?<=: )is create?able$"),
        ("list", r"(?<=: )is listable$"),
        ("retrieve", r"(?<=: )is retrievable$"),
        ("update", r"(?<=: )is (?:update?able|modifiable|save?able)$"),
        ("delete", r"(?<=: )is delete?able$"),
        ("create and delete", r"(?<=: )(?:full )?(?:crud|life ?cycle)$"),
        ("logout", r"log(?:ging)? (?:(?:me|him|her|them) )?out|sign(?:ing)? (?:me )?out"),
        ("reset password", r"forgot(?:ten)? (?:(?:my|the|his|her) )?password"),
        (
            "unfollow",
            r"leav(?:e|ing) (?:(?:the|this|that|my|our) )?(?:\w+ )?(?:group|org|organi[sz]ation|team|channel|room|"
            r"project|repo|repository|list|community|server|meeting)",
        ),
    )
)
_QUOTED = re.compile(
    r"(?<!\w)(?:\"[^\"\n]{1,300}\"|'(?=\S)[^\n]{0,299}?(?<=\S)'|`[^`\n]{1,300}`|“[^”\n]{1,300}”|‘[^\n’]{1,300}’)(?!\w)"
    r"|(?<=titled )(?=\w)[^.,;:!?\n]{1,200}?(?= (?:and|then|with|in|for)\b|[.,;:!?\n]|$)"
)
_TO_END = r"(?=\W)[^.,;:!?()\n]{0,200}?(?= (?:(?:and )?(?:then|please|also)|but|so)\b|[.,;:!?()\n]|$)"
_RISKY = r"(?:safe|unsafe|dangerous|risky|harmful|reversible|irreversible|bad)"
# Questions and asides that order nothing although they name a deed: of each, only the group is read on
_WONDERS = re.compile(
    r"\b(?P<asked>what (?:happens|would happen|will happen)(?= (?:if|when|after|to)\b)|what(?= if (?:i|we)\b)"
    rf"|(?:what|how much|how long) (?:does|would|will) it (?:take|cost)|how {_RISKY} (?:is|would)"
    r"|(?:explain|describe)(?= (?:(?:what|how) )?[a-z]{2,20}ing\b)"
    r"|what (?:can|may|could) (?:i|we|one)(?! do\b)|when (?:can|should|may) (?:i|we)"
    r"|(?:who|whose|which)(?: [\w'-]{1,30}){0,5}? (?:can|may|could|might|should|will|gets?)(?! (?:be|help)\b)"
    r"|(?:who|which)(?: [\w'-]{1,30}){0,4}? (?:is|are|has|have) (?:able|allowed|permitted|permission|the right)"
    rf"|(?:is|are|isn't|would) (?:it|this|that)(?: be)? (?:{_RISKY}|ok|okay|wise|fine|allowed|permitted|legal|worth)"
    r"(?! if you\b)"
    r"|(?:am i|are we|is (?:it|the|an?|every|any)[\w ]{1,30}?) (?:allowed|permitted)"
    r"|how do(?:es)?(?=[\w' -]{1,60} work\b)"
    r"|why (?:(?:is|does|did|could)(?:n't)?|can(?:'t|not)?)(?![\w']| (?:you|we)\b)"
    r"|(?:^|(?<=[.,;:!?(] ))(?:should (?:i|we)|do i (?:have|need)(?= to\b)"
    r"|(?:will|would|can|could)(?= [a-z]{2,20}ing\b)"
    r"|(?:can|may) (?:users|members|guests|admins|viewers|others|everyone|everybody|people|customers)))"
    rf"{_TO_END}|\b(?P<risk>{_RISKY}|reasons?|how many (?:\w{{1,30}} ){{1,4}}?(?:want|wish|need|wanted|asked|tried))"
    r" to \w+|(?:^|(?<=[.,;:!?(] ))(?P<when>if|before|when|once|after|unless) (?:i|we)"
    r" (?:(?:want|need|have) to )?(?!can\b|could\b)\w+"
    r"|\b(?P<note>(?:comment|note|reply|message) saying|remind (?:me|us|him|her|them) (?:to|that))"
    r"(?=\W)[^.,;:!?()\n]{0,200}?(?= (?:and|then|but)\b|[.,;:!?()\n]|$)",
    re.I,
)
# What APIs do by DELETE although it sounds milder
_UNDOES = word_set(
    "unstar unfollow unwatch unpin unlike unblock unban unmute unlock unsubscribe unassign unlink disconnect dismiss "
    "logout kick expel"
)

_REFUSALS = word_set(
    "not never without neither nor cannot dont doesnt didnt wont shouldnt cant refuse except nothing nobody none"
)
_STATES = word_set("is are was were has have had be been being isn't aren't wasn't weren't hasn't haven't hadn't")
_WISHES = word_set("want need like wish require expect use have own love")
# After a negation these say that the order stands: "don't forget to delete", "I don't know how to cancel"
_IDIOMS = word_set("only just forget hesitate fail mind know remember see find understand figure sure recall")
_CLAUSE_ENDS = word_set(
    "but then so because since although though however unless otherwise please anymore yet whereas while therefore"
)
# What is after these is kept from happening, or brought back
_PREVENTS = word_set(
    "avoid avoiding prevent preventing stop block protect forbid prohibit disallow keep undo undoing restore "
    "restoring recover reinstate revert rollback undelete unarchive reverse reopen"
)
_READS = word_set(
    "show list get find view check see display retrieve fetch search look count tell what which where who when many "
    "much status track any are is was were did does had has describe know read explain why"
)
_ORDERS = word_set(
    "issue make request create process want need submit do initiate give apply perform send start trigger execute "
    "ask demand schedule proceed would like claim receive obtain wish"
)
_TELLERS = word_set("i you we they he she it have has had already just i've you've we've they've")  # "you sent a ..."
_SUBJECTS = word_set("i you we they")
_ASKERS = word_set("did didn't does doesn't has hasn't had is isn't are aren't was wasn't were weren't am")
_AFTER_ASKER = word_set("do don't have haven't")  # ask only with a subject behind: "do I", not "have it cancelled"
# A question that wants something done after all: "is it possible to cancel it", "do you mind ..."
_REQUESTS = word_set(
    "possible able ok okay allowed mind way please can could will need want like wish and if to then or"
)
_DETERMINERS = word_set("the a an my all any this that these those our your his her their its every some")
_OBJECTS = _DETERMINERS | {"it", "them", "me", "everything", "both", "him"}
_VERB_LEADS = word_set(
    "to and or then also can could you i we will would should must let let's help me us just now not don't never may "
    "might shall go ahead kindly finally next first immediately permanently fully nor i'll we'll they who you'd i'd"
)
_QUESTIONS = word_set("what what's which who who's whose where when how")
_BOONS = word_set("a my me it this them")  # "get me a refund"
_ADVERBIAL = word_set("in by via per with")
_TEACHES, _LEARNS = word_set("show teach tell explain"), word_set("to i we you one")  # "show me how to delete it"
_AFTER_PASSIVE = word_set("and or from for in by on at immediately asap now today to if as too also right")
_ATTRIBUTED = word_set(
    "policy policies status statuses history reason reasons fee fees date dates window label labels rate rates rule "
    "rules deadline deadlines conditions terms details info information record records id ids"
)
_CONTROLS = word_set(
    "button buttons link links feature features flow flows page pages endpoint endpoints dialog menu icon option "
    "options key command form screen operation function method api call request action actions event events "
    "permission permissions confirmation"
)
_ARTICLES = word_set("the a an my our your his her its their every")
# "issues about deleting users": what is written on, and what leads to it
_ABOUT = word_set("about on regarding concerning mention mentions mentioning")
_TEXTS = word_set(
    "issue ticket bug task post comment note message email mail article doc page question report document guide faq"
)
_WISHING = word_set("want wants wanted wish wishes need needs plan plans intend intends try tried asked")
# Where the next word is one of these, the word means something else
_OTHERWISE: dict[str, frozenset[str]] = {
    "close": word_set("to by friend friends match matches"),
    "reverse": word_set("order chronological geocode geocoding lookup image dns sort alphabetical"),
    "return": word_set("list results json names count ids titles value values to"),
    "drop": word_set("me in by us off"),
    "block": word_set("number height hash of"),
    "clear": word_set("that to about skies sky weather"),
    "report": word_set("of on for about log logs"),
    "credit": word_set("note notes card cards memo memos"),
    "turn": word_set("up out by"),
    "play": word_set("list lists"),
}
_NOUNS_TOO = word_set("login logout invite install")  # in prompts: "the login bug"
_ONLY_BEFORE: dict[str, frozenset[str]] = {"top": word_set("up")}  # "top up", not "top rated"


class _Asked(NamedTuple):
    word: str  # base form
    is_negated: bool


def intents(prompt: str) -> frozenset[str]:
    """Families of destructive words that a prompt evidently asks for, with those that its words admit."""
    found: set[str] = set()
    for word, is_negated in _asked(prompt):
        if not is_negated:
            if word in FAMILY:
                found |= ADMITS[FAMILY[word]]
            if word in _UNDOES:
                found.add("delete")
    return frozenset(found)


def prompt_acts(prompt: str) -> tuple[str, ...]:
    """The verbs that a prompt asks for and does not negate, in base form, in its order.

    Those of a title before it ("charge: capture and refund") only where there are no others.
    """
    for text in (_TITLE.sub("", prompt), prompt):
        if acts := tuple(word for word, is_negated in _asked(text) if not is_negated):
            return acts
    return ()


def prompt_verbs(prompt: str) -> frozenset[Verb]:
    """Classes of the verbs that a prompt asks for and does not negate."""
    return frozenset(CLASS[word] for word, is_negated in _asked(prompt) if not is_negated)


def idioms(prompt: str) -> tuple[str, ...]:
    """Words of the lexicon that the prompt says in other words: "hand it over" means assign."""
    return _reworded(prompt)[1]


@functools.lru_cache(maxsize=256)
def _reworded(prompt: str) -> tuple[str, tuple[str, ...]]:
    """The prompt with such words in place of the phrases that mean them, and these words."""
    text = _QUOTED.sub(" ", prompt)
    text = text if re.search(r"\w", text) else prompt
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", text.replace("’", "'").replace("_", " "))  # deleteUser
    text = _WONDERS.sub(lambda match: match[match.lastgroup or 0], text)
    text = re.sub(r",? (?:under|in) any circumstances?,?", "", text)
    found: dict[str, None] = {}
    for pattern, word in _PHRASES:
        text, times = pattern.subn(word, text)
        if times:
            found[word] = None
    return text, tuple(word for word in found if word in CLASS)


@functools.lru_cache(maxsize=256)
def _asked(prompt: str) -> tuple[_Asked, ...]:
    text, _ = _reworded(prompt)
    tokens = [token.lower() for token in _TOKEN.findall(text)]
    return tuple(asked for clause in _clauses(tokens) for asked in _read(clause))


def _clauses(tokens: list[str]) -> Iterator[list[str]]:
    """Runs of words in which a negation holds; "don't delete, archive or cancel" is one."""
    clause: list[str] = []
    for index, token in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else ""
        is_list = (
            token == "," and clause and _is_order(clause[-1]) and (_is_order(following) or following in ("or", "nor"))
        )
        if is_list or token in "'\"`#$@*":
            continue
        if token not in _CLAUSE_ENDS and token[0].isalnum():
            clause.append(token)
        elif clause:
            yield clause
            clause = []
    if clause:
        yield clause


def _is_order(token: str) -> bool:
    known = INFLECTED.get(token)
    return known is not None and known.form == "base" and known.word in FAMILY


def _read(clause: list[str]) -> Iterator[_Asked]:
    """The verbs and nouns of verbs that a clause asks for or forbids."""
    if _asks_whether(clause):
        yield _Asked("find", False)
        return
    negation = _Negation()
    governor = ""  # of the words before: are things looked at (read, maybe), done (order) or past (told)
    is_lesson = False  # what follows is to be shown, not done
    for index, token in enumerate(clause):
        before = clause[index - 1] if index else ""
        following = clause[index + 1] if index + 1 < len(clause) else ""
        negation.hear(token, before, following, index)
        teaches = token == "how" and following in _LEARNS and not _TEACHES.isdisjoint(clause[max(0, index - 3) : index])
        is_lesson = is_lesson or teaches
        if token in _QUESTIONS or (token in ("give", "recommend") and following == "me"):
            yield _Asked("find", False)
        known = INFLECTED.get(token)
        word = known.word if known else NOUNS.get(token.removesuffix("s"), "")
        if word == "do" and (token != "do" or following in _SUBJECTS or not _QUESTIONS.isdisjoint(clause[:index])):
            word = ""  # an auxiliary: "how many does it have", "do you know"
        if word:
            form = known.form if known else "noun"
            near = clause[max(0, index - 2) : index]
            meant = _reading(word, form, near, following, governor)
            if meant and not (is_lesson and (word in FAMILY or word in _UNDOES)):
                is_negated = negation.holds(meant, before, index) or following in ("nothing", "none", "no")
                yield _Asked(word, is_negated)
        is_boon = token in ("get", "getting") and following in _BOONS
        if _is_aside(clause, index, governor):
            governor = "aside" if governor == "read" else "topic"
        elif token in ("if", "whether") and governor in ("read", "aside"):
            governor = "maybe"  # "see if it can be cancelled"
        elif token in _READS and not is_boon:
            governor = "read"
        elif not governor and known and _tells(known, before, following):
            governor = "told"
        elif is_boon or token in _ORDERS:
            governor = "order"


def _is_aside(clause: list[str], index: int, governor: str) -> bool:
    """Whether what follows a word only describes: "issues about deleting users", "find users who want to cancel"."""
    token, before = clause[index], clause[index - 1] if index else ""
    if token in _ABOUT:
        return governor == "read" or token.startswith("mention") or before.removesuffix("s") in _TEXTS
    is_theirs = token in _WISHING and before in ("who", "that", "which")
    return is_theirs and any(CLASS.get(word) == "read" for word in clause[: index - 1])


def _asks_whether(clause: list[str]) -> bool:
    """Whether a clause asks if something is so, or what somebody did: its verbs order nothing."""
    first, following = clause[0], clause[1] if len(clause) > 1 else ""
    is_asked = first in _ASKERS or (first in _AFTER_ASKER and following in _SUBJECTS)
    is_told = first in _QUESTIONS - {"how"} and not {"did", "does"}.isdisjoint(clause[1:4])
    return (is_asked or is_told or first in ("any", "anything", "anyone")) and _REQUESTS.isdisjoint(clause)


def _tells(known: Inflected, before: str, following: str) -> bool:
    """Whether a verb tells of what was done: "you sent a transfer", "and got the refund"."""
    is_active = before in _TELLERS or (following in _DETERMINERS and before not in ("be", "get", "getting"))
    return known.form == "past" and is_active


def _reading(word: str, form: str, near: list[str], following: str, governor: str) -> str:
    """How a word is meant: as a `verb` or `noun` that asks for something, or "" where it only describes."""
    before = near[-1] if near else ""
    if following in _OTHERWISE.get(word, ()) or following not in _ONLY_BEFORE.get(word, (following,)):
        return ""
    if (form == "noun" or word in NOUNS) and word != "reset" and following in _ATTRIBUTED:
        return ""
    if following in _CONTROLS and (before in _DETERMINERS or (before in INFLECTED and before not in _VERB_LEADS)):
        return ""  # "the delete button"
    if (governor in ("aside", "topic") and (form == "ing" or before in _ABOUT or before == "to")) or (
        governor == "read" and form == "ing" and before == "of"
    ):
        return ""
    if form == "noun":
        return "noun" if governor in ("", "order") else ""
    if form == "past":
        is_wished = governor == "order" and before not in _DETERMINERS and before not in _STATES
        is_passive = before in ("be", "get", "getting") or is_wished
        is_told = governor in ("read", "aside")
        return "noun" if is_passive and not is_told and (not following or following in _AFTER_PASSIVE) else ""
    is_noun = word in AMBIGUOUS or word in NOUNS or word in _NOUNS_TOO
    if form == "ing":
        is_attribute = before in _DETERMINERS and following  # "my running playlist"
        return "" if is_attribute or (is_noun and governor not in ("", "order")) else "noun"
    if not is_noun:
        return "" if form == "base" and before in _ARTICLES and governor != "order" else "verb"
    is_verb = before in _VERB_LEADS or (following in _OBJECTS and before not in _DETERMINERS)
    if form == "base" and (is_verb or not before):
        return "verb"
    if form == "s" and not before and following in _DETERMINERS:
        return "verb"
    if word not in NOUNS or governor not in ("", "order") or not _ADVERBIAL.isdisjoint(near):
        return ""
    return "noun" if form == "base" or governor == "order" else ""


class _Negation:
    """What is negated in a clause, heard word by word."""

    def __init__(self) -> None:
        self._kind = ""
        self._since = -1

    def hear(self, token: str, before: str, following: str, index: int) -> None:
        kind = self._kind_of(token, before, following)
        if kind == "none":
            self._kind = ""
        elif kind:
            self._kind, self._since = kind, index

    def _kind_of(self, token: str, before: str, following: str) -> str:
        is_not = token in _REFUSALS or token.endswith("n't")
        if is_not:
            if (
                following in _IDIOMS
                or before == "why"
                or (token.endswith("n't") and following == "you" and token != "don't")
            ):
                return "none"
            if before in _STATES or before.endswith("'s") or token in _STATES:
                return "state"
            return "wish" if following in _WISHES else "refusal"
        if token == "no":
            if following in ("longer", "more", "problem", "problems", "worries"):
                return ""
            return "refusal" if following in ("one", "way") else "no"
        if (token, following) in (("instead", "of"), ("rather", "than"), ("other", "than"), ("opposed", "to")):
            return "refusal"
        return "prevention" if token in _PREVENTS and not self._kind else ""

    def holds(self, meant: str, before: str, index: int) -> bool:
        """Whether what is `meant` (verb or noun) at `index` is negated; in doubt it is."""
        if index == self._since:
            return False  # the word that prevents is no victim of itself
        if self._kind == "refusal":
            return True
        is_joined = before in ("to", "or", "nor", "and", "even", "ever")
        if self._kind == "wish":
            return meant == "noun" or is_joined
        if self._kind == "state":
            return index - self._since <= 5 and (meant == "noun" or before == "to")
        if self._kind == "no":
            return index - self._since <= 3
        return self._kind == "prevention" and meant == "noun"
