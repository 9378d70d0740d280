"""Countries that a prompt names, as codes of two letters (ISO 3166-1): "ship it from Germany to Japan".

Only names in capitals behind a preposition, and none that people or states of a country bear too (Jordan, Georgia).
Pure; called by `wish`, and by `train/slots.py` to tell what was made up.
"""

from __future__ import annotations

import functools
import re

from pipeline.candidates.literals import unquoted
from pipeline.candidates.names import Name
from pipeline.types import Parameter

_NAMES = (
    "Afghanistan AF|Albania AL|Algeria DZ|Andorra AD|Angola AO|Argentina AR|Armenia AM|Australia AU|Austria AT|"
    "Azerbaijan AZ|Bahamas BS|Bahrain BH|Bangladesh BD|Barbados BB|Belarus BY|Belgium BE|Belize BZ|Benin BJ|Bhutan BT|"
    "Bolivia BO|Bosnia and Herzegovina BA|Botswana BW|Brazil BR|Brunei BN|Bulgaria BG|Burkina Faso BF|Burundi BI|"
    "Cambodia KH|Cameroon CM|Canada CA|Cape Verde CV|Chile CL|China CN|Colombia CO|Costa Rica CR|Croatia HR|Cuba CU|"
    "Cyprus CY|Czech Republic CZ|Czechia CZ|Denmark DK|Djibouti DJ|Dominican Republic DO|Ecuador EC|Egypt EG|"
    "El Salvador SV|Eritrea ER|Estonia EE|Eswatini SZ|Ethiopia ET|Fiji FJ|Finland FI|France FR|Gabon GA|Gambia GM|"
    "Germany DE|Ghana GH|Greece GR|Guatemala GT|Guyana GY|Haiti HT|Honduras HN|Hong Kong HK|Hungary HU|Iceland IS|"
    "India IN|Indonesia ID|Iran IR|Iraq IQ|Ireland IE|Israel IL|Italy IT|Ivory Coast CI|Jamaica JM|Japan JP|"
    "Kazakhstan KZ|Kenya KE|Kuwait KW|Kyrgyzstan KG|Laos LA|Latvia LV|Lesotho LS|Liberia LR|Libya LY|Liechtenstein LI|"
    "Lithuania LT|Luxembourg LU|Macau MO|Madagascar MG|Malawi MW|Malaysia MY|Maldives MV|Malta MT|Mauritania MR|"
    "Mauritius MU|Mexico MX|Moldova MD|Monaco MC|Mongolia MN|Montenegro ME|Morocco MA|Mozambique MZ|Myanmar MM|"
    "Namibia NA|Nepal NP|Netherlands NL|New Zealand NZ|Nicaragua NI|Nigeria NG|North Korea KP|North Macedonia MK|"
    "Norway NO|Oman OM|Pakistan PK|Panama PA|Papua New Guinea PG|Paraguay PY|Peru PE|Philippines PH|Poland PL|"
    "Portugal PT|Puerto Rico PR|Qatar QA|Romania RO|Russia RU|Rwanda RW|Saudi Arabia SA|Senegal SN|Serbia RS|"
    "Seychelles SC|Sierra Leone SL|Singapore SG|Slovakia SK|Slovenia SI|Somalia SO|South Africa ZA|South Korea KR|"
    "South Sudan SS|Spain ES|Sri Lanka LK|Sudan SD|Suriname SR|Sweden SE|Switzerland CH|Syria SY|Taiwan TW|"
    "Tajikistan TJ|Tanzania TZ|Thailand TH|Togo TG|Tunisia TN|Turkey TR|Türkiye TR|Turkmenistan TM|Uganda UG|"
    "Ukraine UA|United Arab Emirates AE|UAE AE|United Kingdom GB|UK GB|Great Britain GB|United States of America US|"
    "United States US|USA US|US US|Uruguay UY|Uzbekistan UZ|Vatican City VA|Venezuela VE|Vietnam VN|Yemen YE|Zambia ZM|"
    "Zimbabwe ZW"
)
_CODES = {name: code for entry in _NAMES.split("|") for name, _, code in [entry.rpartition(" ")]}
_ALL = frozenset(_CODES.values())
_SAID = re.compile(
    rf"\b(?P<side>[Ii]n|[Ff]rom|[Tt]o|[Ff]or|[Oo]f|[Ww]ithin|[Ii]nto|[Aa]cross) (?:the )?"
    rf"(?P<name>{'|'.join(sorted(map(re.escape, _CODES), key=len, reverse=True))})(?![\w’'-]| (?!I\b)[A-Z])"
)
_FORM = re.compile(r"(?i)\b3166\b|\balpha-?2\b|\b(?:two|2)[- ]?(?:letter|character|char)s?\b|, two letters")
_LONG = re.compile(r"(?i)\b(?:three|3)[- ]?letter|alpha-?3")
_PLACES = frozenset(("country", "nationality", "citizenship", "nation", "region", "market", "countries"))
_STARTS = frozenset(("origin", "from", "source", "departure", "sender", "pickup"))
_AIMS = frozenset(("destination", "to", "target", "arrival", "recipient", "delivery", "shipping"))
_LETTERS_MIN = 3  # countries among an enum's literals, for it to be one of countries


@functools.lru_cache(maxsize=64)
def said(prompt: str) -> tuple[tuple[str, str], ...]:
    """The countries that a prompt names outside of quotes, each with the word before it: ("from", "DE")."""
    if len(prompt) != len(outside := unquoted(prompt)):
        prompt = outside
    return tuple((match["side"].lower(), _CODES[match["name"]]) for match in _SAID.finditer(prompt))


def code(prompt: str, name: Name, parameter: Parameter) -> str | None:
    """The code of the only country that is said on the parameter's side; None where it takes no code of two letters."""
    if parameter.type not in ("string", "any") or _PLACES.isdisjoint(name.words) or not (found := said(prompt)):
        return None
    if parameter.enum:
        literals = {str(value).upper(): value for value in parameter.enum}
        if sum(literal in _ALL for literal in literals) < min(_LETTERS_MIN, len(literals)):
            return None
    else:
        literals = {}
        if _FORM.search(parameter.description) is None or _LONG.search(parameter.description):
            return None
    words = set(name.words)
    if words & _STARTS:
        found = tuple((side, country) for side, country in found if side == "from")
    elif words & _AIMS:
        found = tuple((side, country) for side, country in found if side != "from")
    countries = {country for _, country in found}
    country = countries.pop() if len(countries) == 1 else ""
    return (literals.get(country) if literals else country) or None
