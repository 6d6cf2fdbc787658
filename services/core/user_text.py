"""Cleaning and checking of text written by users."""

import re
import unicodedata

from services.core.errors import Invalid

MAX_LENGTH = 10_000
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # all but tab, newline and carriage return
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_JOINERS = "\u200c\u200d"  # part of Persian words, of Indic letters, and of emoji
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols that show nothing
_UNSEEN_CATEGORIES = {"Cc", "Cf", "Cn", "Co", "Zl", "Zp", "Zs"}


def clean_text(text: str | None, *, field: str, max_length: int = MAX_LENGTH) -> str | None:
    """Strip outer white space from a text; None stays None.

    Raises:
        Invalid: the text contains a control character other than tab, newline and carriage return, half of a
            surrogate pair, or too many characters.
    """
    if text is None:
        return None
    if _CONTROL_CHARACTER.search(text):
        raise Invalid("Remove the control characters from the text.", field=field)
    if _SURROGATE.search(text):
        raise Invalid("The text contains half of a surrogate pair; send valid Unicode.", field=field)
    if len(text) > max_length:
        raise Invalid(f"The text can have at most {max_length} characters.", field=field)
    return text.strip()


def require_text(text: str | None, *, field: str, max_length: int = 200) -> str:
    """Clean a text that must show something.

    Raises:
        Invalid: as in `clean_text`, or nothing but white space and invisible characters is left.
    """
    cleaned = clean_text(text, field=field, max_length=max_length)
    if not cleaned or not _is_visible(cleaned):
        raise Invalid("This field must not be empty.", field=field)
    return cleaned


def require_name(text: str | None, *, field: str, max_length: int = 200) -> str:
    """Clean a name: one line in composed form, without characters that cannot be seen or turn text round.

    Names that look the same are the same: white space of any kind becomes one space.

    Raises:
        Invalid: as in `require_text`.
    """
    shown = require_text(text, field=field, max_length=max_length)
    line = " ".join(unicodedata.normalize("NFC", shown).split())
    return "".join(c for c in line if c in _JOINERS or unicodedata.category(c) not in {"Cc", "Cf"}).strip()


def _is_visible(text: str) -> bool:
    return any(
        unicodedata.category(c) not in _UNSEEN_CATEGORIES
        and not unicodedata.combining(c)
        and c not in _BLANK_LETTERS
        for c in text
    )
