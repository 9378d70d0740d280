"""What a prompt calls by name, and of what kind it says that is: by the word beside it, or as who made something.

"the collection Dune" says its kind; "directed by Ana Lima" and "Ana Lima's latest film" say that she is a person, or a
maker, and no film. Called by `wish.py`, which knows what the catalog can look up; pure, of English sentences.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import NamedTuple

from pipeline.catalog.lexicon import CLASS, word_set

# What catalogs call those who make things: persons, and others.
PERSONS = (
    "person people user customer member contact employee author artist actor player patient student guest owner "
    "account profile creator director writer designer architect engineer photographer poet playwright composer "
    "illustrator painter sculptor potter narrator host speaker lecturer instructor teacher professor coach trainer "
    "athlete rider driver fighter skipper winemaker perfumer bartender chef cook journalist columnist reporter critic "
    "scientist researcher scholar inventor curator collector developer musician singer conductor performer dancer "
    "choreographer comedian politician legislator senator president monarch ruler contributor climber explorer "
    "astronaut pilot captain translator editor celebrity figure maker artisan storyteller translators staff expert"
)
MAKERS = (
    "company companies publisher studio brand label house manufacturer maker producer team club band organization "
    "organisation institution university school provider channel network dairy brewery winery distillery foundry "
    "estate workshop office firm agency troupe ensemble orchestra operator supplier vendor franchise constructor "
    "builder bureau press"
)

UPPER = "".join(filter(str.isupper, map(chr, range(0x530))))  # to Cyrillic
_WORD = rf"[{UPPER}](?:[\w'’-]|\.(?=\w)|(?<=\b[{UPPER}])\.|(?<=\b[DMS][rt])\.){{0,40}}"
_JOINS = "of |the |and |& |de |del |di |da |du |la |le |van |von |der |ten |al |bin "
# Every repeat is bounded: a prompt may be written to make a search slow.
_NAME = re.compile(
    rf"(?<!\w){_WORD}(?: (?:{_JOINS}){{0,2}}{_WORD}){{0,6}}"
    r"|[\"“«][^\"“”«»]{2,80}[\"”»]|(?<!\S)'[^']{2,80}'(?!\w)"
)
_FULL_NAME = re.compile(
    rf"(?!The |A |An )[{UPPER}][\w'’-]+"
    rf"(?: (?:de |del |di |da |van |von |der |la |le |al |bin )?[{UPPER}][\w'’.-]*){{1,2}}"
)
_JOINTS = ("of", "the", "and", "&")
_QUOTES = "\"“«'"
_NAMES_READ = 8
_BEFORE, _AFTER = 60, 48  # characters around a name that say what it is
_KIND_WORDS = 2  # of a kind that stands right beside a name: "the TV show Friends"
_TOKEN = re.compile(r"[^\W_]+")
_STOP = re.compile(r"[.!?;\n]")
_PASSED = word_set("the a an my our their his her its this that called named titled entitled")  # before a name
_PARTS = word_set(  # part a name from a word
    "of by in on at to from with for and or as is was are were about s did do does has have had who what which when "
    "where how me us like vs versus than behind that starring featuring"
)
_FIRM = word_set(  # the last word of a maker's name
    "games game press studios studio house works motors inc ltd llc gmbh sons son brothers bros club university "
    "college institute company co corp group foundation museum gallery records books pictures entertainment media "
    "network radio theatre theater opera orchestra ensemble brewery winery dairy estate kiln workshop foundry labs "
    "lab software systems wanderers united city rovers team school academy publishing publishers verlag editions "
    "interactive productions airlines"
)
_OPENERS = word_set(  # what a sentence may begin with before a name, with a capital as the name has
    "what whats who whos whom whose which when where why how is are was were am do does did has have had can could "
    "will would shall should may might must please show give tell get find list search look see fetch let lets let's "
    "i i'm im i've i'd i'll my we we're our me you your it it's its this that these those there here all any some "
    "every each no not the a an in on at for from of to by with about as and or but if so then also add create make "
    "play follow unfollow rate save put set start stop open close cancel delete remove book order buy watch read "
    "listen hear download upload pictures photos images image picture photo cover covers reviews review videos "
    "trailer trailers works books songs movies films shows episodes more most best top latest newest new next last "
    "first recent upcoming popular trending everything anything something someone number names name info information "
    "details need want like love looking check compare count hi hello hey ok okay thanks dear after before since "
    "until during near what's who's where's how's when's"
)
GIVEN_NAMES = word_set(  # borne by many
    "aaron abdul abigail ada adam adela adele adrian agnes ahmed aiko aisha akira alan albert alberto alejandro "
    "alessandro alex alexander alexandra alexei alfred alfredo alice alina alison amanda amara amelia amina amir amy "
    "ana anastasia anders andre andrea andreas andrew andy angela angelina anika anita anja ann anna anne anneke "
    "annika anthony anton antonio anya ari ariana arjun arthur arturo ashley astrid audrey august aurora ava axel "
    "barbara beatrice beatriz bella ben benjamin bernard bernd bianca bill billie birgit bjorn bob boris brad brandon "
    "brenda brian bridget brigitte britney bronwen bruce bruno camila camille carl carla carlo carlos carmen carol "
    "caroline catherine cecilia celine chad charles charlie charlotte chen chiara chloe chris christian christina "
    "christine christoph christopher cillian claire clara claude claudia clint colin connor craig cristina cynthia "
    "daisy dan dana daniel daniela danielle danny daria dario dave david deborah denis denise derek diana diego "
    "dieter dmitri dolores dominic donald donna dora doris dorothy douglas drake dua dylan ed eddie edgar edith "
    "eduardo edward edwin eileen elaine eleanor elena eli elias elif elijah elisa elizabeth ella ellen elliot elon "
    "elsa elton emil emile emilia emily emma emmanuel enrique enzo eric erica erik erika ernest esther ethan eugene "
    "eva evan eve evelyn ezra fabian farah fatima felix fernando finn fiona florence florian fran frances francesca "
    "francesco francis francisco franco frank franz fred freddie frederick freya frida friedrich gabriel gabriela "
    "gary gavin george georgia gerald gerard gerd gianni gina giorgio giovanni giulia giuseppe gloria goran gordon "
    "grace graham greg greta guido guillermo gunnar gustav guy hana hanna hannah hans harald harold harriet harrison "
    "harry haruki haruto hassan heather hector heidi helen helena helga henri henrik henry herbert hilary hiro hiroko "
    "hiroshi hisako howard hugh hugo ian ibrahim ida ignacio igor ilse imani ines ingrid irene irina iris isaac "
    "isabel isabella isla ivan ivana jack jackie jacob jacques jaime jake jakob james jamie jan jana jane janet jared "
    "jasmine jason javier jay jean jeff jeffrey jenna jennifer jenny jeremy jerome jerry jesse jessica jill jim jimmy "
    "joan joanna joao joaquin joe joel johan johann johanna john johnny jon jonas jonathan jordan jorge jose josef "
    "joseph josephine josh joshua joy juan juana judith judy jules julia julian juliana julie juliet julius jun june "
    "jurgen justin kai karen karim karin karl karla kate katherine kathleen katia katrin katy kazuo keanu keiko keith "
    "kelly ken kenji kenneth kerstin kevin khalid kim kirsten klaus kofi kristen kristina kurt kwame kyle kylie lady "
    "lara lars laszlo laura lauren laurence layla lea leah lee leif leila lena leo leon leonard leonardo leonie "
    "leopold leopoldine leroy leslie levi lewis li liam lila lily lin linda lisa liv liz lola lorenzo louis louisa "
    "louise luc luca lucas lucia lucy ludwig luigi luis luisa lukas luna lydia mads maeve magdalena magnus maja "
    "malala malik manuel mara marc marcel marco marcus margaret margot marguerite maria marie marilyn marina mario "
    "marion marisol mark marlene marlon marta martha martin martina marvin mary masha mateo mathilde matilda matt "
    "matteo matthew maurice max maxim maya meg megan mei melanie melissa mercedes meryl mia michael michel michelle "
    "miguel mika mike mikhail mila miles millie milo mina ming miranda miriam mohamed mohammed moira molly mona "
    "monica morgan moritz moses muhammad nadia naomi natalia natalie natasha nathan neil nelson nia nicholas nick "
    "nico nicola nicolas nicole niels nigel nikita nikola nina noah noel nora norbert norma norman octavia odette "
    "olaf oleg olga oliver olivia omar oona orson oscar oskar otto owen pablo paola paolo pascal pat patricia patrick "
    "paul paula paulina pavel pedro penelope per percy perry peter petra phil philip philippa philippe phoebe pia "
    "pierre piotr priya quentin quincy rachel rafael ragnhild rahul raj ralph ramon raphael rasmus raul ravi ray "
    "raymond rebecca reese regina reinhard renata rene ricardo richard rick ridley rihanna rita rob robert roberto "
    "robin rocio rodrigo roger roland roman romy ronald rosa rosalind rose roxane roy ruben rudolf rufus rupert "
    "russell ruth ryan sabine sabrina sally salma salvador sam samantha samir samuel sandra sanjay santiago sara "
    "sarah sasha satoshi scarlett scott sean sebastian selena sergei sergio seth shakira shane sharon sheila shirley "
    "sidney siegfried sigrid silvia simon simone sinead snoop sofia solveig sonia sophia sophie stan stanley stefan "
    "stefanie stella stephanie stephen steve steven stewart stuart sue susan susanne suzanne sven svetlana sylvia "
    "tadeusz takashi takeshi tamara tamsin tania tara tariq tatiana taylor ted teresa terry thea theo theodore "
    "theresa thomas tilda tim timothy tina tobias toby todd tom tomas tomasz tomo toni tony tracy trevor tyler uma "
    "umberto ursula valentina valeria vanessa vera veronica vicente victor victoria vijay viktor vincent viola violet "
    "virginia vivian vladimir walt walter wanda wayne wei wendy werner wilhelm will willa william willow winifred "
    "winona wolfgang woody xavier yan yann yara yasmin yoko yolanda yuki yuri yusuf yves yvonne zachary zara zoe "
    "zoltan"
)

_TIMES = (
    "today tomorrow yesterday tonight monday tuesday wednesday thursday friday saturday sunday january february march "
    "april may june july august september october november december"
)
_NO_MAKER = word_set(  # one word behind "by" that made nothing
    f"{_TIMES} id ids name title price cost date time status type state size amount number age rating popularity "
    "relevance email mail sms phone post default hand accident chance"
)
_NO_NAME = word_set("ID IDs URL URLs PDF API APIs SMS CSV JSON XML HTML OK VIP")  # capitals that name nothing alone
_PLACE = word_set(  # the last word of what is no person, though a given name begins it
    "beach station airport park street square bridge island islands lake mountain mountains valley hotel hall palace "
    "castle cathedral church county province falls river bay harbour harbor port road avenue tower"
)
# Of _FIRM what titles and places end in as well: a firm only where it made something.
_NO_FIRM = word_set("city house games game works books pictures united school academy network radio")

_BY = re.compile(  # before who made something
    r"(?i)\b(?:by|starring|featuring|feat|from the pen of|works of|work of|oeuvre of)(?: the)?\s*$"
)
_ORDERED = re.compile(  # before what orders or limits something, or how it is done
    r"(?i)\b(?:sort(?:ed|ing)?|order(?:ed|ing)?|group(?:ed)?|filter(?:ed)?|rank(?:ed)?|due|pay|paid|split|"
    r"deliver(?:ed)?|notify|close|near)(?: [\w-]{1,20}){0,3} by(?: the)?\s*$"
)
_OWNED = re.compile(  # behind who owns what only a maker has
    r"(?i)^\s*(?!(?:[\w-]{1,20} ){0,3}(?:season|episode|scene|chapter|track|version|edition|release|rating|cit(?:y|"
    r"ies))s?\b)(?:own |very |most |\d{4} ){0,3}(?:latest|newest|first|last|debut|best|highest|top|most|biggest|"
    r"oldest|earliest|next|new|recent|second|third|upcoming|other|complete|entire|works?|oeuvre|books?|films?|movies?|"
    r"songs?|albums?|games?|shows?|plays?|poems?|paintings?|designs?|buildings?|novels?|stuff|things|creations?|"
    r"career|discography|filmography|bibliography|portfolio|collection|output|catalogue?|birth\w{0,9}|death|age|"
    r"biography|bio|wife|husband|nationality)\b"
)
_MADE = re.compile(  # behind a maker
    r"^\s*(?:(?:has|have|had|ever|also|just|actually|recently|himself|herself)\s+){0,3}(?:written|wrote|writes|made|"
    r"makes|built|designed|directed|directs|composed|painted|narrated|narrates|hosted|created|creates|published|"
    r"publishes|invented|recorded|sang|sings|worked|starred|acted in|appeared in|appears in|drew|drawn|produced|"
    r"produces|shot|taught|teaches|cooked|brewed|brews|grows|grew|bottled|drove|climbed|coached|coaches|edited|"
    r"translated|illustrated|choreographed|performed|performs|curated|put out|brought out|brings out|was born|died|"
    r"lived)\b"
)
_PASSIVE = re.compile(r"(?i)\b(?:was|were|is|are|been|being|be|get|got)\s*$")
_ASKED = re.compile(r"(?i)(?<!how much money )\b(?:did|does)\s*$")
_MAKE = re.compile(  # the same behind "did X"
    r"^\s*(?:ever |also |actually )?(?:write|make|build|design|direct|compose|paint|narrate|host|create|publish|"
    r"invent|record|sing|work on|star in|act in|appear in|draw|produce|teach|cook|brew|grow|bottle|drive|climb|coach|"
    r"edit|translate|illustrate|choreograph|perform|curate|play|found|discover|develop|put out|bring out)\b"
)
_ROLE_OF = re.compile(  # "the director of Dune": it is no person
    r"(?i)\b(?:(?!number|order|offer|folder|letter|transfer|calendar)\w{2,30}(?:er|or|ist|ian|wright|smith|ect)s?|"
    r"poets?|cast|crew|staff|stars?) (?:of|behind|for)(?: the| a)?\s*$"
)
_OF_FIRM = re.compile(
    r"(?i)\b(?:logo|headquarters|ceo|products|staff|stock|share price|makers?) (?:of|for)(?: the)?\s*$"
)
_LOWER_BY = re.compile(
    r"\b(by|starring|featuring) ([^\W\d_][\w'’-]{0,40})((?: [^\W\d_][\w'’-]{0,40}){0,2})(?= ?(?:$|[?.!,;]))"
)


_KIND = (  # words of a kind, none of which begins something else
    r"(?:(?!(?:of|by|in|on|at|to|from|with|for|and|or|about|like|as|than|that|which|using|containing|starring|featuring"
    r"|my|our|the)\b)[\w-]{1,30} ){0,6}"
)
_MAKES_A = r"(?:create|make|build|start|open|set up|generate|launch|register|put together) (?:me |us |myself )?an?"
_CALLED = r"(?:called|named|titled|entitled|with the (?:name|title)(?: of)?)"
_NEW_NAME = re.compile(  # before what something is to be called that is not there yet: "a playlist called"
    r"(?i)(?:\b(?:an? new|(?<!\bthe )(?<!\bmy )(?<!\bhis )(?<!\bher )(?<!\btheir )new|another|(?:in|on)to an?"
    rf"|{_MAKES_A}) {_KIND}(?:(?:(?:that|which) (?:is|should be) |to be )?{_CALLED} )?"
    r"|\b(?:call|name|title|rename) (?:it|this|that|them|the (?:new )?[\w-]{1,30}) (?:to |as |into )?"
    r"|\brename (?:\S.{0,40} )?(?:to|into|as) )$"
)
_OWN_THING = re.compile(rf"(?i)\b(?:my|our) (?:own )?{_KIND}$")  # before the name of what is the caller's own
_OWN_KIND = re.compile(r"\b(?:[Mm]y|[Oo]ur) (?:own )?((?:(?!called|named|titled|entitled)[a-z-]{2,30}(?: |\b)){1,3})")


class Named(NamedTuple):
    """Something a prompt calls by name."""

    beside: str  # the words of a kind that stand right beside it
    last: str  # the last of its own words, which may be its kind: "the Ashmolean Museum"
    near: str  # the words around it, of which one may be its kind
    makes: bool  # it is said to have made something, or to own what it made
    as_person: float  # how much it looks like a person's name
    as_firm: float  # the same of a maker that is no person
    is_own: bool = False  # it is said to be the caller's own: "my board Ideas"


@functools.lru_cache(maxsize=1024)
def names(prompt: str) -> tuple[Named, ...]:
    """The first few things that a prompt calls by name, in its order."""
    if prompt.isupper():
        prompt = prompt.lower()
    found = [
        named
        for match in itertools.islice(_NAME.finditer(prompt), _NAMES_READ)
        if not _is_new(prompt, match.start()) and (named := _read(prompt, match))
    ]
    if not found and not any(c in UPPER for c in prompt[1:]) and (match := _LOWER_BY.search(prompt)) is not None:
        preposition, first, more = match.groups()
        if preposition != "by" or first in GIVEN_NAMES:
            found.append(Named("", "", "", True, 1.0 if more.count(" ") == 1 else 0.7, 0.6))
    return tuple(found)


@functools.lru_cache(maxsize=1024)
def without_new(prompt: str) -> str:
    """The prompt without the names of what it wants made or renamed: there is nothing to be found by them."""
    parts, end = [], 0
    for match in itertools.islice(_NAME.finditer(prompt), _NAMES_READ):
        if _is_new(prompt, match.start()):
            parts.append(prompt[end : match.start()])
            end = match.end()
    return "".join([*parts, prompt[end:]])


def _is_new(prompt: str, start: int) -> bool:
    """Whether what begins there is what something is to be called."""
    return _NEW_NAME.search(_STOP.split(prompt[max(0, start - 2 * _BEFORE) : start])[-1]) is not None


def own_kinds(prompt: str) -> str:
    """The words of what a prompt calls the caller's own: "my playlists"; "" where there is none."""
    return " ".join(match[1].strip() for match in itertools.islice(_OWN_KIND.finditer(prompt), _NAMES_READ))


