"""Problems for users, by the name of the database constraint that was violated."""

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.core.errors import (
    WHOLE_INPUT,
    Conflict,
    InsufficientFunds,
    Invalid,
    InvalidState,
    LimitExceeded,
    NotFound,
    Problem,
    SelfApproval,
    Unavailable,
)

CLEARING_LIMIT = "ck_ledger_account_clearing_limit"
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
    "transaction_sides_open": (InvalidState, "The payer or the payee is archived.", "id"),
    "ck_collective_tags_differ": (Invalid, "Two tags differ in case or accents only.", "tags"),
    "token_user_not_archived": (
        InvalidState,
        "This account is archived. Ask the platform to open it again.",
        WHOLE_INPUT,
    ),
    "token_user_not_suspended": (InvalidState, "This account is suspended. Ask the platform.", WHOLE_INPUT),
    "token_second_factor": (InvalidState, "Show your second factor to sign in.", WHOLE_INPUT),
    "totp_moves_on": (Invalid, "This code was used before. Enter the next one.", "code"),
    "recovery_code_once": (Invalid, "This code was used before. Enter another one.", "recoveryCode"),
    "passkey_counter": (Invalid, "This passkey may have been copied. Remove it.", "passkey"),
    "uq_passkey_credential_id": (Conflict, "This passkey is registered already.", "credential"),
    "factor_requirement_by_factor": (
        InvalidState,
        "Add a second factor to your own account first.",
        WHOLE_INPUT,
    ),
    "uq_suspension_open": (InvalidState, "This user is suspended already.", "user"),
    "member_sides_open": (InvalidState, "The collective or its new member is archived.", WHOLE_INPUT),
    "event_parent_open": (InvalidState, "The collective that runs the event is archived.", "parent"),
    "host_approved": (
        InvalidState,
        "The platform has not approved the host, so no money can come to it or through it.",
        WHOLE_INPUT,
    ),
    "host_application_accepted": (
        InvalidState,
        "The platform has not approved this host since it was suspended. Apply again.",
        WHOLE_INPUT,
    ),
    "host_suspended": (InvalidState, "The host is suspended and takes no new money.", WHOLE_INPUT),
    "transaction_host": (InvalidState, "A collective has left the host that held its money.", WHOLE_INPUT),
    "order_hosted": (InvalidState, "The collective has no host that holds its money.", WHOLE_INPUT),
    "uq_hold_open": (InvalidState, "The amount of this order has already been set aside.", "id"),
    "order_unchanged": (InvalidState, "The order has changed. Load it again.", "id"),
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
    "credential_email_kept": (Conflict, "This email address is in use.", "email"),
    "uq_email_change_waiting": (Conflict, "Another change of address has just been asked for.", "email"),
    "email_change_steps": (NotFound, "This link is no longer valid. Request a new one.", "token"),
    "token_within_parent": (
        Conflict,
        "The token that makes this one has ended, or can do less.",
        WHOLE_INPUT,
    ),
    "uq_identity_issuer_subject": (Conflict, "This identity is linked to an account.", WHOLE_INPUT),
    "uq_credential_email": (Conflict, "This email address is in use.", "email"),
    "uq_member_open": (Conflict, "This membership already exists.", "role"),
    "uq_data_export_waiting": (Conflict, "Your data are being collected already.", WHOLE_INPUT),
    "ck_collective_erased_is_archived_user": (InvalidState, "This person was erased.", "collective"),
    "erased_person_settled": (
        InvalidState,
        "A balance, a hold or an open order remains. Settle it first.",
        WHOLE_INPUT,
    ),
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
    "incognito_person": (
        Invalid,
        "Only a person can give incognito: the books of a collective are public. Leave this out.",
        "isIncognito",
    ),
    "incognito_registration": (
        Invalid,
        "A ticket registers its holder by name and cannot be paid incognito. Leave this out.",
        "isIncognito",
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
    "expense_currency": (
        Invalid,
        "The amount must be in the currency of the payee, the payer or the payer's host; into the balance of"
        " an organization or community, in its own.",
        "amount.currency",
    ),
    "ck_order_expense_at_most_requested": (
        Invalid,
        "Approve at most the requested amount. Only the payee can ask for more.",
        "amount",
    ),
    "expense_items_add_up": (Invalid, "The items must add up to the amount.", "amount"),
    "payout_fee_limit": (
        Invalid,
        "The fee can be at most 10 % of the amount or 50.00, whichever is more.",
        "processorFee",
    ),
    "paid_by_provider": (InvalidState, "The payment provider confirms this donation.", "id"),
    "uq_provider_refund_open": (
        InvalidState,
        "A refund of this order waits for the payment provider.",
        "id",
    ),
    "provider_refund_of_disputed": (InvalidState, "The giver's bank disputes this payment.", "id"),
    "provider_refund_within_payment": (
        InvalidState,
        "The refunds would exceed the original amount.",
        "amount",
    ),
    "uq_provider_account_host_id": (
        Conflict,
        "The host is connected to this payment provider already.",
        "provider",
    ),
    "giver_confirms": (InvalidState, "The giver has to confirm the funds.", "from"),
    "decided_by_somebody": (InvalidState, "Somebody has to decide this order.", "id"),
    "approval_by_admin": (InvalidState, "An order is approved by an ADMIN.", "id"),
    "approval_of_pending": (InvalidState, "The order has changed; load it again.", "id"),
    "order_terms": (InvalidState, "The order has changed; load it again.", "id"),
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
    "redemption_received_lately": (
        LimitExceeded,
        "Currents received within seven days do not count for master offers.",
        "offer",
    ),
    "tier_open": (InvalidState, "This tier is not open for orders.", "tier"),
    "tier_interval": (InvalidState, "A gift in this tier repeats as the tier says.", "interval"),
    "subscription_ended": (InvalidState, "This recurring gift has ended.", "id"),
    "subscription_goes_on": (InvalidState, "The recurring gift is paused or has ended.", "id"),
    "subscription_anchor": (InvalidState, "The day has just been moved. Load the gift again.", "anchorDay"),
    "subscription_method": (
        InvalidState,
        "The payment method is not one of the receiver's host. Choose another way of paying with "
        "updateSubscription, then resume the gift if it is paused.",
        "id",
    ),
    "subscription_card": (
        InvalidState,
        "This card is not kept any longer. Choose another way of paying.",
        "id",
    ),
    "subscription_due": (InvalidState, "This charge is not due yet.", "id"),
    "subscription_period": (InvalidState, "The recurring gift has changed; load it again.", "id"),
    "uq_order_subscription_id_period": (InvalidState, "This period has its order already.", "id"),
    "tier_of_payee": (Invalid, "This tier belongs to another collective, or is in another currency.", "tier"),
    "tier_price": (InvalidState, "The price of this tier has just changed. Load it again.", "amount"),
    "tier_max_per_person": (
        LimitExceeded,
        "This is more than one person may have of this tier. Choose fewer.",
        "quantity",
    ),
    "ck_tier_sold_within_capacity": (LimitExceeded, "The tier is sold out.", "quantity"),
    "tier_of_collective": (InvalidState, "The collective has just changed. Load it again.", "collective"),
    "uq_goal_open": (Conflict, "Another goal has just been set.", "kind"),
    "hours_credit": (LimitExceeded, "The hours exceed what can be credited.", WHOLE_INPUT),
    "ck_collective_event_duration": (Invalid, "An event lasts at most 14 days.", "endsAt"),
    "ck_collective_event_not_long_ago": (Invalid, "The event starts over a year ago.", "startsAt"),
    "ck_collective_event_not_far_ahead": (Invalid, "The event ends over 5 years ahead.", "endsAt"),
    "policy_not_backdated": (Invalid, "Choose a start that is not in the past.", "validFrom"),
    "policy_small_change": (Invalid, "A value at most doubles or halves within a day.", WHOLE_INPUT),
    "fx_rate_not_backdated": (Invalid, "Choose a start that is not in the past.", "validFrom"),
    "fx_rate_small_change": (Invalid, "A rate at most doubles or halves within a day.", "rate"),
    "paid_by_another": (
        SelfApproval,
        "You approved this order. Another ADMIN has to pay it.",
        "id",
    ),
    "two_people": (
        InvalidState,
        "Two people have to approve this amount: it needs a second ADMIN.",
        "id",
    ),
    "two_people_at_once": (
        LimitExceeded,
        "Above the amount of a policy two ADMINs have to approve, and this would be paid at once. Submit it"
        " as an expense, which they approve.",
        "amount",
    ),
    "uq_approval_open": (SelfApproval, "You have approved this order already.", "id"),
    "approval_policy_not_backdated": (Invalid, "Choose a start that is not in the past.", "validFrom"),
    "approval_policy_in_a_day": (
        Invalid,
        "A policy that asks for a second person less often takes effect a day later.",
        "amount",
    ),
    "merge_confirmed": (
        InvalidState,
        "A merge needs both persons or two ADMINs of the platform.",
        "from",
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
    CLEARING_LIMIT: (
        LimitExceeded,
        "The payer's host would owe the payee's host more than that allows."
        " A settlement between the hosts helps.",
        "amount",
    ),
    "settlement_of_hosts": (InvalidState, "A settlement is between two approved hosts.", "to"),
    "settlement_exceeds_debt": (Invalid, "Settle at most what is owed.", "amount"),
    "clearing_limit_valid": (Invalid, "A limit is zero or more, and between two hosts.", "amount"),
    "settled_amount": (InvalidState, "The amount of a settled order never changes.", "id"),
    "paid_order_has_transaction": (InvalidState, "The order has changed; load it again.", "id"),
    "order_end_moves_back": (InvalidState, "The order has changed; load it again.", "id"),
    "refund_figures": (InvalidState, "The refunds would exceed the original amount.", "amount"),
    "collective_without_balance": (
        InvalidState,
        "Host and currency cannot change while there is a balance.",
        WHOLE_INPUT,
    ),
    "time_zone_known": (Invalid, "The database does not know this time zone. Choose another.", "timezone"),
    "issuer_open": (InvalidState, "The nonprofit is archived.", WHOLE_INPUT),
    "host_approved_by_platform": (InvalidState, "Only an ADMIN of the platform approves a host.", "id"),
    "request_status_transition": (InvalidState, "This request has already been answered.", "id"),
    "ck_invitation_accepted_in_time": (InvalidState, "This invitation has expired.", "id"),
    "ck_host_application_accepted_in_time": (InvalidState, "This application has expired.", "id"),
    "ledger_clock_behind": (
        Unavailable,
        "The server's clock is behind the ledger. Try again once an operator has corrected it.",
        WHOLE_INPUT,
    ),
    "ledger_time_in_future": (
        Invalid,
        "The time of a transaction cannot be in the future.",
        "at",
    ),
}
_NUMERIC_VALUE_OUT_OF_RANGE = "22003"
_LOCK_NOT_AVAILABLE = "55P03"
RETRYABLE = {"40001", "40P01", "26000"}
"""SQLSTATE codes of a serialization failure, a deadlock, and a prepared statement that is gone."""
WAITED = {"55P03", "57014"}
"""SQLSTATE codes of a statement that was cancelled because it waited, for a lock or at all."""
_OUTAGES = ("08", "25006", "40", "53", "57P", "58")
"""Beginnings of the SQLSTATE codes of a database that is away, read-only, overloaded or without space."""


def sqlstate(error: DBAPIError) -> str | None:
    """Return the SQLSTATE code of an error."""
    return getattr(error.orig, "sqlstate", None)


def is_outage(error: BaseException) -> bool:
    """Return True if the database cannot be reached, or cannot do now what it could do later.

    What a lost connection was committing may be stored or not.
    """
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = sqlstate(error)
    if state is None:
        return error.connection_invalidated or isinstance(error, OperationalError)
    return error.connection_invalidated or state.startswith(_OUTAGES)


def constraint_name(error: DBAPIError) -> str | None:
    """Return the name of the constraint that an error violates, if any."""
    name: str | None = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return name


def problem_for(error: DBAPIError) -> Problem | None:
    """Return the problem to report for a database error, or None if the error is a bug."""
    state = sqlstate(error)
    if state == _NUMERIC_VALUE_OUT_OF_RANGE:
        return Invalid("The amount is too large.", field="amount")
    if state == _LOCK_NOT_AVAILABLE:
        return Conflict("Somebody else is changing this at the same time; try again.")
    name = constraint_name(error)
    if name not in PROBLEM_BY_CONSTRAINT:
        return None
    problem_type, message, field = PROBLEM_BY_CONSTRAINT[name]
    return problem_type(message, field=field)
