"""Charges of kept cards at Stripe, of payments that were begun there."""

from typing import Any, cast

import stripe

from services.providers import stripe_answers
from services.providers.protocol import Charged, ChargeRequest, ChargeState
from services.providers.stripe_calls import GONE, ask, message_of, options_of, read_declined, refusal_of


async def charge(client: stripe.StripeClient, request: ChargeRequest) -> Charged:
    """Collect a payment from a kept card; afterwards a refused one can be paid by its giver.

    Raises:
        ProviderRefused: Stripe does not collect this for the account.
    """
    intents, options = client.v1.payment_intents, options_of(request.account)
    card: Any = {"payment_method": request.instrument}
    params: Any = card | {"off_session": True, "expand": stripe_answers.FIGURES}
    try:
        if request.is_repeated:
            again: Any = card | {"customer": request.customer, "setup_future_usage": ""}
            await ask(intents.update_async(request.payment, again, options))
        keyed = options_of(request.account, key=request.key)
        intent = await ask(intents.confirm_async(request.payment, params, keyed))
    except stripe.CardError as declined:
        kept: Any = {"setup_future_usage": "off_session"}
        # From now on the giver may pay it, and what they pay with is kept.
        await ask(intents.update_async(request.payment, kept, options))
        return read_declined(declined)
    except stripe.InvalidRequestError as refused:
        return await _find_charged(client, request, refused)
    except stripe.StripeError as refused:
        raise refusal_of(refused) from refused
    return stripe_answers.read_charged(intent.to_dict())


async def _find_charged(
    client: stripe.StripeClient, request: ChargeRequest, refused: stripe.StripeError
) -> Charged:
    """Return what became of a payment that cannot be confirmed: most likely it was collected before.

    Raises:
        ProviderRefused: the account is not to be asked.
    """
    intents, params = client.v1.payment_intents, {"expand": stripe_answers.FIGURES}
    try:
        found = await ask(
            intents.retrieve_async(request.payment, cast("Any", params), options_of(request.account))
        )
    except GONE as gone:
        raise refusal_of(gone) from gone
    if found.status in stripe_answers.UNPAID:  # the account is there, so it is the card
        return Charged(state=ChargeState.DECLINED, failure=message_of(refused))
    return stripe_answers.read_charged(found.to_dict())