def _read(prompt: str, match: re.Match[str]) -> Named | None:
    """What a match of _NAME names, None where it is no name."""
    text, start = match[0], match.start()
    is_quoted = text[0] in _QUOTES
    if not is_quoted:
        text = _one_name(text).rstrip(".,'’-")
        left = _without_openers(text) if _opens(prompt, start) else text
        text, start = left, start + len(text) - len(left)
        first = text.partition(" ")[0]
        if text in _NO_NAME or first.replace("’", "'").partition("'")[0] in ("", "I") or first in _JOINTS:
            return None
    end = start + len(text)
    owns = text.endswith(("'s", "’s"))
    if not is_quoted and text.endswith("s") and prompt[end : end + 2] in ("' ", "’ "):  # "the Rovers' games"
        owns, end = True, end + 1
    if not is_quoted and not owns and " " not in text and _opens(prompt, start):
        return None  # a capital at the start of a sentence names nothing
    low = max(0, start - _BEFORE)
    before = _STOP.split(prompt[low:start])[-1]
    after = _STOP.split(prompt[end : end + _AFTER])[0].partition(":")[0]
    name = text[:-2] if text.endswith(("'s", "’s")) else text
    makes = _makes(name, before, after, owns, is_quoted)
    last, as_person, as_firm = _looks(name, before, makes, is_quoted)
    # The word that opens the sentence is what to do; behind who owns or made something stands what it is, or the verb.
    left = _without_openers(before.lstrip(), 1) if _opens(prompt, start - len(before)) else before
    beside = _kind_beside(left, "" if makes or owns else after)
    return Named(beside, last, f"{before} {after}", makes, as_person, as_firm, _OWN_THING.search(before) is not None)


