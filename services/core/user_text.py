"""Text that people write."""

from collections.abc import Sequence

from services.core.errors import Invalid

MAX_LENGTH = 10_000


def clean(text: str | None, *, path: Sequence[str], max_length: int = MAX_LENGTH) -> str | None:
    """Return the text without outer white space, or None for none.

    Raises:
        Invalid: it holds a NUL or another control character that text has no use for, or is too long.
    """
    if text is None:
        return None
    if any(ord(c) < 32 and c not in "\n\r\t" for c in text):  # noqa: PLR2004 - ASCII's controls
        raise Invalid("The text holds a control character", path=path)
    if any(0xD800 <= ord(c) <= 0xDFFF for c in text):  # noqa: PLR2004 - the surrogates' block
        raise Invalid("The text holds half of a surrogate pair", path=path)
    if len(text) > max_length:
        raise Invalid(f"The text is longer than {max_length} characters", path=path)
    return text.strip()


def required(text: str | None, *, path: Sequence[str], max_length: int = 200) -> str:
    """Return the text, cleaned.

    Raises:
        Invalid: as `clean`; and where nothing is left of it.
    """
    cleaned = clean(text, path=path, max_length=max_length)
    if not cleaned:
        raise Invalid("This must not be empty", path=path)
    return cleaned
