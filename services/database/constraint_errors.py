"""What the database refused, in words for a user: constraints by name."""

from sqlalchemy.exc import DBAPIError

from services.core.errors import (
    Conflict,
    InsufficientFunds,
    Invalid,
    InvalidState,
    LimitExceeded,
    Problem,
    SelfApproval,
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
    "ex_order_hours_overlap": (
        Conflict,
        "The hours overlap others of the same volunteer",
        ("input", "startsAt"),
    ),
    "order_payer_claimed": (
        InvalidState,
        "A user known by email alone spends nothing",
        ("input", "from"),
    ),
    "order_currents_sides": (
        InvalidState,
        "An approved nonprofit issues currents to a user, who gives them to a business",
        ("input",),
    ),
    "order_currency": (
        Invalid,
        "The amount is not in the receiver's currency",
        ("input", "amount", "currency"),
    ),
    "uq_order_bonus": (Conflict, "This user has had the bonus", ("input", "user")),
    "uq_offer_active_item": (Conflict, "There is an active offer of this item", ("input", "item")),
    "redemption_offer_active": (InvalidState, "The offer is not active", ("input", "offer")),
    "redemption_monthly_limit": (
        LimitExceeded,
        "The offer's limit of this month is reached",
        ("input", "offer"),
    ),
    "redemption_weekly_limit": (
        LimitExceeded,
        "Master offers give no more within seven days",
        ("input", "offer"),
    ),
    "event_capacity": (LimitExceeded, "The event is full", ("input", "event")),
    "issuer_approved": (
        InvalidState,
        "The nonprofit is not approved to issue currents",
        ("input", "id"),
    ),
    "approved_by_another": (
        SelfApproval,
        "Nobody approves what they made for themselves",
        ("input", "id"),
    ),
    "issuance_cap": (
        LimitExceeded,
        "The nonprofit may issue no more currents in this period",
        ("input", "id"),
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
