"""Stripe's answers in our own words: what came of charging a kept card, and of a refund."""

from collections.abc import Mapping
from typing import Any

import stripe

from models.enums import ProviderRefundStatus
from services.providers import stripe_events
from services.providers.protocol import Charged, ChargeState, RefundAnswer

FIGURES = ["latest_charge.balance_transaction"]
"""What Stripe's answer has to hold for the figures to be known."""
UNPAID = frozenset({"requires_payment_method", "requires_confirmation"})
"""States of a payment that can still be paid."""
_STATES = {
    "succeeded": ChargeState.COLLECTED,
    "requires_payment_method": ChargeState.DECLINED,
    "requires_action": ChargeState.STEP_NEEDED,
    "canceled": ChargeState.OVER,
}
_REFUND_STATES = {
    "succeeded": ProviderRefundStatus.CONFIRMED,
    "pending": ProviderRefundStatus.SENT,
    "requires_action": ProviderRefundStatus.SENT,
    "failed": ProviderRefundStatus.FAILED,
    "canceled": ProviderRefundStatus.FAILED,
}


def read_charged(intent: Mapping[str, Any]) -> Charged:
    """Read a payment; collected without its figures, it counts as on its way until Stripe tells them."""
    state = _STATES.get(intent["status"], ChargeState.PROCESSING)
    failure = (intent.get("last_payment_error") or {}).get("message")
    if state is not ChargeState.COLLECTED:
        return Charged(state=state, failure=failure)
    charge = intent.get("latest_charge")
    balance = charge.get("balance_transaction") if isinstance(charge, Mapping) else None
    if not isinstance(charge, Mapping) or not isinstance(balance, Mapping):
        return Charged(state=ChargeState.PROCESSING)
    return Charged(
        state=state,
        settled=stripe_events.read_settled(balance),
        instrument=stripe_events.read_instrument(charge),
    )


def read_refund(refund: stripe.Refund) -> RefundAnswer:
    """Read a refund that Stripe has."""
    return RefundAnswer(
        status=_REFUND_STATES.get(refund.status or "", ProviderRefundStatus.SENT),
        external_id=refund.id,
        failure=refund.failure_reason if "failure_reason" in refund else None,
    )
