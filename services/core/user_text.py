"""Cleaning and checking of text written by users."""

import re

from services.core.errors import Invalid

MAX_LENGTH = 10_000
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # all but tab, newline and carriage return
_SURROGATE = re.compile(r"[\ud800-\udfff]")


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
    """Clean a text that must not be empty.

    Raises:
        Invalid: as in `clean_text`, or nothing but white space is left.
    """
    cleaned = clean_text(text, field=field, max_length=max_length)
    if not cleaned:
        raise Invalid("This field must not be empty.", field=field)
    return cleaned