def _makes(name: str, before: str, after: str, owns: bool, is_quoted: bool) -> bool:
    """Whether the words before and after a name say that it made something."""
    if name.lower() in (_NO_MAKER if not is_quoted else ()):
        return False
    if _BY.search(before) is not None:
        return _ORDERED.search(before) is None
    if owns or is_quoted:
        return owns and _OWNED.match(after) is not None
    if _MADE.match(after) is not None:
        return _PASSIVE.search(before) is None
    return _ASKED.search(before) is not None and _MAKE.match(after) is not None


def _looks(name: str, before: str, makes: bool, is_quoted: bool) -> tuple[str, float, float]:
    """The name's last word, where that may be its kind; how much the name looks like a person's, and like a firm's."""
    words = [word.lower() for word in _TOKEN.findall(name)] or [""]
    is_firm = not is_quoted and ((words[-1] in _FIRM and (makes or words[-1] not in _NO_FIRM)) or "&" in name)
    is_full = not (is_quoted or is_firm or words[-1] in _PLACE or "'s " in name or "’s " in name)
    is_full = is_full and _FULL_NAME.fullmatch(name) is not None
    has_given = is_full and words[0] in GIVEN_NAMES
    tail = name.rstrip("\"”»'").rpartition(" ")[2]
    last = words[-1] if len(words) > 1 and not is_full and tail[:1] in UPPER else ""
    if makes:
        as_person = 0.0 if is_firm else 1.0 if has_given else 0.9 if is_full else 0.7
        return last, as_person, 1.0 if is_firm else 0.4 if has_given else 0.6 if is_full else 0.8
    as_person = 0.8 if has_given and _ROLE_OF.search(before) is None else 0.2 if is_full else 0.0
    return last, as_person, 0.8 if is_firm or (not is_quoted and _OF_FIRM.search(before) is not None) else 0.0


