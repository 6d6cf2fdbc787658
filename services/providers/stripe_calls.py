"""Requests to Stripe: how they are made, and what their failures mean."""

import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import httpx
import stripe

from services.providers import stripe_events
from services.providers.protocol import (
    Charged,
    ChargeState,
    CollectRequest,
    Forged,
    ProviderAway,
    ProviderRefused,
)
from services.providers.signatures import TOLERANCE_SECONDS
from services.providers.stripe_amounts import to_units

_TIMEOUT = httpx.Timeout(8, connect=4)
_RETRIES = 1
_PASSING = (409, 429)
"""Statuses of answers that say: the same again later."""
_SERVER_ERROR = 500
GONE = (stripe.PermissionError, stripe.InvalidRequestError)
"""How Stripe answers of what is not there, or no longer, because its account has left the platform."""
Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StripeTerms:
    """The platform's account at Stripe, and where to ask it."""

    secret: str
    webhook_secret: str
    client_id: str
    api_url: str
    redirect_url: str


Client: TypeAlias = tuple[stripe.StripeClient, stripe.HTTPXClient]
"""A client, and what holds its connections."""


def make_client(terms: StripeTerms) -> Client:
    """Make a client, whose connections belong to the running event loop."""
    bases: Any = {"api": terms.api_url, "connect": terms.api_url} if terms.api_url else {}
    transport = stripe.HTTPXClient(timeout=_TIMEOUT, allow_sync_methods=True)
    client = stripe.StripeClient(
        terms.secret,
        client_id=terms.client_id,
        max_network_retries=_RETRIES,
        http_client=transport,
        base_addresses=bases,
    )
    return client, transport


async def close_client(client: Client) -> None:
    """Close the connections of a client. The library leaves its functions for this without types."""
    transport: Any = client[1]
    await transport.close_async()
    transport.close()


async def ask(answer: Awaitable[Answer]) -> Answer:
    """Wait for an answer of Stripe.

    Raises:
        ProviderAway: it does not answer, or not now.
        stripe.StripeError: it refuses.
    """
    try:
        return await answer
    except (stripe.APIConnectionError, stripe.AuthenticationError) as away:
        log.warning("Stripe cannot be asked: %s", type(away).__name__)
        raise ProviderAway from away
    except stripe.StripeError as error:
        status = error.http_status or 0
        if status in _PASSING or status >= _SERVER_ERROR:
            log.warning("Stripe answers %s", status)
            raise ProviderAway from error
        raise


def build_params(request: CollectRequest) -> Any:
    """Return what every payment is begun with."""
    return {
        "amount": to_units(request.amount_minor, request.currency),
        "currency": request.currency.lower(),
        "description": request.description,
        # At once, so that the figures are known when Stripe tells of the payment.
        "capture_method": "automatic",
        "metadata": {stripe_events.ORDER: request.order_id.hex},
    }


def build_giver(request: CollectRequest) -> Any:
    """Return how a giver may pay: in any way that the account takes, or with a card, which can be kept."""
    if request.customer is None:
        return {"automatic_payment_methods": {"enabled": True}}
    kept = {"setup_future_usage": "off_session"} if request.keeps_card else {}
    return {"customer": request.customer, "payment_method_types": ["card"], **kept}


def options_of(account: str, *, key: str | None = None) -> Any:
    """Return the options of a request for an account; the same key is the same request."""
    return {"stripe_account": account} | ({"idempotency_key": key} if key else {})


def message_of(refused: stripe.StripeError) -> str:
    """Return why Stripe refuses, in its words for people."""
    return refused.user_message or "The payment provider refused."


def read_declined(declined: stripe.CardError) -> Charged:
    """Read why a kept card was not charged: it was refused, or its bank asks the giver for a step."""
    is_step = declined.code == stripe_events.STEP_NEEDED
    state = ChargeState.STEP_NEEDED if is_step else ChargeState.DECLINED
    return Charged(state=state, failure=message_of(declined))


def refusal_of(refused: stripe.StripeError) -> ProviderRefused:
    """Return the problem of a payment that Stripe refuses to begin."""
    log.warning("Stripe refuses a payment: %s", refused.code)
    return ProviderRefused(f"The payment provider does not take this payment: {message_of(refused)}")


def require_past(header: str) -> None:
    """Require that a proved signature is not of the future, which the library lets pass."""
    stamps = [part.strip()[2:] for part in header.split(",") if part.strip().startswith("t=")]
    if any(int(stamp) > time.time() + TOLERANCE_SECONDS for stamp in stamps):
        raise Forged("The event is more than five minutes ahead.")
