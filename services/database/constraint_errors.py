"""Problems for users, by the name of the database constraint that was violated."""

from sqlalchemy.exc import DBAPIError

from services.core.errors import (
    WHOLE_INPUT,
    Conflict,
    InsufficientFunds,
    Invalid,
    InvalidState,
    LimitExceeded,
    Problem,
    SelfApproval,
)

PROBLEM_BY_CONSTRAINT: dict[str, tuple[type[Problem], str, str | tuple[str, ...]]] = {
    "ck_ledger_account_floor": (
        InsufficientFunds,
        "The available balance is less than the amount.",
        "amount",
    ),
    "uq_transaction_order_kind": (
        InvalidState,
        "This order has already been paid.",
        "id",
    ),
    "order_sides_open": (InvalidState, "The payer or the payee is archived.", "to"),
    "pk_hold": (InvalidState, "The amount of this order has already been set aside.", "id"),
    "order_status_transition": (
        InvalidState,
        "The status of the order has changed; load it again.",
        "id",
    ),
    "ck_refund_total_at_most_the_original": (
        InvalidState,
        "The refunds would exceed the original amount.",
        "amount",
    ),
    "uq_collective_slug": (Conflict, "This slug is taken.", "slug"),
    "pk_slug_redirect": (Conflict, "This slug is taken.", "slug"),
    "uq_credential_email": (Conflict, "This email address is in use.", "email"),
    "uq_member_open": (Conflict, "This membership already exists.", "role"),
    "uq_invitation_pending": (
        Conflict,
        "This user already has a pending invitation.",
        "user",
    ),
    "uq_host_application_pending": (
        Conflict,
        "This collective already has a pending application.",
        "collective",
    ),
    "ex_order_hours_overlap": (
        Conflict,
        "The hours overlap other hours of the same volunteer.",
        "startsAt",
    ),
    "order_payer_claimed": (
        InvalidState,
        "An unclaimed user cannot pay; they have to sign up first.",
        "from",
    ),
    "order_currents_sides": (
        InvalidState,
        "Currents go from an approved nonprofit to a user, and from a user to a business.",
        WHOLE_INPUT,
    ),
    "order_currency": (
        Invalid,
        "The amount must be in the currency of the payee.",
        "amount.currency",
    ),
    "uq_order_bonus": (Conflict, "This user has already received the bonus.", "user"),
    "uq_offer_active_item": (Conflict, "The business already has an active offer of this item.", "item"),
    "redemption_offer_active": (InvalidState, "The offer is not active.", "offer"),
    "redemption_monthly_limit": (
        LimitExceeded,
        "The monthly limit of the offer is reached.",
        "offer",
    ),
    "redemption_weekly_limit": (
        LimitExceeded,
        "The limit of master offers within seven days is reached.",
        "offer",
    ),
    "event_capacity": (LimitExceeded, "The event is full.", "event"),
    "issuer_approved": (
        InvalidState,
        "The nonprofit is not approved to issue currents.",
        "id",
    ),
    "approved_by_another": (
        SelfApproval,
        "You cannot approve what you created for yourself.",
        "id",
    ),
    "issuance_cap": (
        LimitExceeded,
        "The nonprofit has reached its limit of currents for this period.",
        "id",
    ),
    "ledger_time_in_future": (
        Invalid,
        "The time of a transaction cannot be in the future.",
        "at",
    ),
}
_NUMERIC_VALUE_OUT_OF_RANGE = "22003"
_LOCK_NOT_AVAILABLE = "55P03"
RETRYABLE = {"40001", "40P01"}


def sqlstate(error: DBAPIError) -> str | None:
    """Return the SQLSTATE code of an error."""
    return getattr(error.orig, "sqlstate", None)


def problem_for(error: DBAPIError) -> Problem | None:
    """Return the problem to report for a database error, or None if the error is a bug."""
    state = sqlstate(error)
    if state == _NUMERIC_VALUE_OUT_OF_RANGE:
        return Invalid("The amount is too large.", field="amount")
    if state == _LOCK_NOT_AVAILABLE:
        return Conflict("Somebody else is changing this at the same time; try again.")
    name = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    if name not in PROBLEM_BY_CONSTRAINT:
        return None
    problem_type, message, field = PROBLEM_BY_CONSTRAINT[name]
    return problem_type(message, field=field)
