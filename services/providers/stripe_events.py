"""Stripe's events in our own words, read from what it told: no request is made."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, TypeAlias
from uuid import UUID

from services.providers.protocol import EventKind, KeptInstrument, ProviderEvent, Settled
from services.providers.stripe_amounts import to_minor

ORDER, REFUND, OWNER = "commonweal_order", "commonweal_refund", "commonweal_owner"
"""The names under which Stripe keeps our ids in what we begin there."""
STEP_NEEDED = "authentication_required"
_INQUIRY = "warning_"
"""Begins the states of a bank's question about a payment, which takes no money yet."""
_DECEMBER = 12

_DISPUTE_ENDS = {
    "won": EventKind.DISPUTE_WON,
    # The money went back by a refund, of which Stripe tells apart: the dispute takes none.
    "prevented": EventKind.DISPUTE_WON,
    "charge_refunded": EventKind.DISPUTE_WON,
    "lost": EventKind.DISPUTE_LOST,
}
"""The states in which a dispute is closed; in all others its money stays set aside."""

Json: TypeAlias = Mapping[str, Any]


def read_event(body: Json) -> ProviderEvent:
    """Read an event of an account; those of our own account, and of kinds that we do not use, say nothing.

    Raises:
        KeyError, TypeError, ValueError: it is not one.
    """
    about: Json = body["data"]["object"]
    read = _READERS.get(body["type"])
    return ProviderEvent(
        external_id=str(body["id"]),
        type=str(body["type"]),
        body=body,
        account=body.get("account") or "",
        livemode=body["livemode"] is True,
        **(read(about) if read else {}),
    )


def id_of(value: Any) -> str:
    """Return the id of an object that is told whole or by its id alone; empty if there is none."""
    return str(value["id"] if isinstance(value, Mapping) else value or "")


def read_refund(refund: Json) -> dict[str, Any]:
    """Read a refund; while it is on its way it says nothing."""
    kinds = {
        "succeeded": EventKind.REFUNDED,
        "failed": EventKind.REFUND_FAILED,
        "canceled": EventKind.REFUND_FAILED,
    }
    return {
        "kind": kinds.get(refund.get("status") or ""),
        "payment": id_of(refund.get("payment_intent")),
        "refund": str(refund["id"]),
        "refund_key": (refund.get("metadata") or {}).get(REFUND),
        "amount_minor": to_minor(int(refund["amount"]), refund["currency"].upper()),
        "failure": refund.get("failure_reason"),
    }


def read_settled(balance: Json) -> Settled:
    """Read what Stripe made of a payment, from its balance transaction."""
    currency = balance["currency"].upper()
    return Settled(
        currency=currency,
        gross_minor=to_minor(int(balance["amount"]), currency),
        fee_minor=to_minor(int(balance["fee"]), currency),
    )


def read_instrument(charge: Json) -> KeptInstrument | None:
    """Read what a charge was paid with, if it is kept for the giver."""
    details = charge.get("payment_method_details") or {}
    about: Json = details.get(details.get("type") or "") or {}
    last4, customer = str(about.get("last4") or ""), id_of(charge.get("customer"))
    if not customer or not charge.get("payment_method") or len(last4) != len("4242"):
        return None
    return KeptInstrument(
        external_id=id_of(charge["payment_method"]),
        customer_id=customer,
        brand=str(about.get("brand") or details["type"]).replace("_", " ").title()[:50],
        last4=last4,
        expires_on=_last_day(about.get("exp_year"), about.get("exp_month")),
    )


def _last_day(year: int | None, month: int | None) -> date | None:
    """Return the last day of a month in which a card is good."""
    if not year or not month:
        return None
    first_after = date(year + month // _DECEMBER, month % _DECEMBER + 1, 1)
    return date.fromordinal(first_after.toordinal() - 1)


def _read_payment(kind: EventKind) -> Callable[[Json], dict[str, Any]]:
    def read(intent: Json) -> dict[str, Any]:
        problem = intent.get("last_payment_error") or {}
        return {
            "kind": kind,
            "payment": str(intent["id"]),
            "order_id": _order_of(intent),
            "failure": problem.get("message") or intent.get("cancellation_reason"),
            "is_step": problem.get("code") == STEP_NEEDED,
        }

    return read


def _order_of(intent: Json) -> UUID | None:
    try:
        return UUID((intent.get("metadata") or {})[ORDER])
    except (KeyError, ValueError):
        return None


def _read_refunded_charge(charge: Json) -> dict[str, Any]:
    """Read a charge that was refunded: which refund it was, only its list of them tells."""
    return {"kind": EventKind.REFUNDED, "payment": id_of(charge.get("payment_intent"))}


def _read_dispute(dispute: Json) -> dict[str, Any]:
    status, currency = dispute["status"], dispute["currency"].upper()
    if status.startswith(_INQUIRY):
        return {}
    fee_currency, fee_minor = _sum_fees(dispute.get("balance_transactions") or [])
    return {
        "kind": _DISPUTE_ENDS.get(status, EventKind.DISPUTE_OPENED),
        "payment": id_of(dispute.get("payment_intent")),
        "dispute": str(dispute["id"]),
        "amount_minor": to_minor(int(dispute["amount"]), currency),
        "amount_currency": currency,
        "dispute_fee_minor": fee_minor,
        "dispute_fee_currency": fee_currency,
    }


def _sum_fees(moved: Sequence[Json]) -> tuple[str | None, int]:
    """Return the currency of an account, and what it has paid for a dispute so far."""
    currency = moved[0]["currency"].upper() if moved else None
    fees = [to_minor(int(each["fee"]), currency) for each in moved if each["currency"].upper() == currency]
    return currency, max(0, sum(fees))


def read_account(account: Json) -> dict[str, Any]:
    """Read whether an account can collect now."""
    is_enabled = account.get("charges_enabled") is True
    return {"kind": EventKind.ACCOUNT_ENABLED if is_enabled else EventKind.ACCOUNT_DISABLED}


_READERS: Mapping[str, Callable[[Json], dict[str, Any]]] = {
    "payment_intent.succeeded": _read_payment(EventKind.SUCCEEDED),
    "payment_intent.processing": _read_payment(EventKind.PROCESSING),
    "payment_intent.payment_failed": _read_payment(EventKind.DECLINED),
    "payment_intent.canceled": _read_payment(EventKind.CANCELLED),
    "charge.refunded": _read_refunded_charge,
    "refund.created": read_refund,
    "refund.updated": read_refund,
    "refund.failed": read_refund,
    "charge.dispute.created": _read_dispute,
    "charge.dispute.funds_withdrawn": _read_dispute,
    "charge.dispute.closed": _read_dispute,
    "account.updated": read_account,
    "account.application.deauthorized": lambda _: {"kind": EventKind.ACCOUNT_DISABLED},
}
"""What each type of event says; others do not concern us."""
EVENT_TYPES = tuple(_READERS)
"""What the webhook at Stripe has to send."""
