"""What the database refused, in words for a user: constraints by name."""

from sqlalchemy.exc import DBAPIError

from services.errors import (
    Conflict,
    InsufficientFunds,
    Invalid,
    InvalidState,
    Problem,
)

_BY_CONSTRAINT: dict[str, tuple[type[Problem], str, tuple[str, ...]]] = {
    "ck_ledger_account_floor": (
        InsufficientFunds,
        "The balance available is less than the amount",
        ("input", "amount"),
    ),
    "uq_transaction_order_kind": (
        InvalidState,
        "This order has been settled already",
        ("input", "id"),
    ),
    "order_sides_open": (InvalidState, "One of the sides is archived", ("input", "to")),
    "pk_hold": (InvalidState, "This order's amount has been held before", ("input", "id")),
    "order_status_transition": (
        InvalidState,
        "The order is not in that state any more",
        ("input", "id"),
    ),
    "ck_refund_total_at_most_the_original": (
        InvalidState,
        "The refunds would exceed the original",
        ("input", "amount"),
    ),
    "uq_collective_slug": (Conflict, "This slug is taken", ("input", "slug")),
    "pk_slug_redirect": (Conflict, "This slug is taken", ("input", "slug")),
    "uq_credential_email": (Conflict, "This address is in use", ("input", "email")),
    "uq_member_open": (Conflict, "This membership exists", ("input", "role")),
    "uq_invitation_pending": (
        Conflict,
        "This invitation is waiting for an answer",
        ("input", "user"),
    ),
    "uq_host_application_pending": (
        Conflict,
        "An application of this collective is waiting for an answer",
        ("input", "collective"),
    ),
    "ledger_time_in_future": (
        Invalid,
        "The ledger's time cannot lie in the future",
        ("input", "at"),
    ),
}
_NUMERIC_VALUE_OUT_OF_RANGE = "22003"
_LOCK_NOT_AVAILABLE = "55P03"
RETRYABLE = {"40001", "40P01"}


def sqlstate(error: DBAPIError) -> str | None:
    """Return PostgreSQL's code of an error."""
    return getattr(error.orig, "sqlstate", None)


def problem_of(error: DBAPIError) -> Problem | None:
    """Return what to tell the user, or None where the error is a fault of ours."""
    state = sqlstate(error)
    if state == _NUMERIC_VALUE_OUT_OF_RANGE:
        return Invalid("The amount is too large", path=["input", "amount"])
    if state == _LOCK_NOT_AVAILABLE:
        return Conflict("Others are changing the same thing; try again")
    name = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    if name not in _BY_CONSTRAINT:
        return None
    kind, message, path = _BY_CONSTRAINT[name]
    return kind(message, path=path)
