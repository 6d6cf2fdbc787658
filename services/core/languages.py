"""Languages of mails and pages: which one a reader gets, and the texts in it.

Texts are written in English in the code and looked up in gettext catalogues, which are read as they are: no
compiled file is needed. `python -m schema.texts --write` brings the catalogues up to date with the code.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from babel.messages.pofile import read_po

from models.enums import Locale

CATALOGUES = Path(__file__).with_name("catalogues")
TAGS: Mapping[Locale, str] = MappingProxyType({locale: locale.value.lower() for locale in Locale})
"""Names of the languages in HTML."""
_MAX_HEADER = 500
_RANGE = re.compile(r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?\s*")


def choose(accept_language: str) -> Locale | None:
    """Return the language that an Accept-Language header likes best of ours; None if it names none."""
    found: list[tuple[float, Locale]] = []
    for part in accept_language[:_MAX_HEADER].split(","):
        match = _RANGE.fullmatch(part)
        if match and match[1].upper() in Locale.__members__ and float(match[2] or 1) > 0:
            found.append((float(match[2] or 1), Locale(match[1].upper())))
    return max(found, key=lambda each: each[0])[1] if found else None


def translate(text: str, locale: Locale) -> str:
    """Return an English text in a language; as it is if its catalogue lacks it."""
    return read_catalogue(locale).get(text) or text


@cache
def read_catalogue(locale: Locale) -> Mapping[str, str]:
    """Read the translations of a language; none for English, in which texts are written."""
    if locale is Locale.EN:
        return {}
    with (CATALOGUES / f"{TAGS[locale]}.po").open("rb") as file:
        return {str(message.id): str(message.string) for message in read_po(file) if message.id}
