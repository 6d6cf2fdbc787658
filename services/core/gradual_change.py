"""Changes of rates and policies: only for the future, and by small steps."""

from datetime import datetime, timedelta
from decimal import Decimal

from models import now
from services.core.errors import Invalid

WINDOW = timedelta(days=1)
"""The time in which a value at most doubles or halves; the database's guards use the same."""
Number = int | Decimal


def require_future(valid_from: datetime | None) -> None:
    """Require that a start time, if any, is not in the past.

    Raises:
        Invalid: it is in the past.
    """
    if valid_from is not None and valid_from < now():
        raise Invalid("Choose a start that is not in the past.", field="validFrom")


def is_small_change(old: Number, new: Number, *, step: Number = 0) -> bool:
    """True if the larger value is at most twice the smaller, or they differ by at most `step`."""
    low, high = sorted((Decimal(old), Decimal(new)))
    return high <= 2 * low or high - low <= step
