"""The rows of a mutation's payload that PostgreSQL writes as JSON, with the last writes of the mutation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.sql_json.payloads import PayloadText
from services.sql_json.shape import BoundShape


@dataclass
class PayloadRead:
    """What is read of the rows that one run of a mutation returns."""

    bind: Callable[[Mapping[str, Any]], BoundShape | None]
    """Returns what to read for the fields of a payload; None if they hold no row."""
    text: PayloadText = field(default_factory=PayloadText)