def _without_openers(text: str, most: int = 20) -> str:
    """The text from its first word on that is no opener of a sentence, at most so many less; "" where there is none."""
    for _ in range(most):
        first, _, rest = text.partition(" ")
        if first.lower().replace("’", "'") not in _OPENERS and first.lower() not in CLASS:
            break
        text = rest
    return text


def _one_name(text: str) -> str:
    """The first of two full names that "and" joins."""
    first, joint, second = text.partition(" and ")
    return first if joint and " " in first and " " in second and second[0] in UPPER else text


def _opens(prompt: str, start: int) -> bool:
    """Whether a sentence begins there."""
    head = prompt[max(0, start - 8) : start].rstrip(" \"“‘«'(-")
    return (not head and start <= 8) or head[-1:] in (*".!?;\n",)


def _kind_beside(before: str, after: str) -> str:
    """The words that stand right before and right after a name."""
    left = [word.lower() for word in _TOKEN.findall(before)]
    while left and left[-1] in _PASSED:
        left.pop()
    right = [] if after.startswith(",") else [word.lower() for word in _TOKEN.findall(after)]
    near = itertools.chain(
        itertools.takewhile(lambda word: word not in _PARTS, reversed(left[-_KIND_WORDS:])),
        itertools.takewhile(lambda word: word not in _PARTS, right[:_KIND_WORDS]),
    )
    return " ".join(word for word in near if not word.endswith("ed"))  # "designed" is no designer
