"""All mail templates, and the parts in which they are translated and rendered."""

import re
from collections.abc import Iterator, Mapping
from functools import cache

from services.messaging.account_templates import ACCOUNT_TEMPLATES
from services.messaging.event_templates import EVENT_TEMPLATES
from services.messaging.gift_templates import GIFT_TEMPLATES
from services.messaging.host_templates import HOST_TEMPLATES
from services.messaging.order_templates import ORDER_TEMPLATES
from services.messaging.redemption_templates import REDEMPTION_TEMPLATES
from services.messaging.settlement_templates import SETTLEMENT_TEMPLATES

# Subject and text by template. A line or paragraph whose values are all empty is left out.
TEMPLATES: Mapping[str, tuple[str, str]] = {
    **ACCOUNT_TEMPLATES,
    **HOST_TEMPLATES,
    **ORDER_TEMPLATES,
    **EVENT_TEMPLATES,
    **REDEMPTION_TEMPLATES,
    **SETTLEMENT_TEMPLATES,
    **GIFT_TEMPLATES,
}
_FACT = re.compile(r"[A-Z][^.{}]*: \{\w+\}( %)?")
_VALUE = re.compile(r" *\{\w+\}")


@cache
def paragraphs_of(template: str) -> tuple[tuple[str, ...], ...]:
    """Return a template's paragraphs: the lines of facts and values, or prose as one line."""
    blocks = re.split(r"\n{2,}", TEMPLATES[template][1].strip("\n"))
    return tuple(_split(block.split("\n")) for block in blocks)


def _split(lines: list[str]) -> tuple[str, ...]:
    if all(_FACT.fullmatch(line) or is_value(line) for line in lines):
        return tuple(lines)
    return (" ".join(lines),)


def is_value(line: str) -> bool:
    """True if a line consists of one value, and of nothing to translate."""
    return _VALUE.fullmatch(line) is not None


def list_texts() -> Iterator[str]:
    """Yield all texts of mails that need a translation."""
    for template, (subject, _) in TEMPLATES.items():
        yield subject
        for paragraph in paragraphs_of(template):
            yield from (line for line in paragraph if not is_value(line))
