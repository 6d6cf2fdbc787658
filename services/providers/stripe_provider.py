"""Stripe, with an account of each host that is connected to the platform's. Loads slowly."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import stripe
from stripe.oauth_error import OAuthError

from models.enums import ProviderName, ProviderRefundStatus
from services.providers import stripe_answers, stripe_charges, stripe_events
from services.providers.protocol import (
    Charged,
    ChargeRequest,
    CollectRequest,
    ConnectedAccount,
    EventKind,
    Forged,
    NotSettledYet,
    PaymentAt,
    ProviderEvent,
    ProviderRefused,
    RefundAnswer,
    RefundRequest,
    Started,
)
from services.providers.signatures import TOLERANCE_SECONDS
from services.providers.stripe_amounts import to_units
from services.providers.stripe_calls import (
    GONE,
    Client,
    StripeTerms,
    ask,
    build_giver,
    build_params,
    close_client,
    make_client,
    message_of,
    options_of,
    refusal_of,
    require_past,
)

HEADER = "stripe-signature"
_WITHOUT_ATTEMPT = frozenset({"requires_payment_method", "canceled"})
"""States of a payment for which no attempt is under way."""
_REFUNDS_AT_ONCE = 100
_REFUNDED_THERE = "The payment was refunded at the payment provider itself."


class StripeProvider:
    """Stripe."""

    name = ProviderName.STRIPE

    def __init__(self, terms: StripeTerms) -> None:
        """Ask nothing yet."""
        self.livemode = "_live_" in terms.secret
        self._terms = terms
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Client] = WeakKeyDictionary()

    def consent_url(self, state: str, /) -> str | None:
        """Return Stripe's page on which a host chooses its account, or makes one."""
        return self._client.oauth.authorize_url(
            {"scope": "read_write", "state": state, "redirect_uri": self._terms.redirect_url}
        )

    async def connect(self, code: str, /) -> ConnectedAccount:
        """Redeem what came back with the host's consent, once.

        Raises:
            ProviderRefused: it is wrong, old, or was redeemed before.
        """
        client = self._client
        try:
            # The library redeems codes only in a thread.
            asked = asyncio.to_thread(client.oauth.token, {"grant_type": "authorization_code", "code": code})
            token = await ask(asked)
        except OAuthError as refused:
            raise ProviderRefused("The consent is no longer valid. Connect the host again.") from refused
        account_id = str(token["stripe_user_id"])
        return ConnectedAccount(
            external_id=account_id,
            livemode=token["livemode"] is True,
            is_enabled=await self._is_enabled(account_id),
        )

    async def start(self, request: CollectRequest) -> Started:
        """Begin a payment that the giver completes in Stripe's form, in any way that the account takes.

        Raises:
            ProviderRefused: Stripe does not collect this amount or currency for the account.
        """
        params = build_params(request) | build_giver(request)
        try:
            intent = await ask(
                self._client.v1.payment_intents.create_async(
                    params, options_of(request.account, key=request.key or f"pay_{request.order_id.hex}")
                )
            )
        except stripe.StripeError as refused:
            raise refusal_of(refused) from refused
        return Started(external_id=intent.id, client_secret=intent.client_secret)

    async def open_customer(self, account: str, owner_id: UUID, /) -> str:
        """Make a customer of an account, who has no name there but our id."""
        params: Any = {"metadata": {stripe_events.OWNER: owner_id.hex}}
        options = options_of(account, key=f"customer_{owner_id.hex}")
        try:
            customer = await ask(self._client.v1.customers.create_async(params, options))
        except stripe.StripeError as refused:
            raise refusal_of(refused) from refused
        return customer.id

    async def charge(self, request: ChargeRequest, /) -> Charged:
        """Collect a payment that was begun from what the giver has left with Stripe for this.

        Raises:
            ProviderRefused: Stripe does not collect this for the account.
        """
        return await stripe_charges.charge(self._client, request)

    async def refund(self, request: RefundRequest, /) -> RefundAnswer:
        """Give an amount back, once for each key.

        Raises:
            ProviderRefused: Stripe does not give back fractions that small.
        """
        params: Any = {
            "payment_intent": request.payment,
            "amount": to_units(request.amount_minor, request.currency),
            "metadata": {stripe_events.REFUND: request.key},
        }
        try:
            refund = await ask(
                self._client.v1.refunds.create_async(
                    params, options_of(request.account, key=f"refund_{request.key}")
                )
            )
        except stripe.StripeError as refused:
            if refused.code == "charge_already_refunded":
                return await self._find_refund(request)
            return RefundAnswer(status=ProviderRefundStatus.FAILED, failure=message_of(refused))
        return stripe_answers.read_refund(refund)

    async def cancel(self, payment: PaymentAt, /) -> bool:
        """Give up a payment; False if it is too late."""
        intents, options = self._client.v1.payment_intents, options_of(payment.account)
        try:
            await ask(intents.cancel_async(payment.payment, {}, options))
        except GONE:
            return await self._is_cancelled(payment)
        return True

    async def _is_cancelled(self, payment: PaymentAt) -> bool:
        """Return whether a payment is over; of what has left with its account nobody knows."""
        intents = self._client.v1.payment_intents
        try:
            intent = await ask(intents.retrieve_async(payment.payment, {}, options_of(payment.account)))
        except GONE:
            return False
        return str(intent.status) == "canceled"

    def parse(self, headers: Mapping[str, str], body: bytes) -> ProviderEvent:
        """Read an event that Stripe has signed.

        Raises:
            Forged: it has not, or more than five minutes ago or ahead.
        """
        header = headers.get(HEADER, "")
        try:
            stripe.WebhookSignature.verify_header(
                body.decode(), header, self._terms.webhook_secret, TOLERANCE_SECONDS
            )
            require_past(header)
            return self.read(json.loads(body))
        except (stripe.SignatureVerificationError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Forged("The event is not Stripe's, not readable, or more than five minutes old.") from error

    def read(self, body: Mapping[str, Any]) -> ProviderEvent:
        """Read a stored event."""
        return stripe_events.read_event(body)

    async def complete(self, event: ProviderEvent) -> ProviderEvent:
        """Ask for the figures of a payment, which refund it was, or whether an account can collect now.

        Raises:
            NotSettledYet: Stripe does not know the figures yet.
        """
        about = event.body["data"]["object"]
        if event.kind is EventKind.SUCCEEDED:
            return await self._complete_payment(event, stripe_events.id_of(about.get("latest_charge")))
        if event.kind is EventKind.DECLINED:
            return await self._complete_declined(event)
        if event.kind is EventKind.REFUNDED and event.refund is None:
            refund = await self._load_latest_refund(event.account, charge=str(about["id"]))
            return replace(event, **(stripe_events.read_refund(refund) if refund else {"kind": None}))
        if event.kind in {EventKind.ACCOUNT_ENABLED, EventKind.ACCOUNT_DISABLED}:
            # Events arrive in any order: only the account itself tells how it is now.
            is_enabled = await self._is_enabled(event.account)
            return replace(
                event, kind=EventKind.ACCOUNT_ENABLED if is_enabled else EventKind.ACCOUNT_DISABLED
            )
        return event

    async def close(self) -> None:
        """Close the connections of this event loop; they are made again when they are needed."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await close_client(client)

    async def _complete_declined(self, event: ProviderEvent) -> ProviderEvent:
        """Say nothing of an attempt that was refused while another is under way, or has succeeded."""
        intents = self._client.v1.payment_intents
        try:
            intent = await ask(intents.retrieve_async(event.payment, {}, options_of(event.account)))
        except GONE:
            return event
        return event if intent.status in _WITHOUT_ATTEMPT else replace(event, kind=None)

    async def _complete_payment(self, event: ProviderEvent, charge_id: str) -> ProviderEvent:
        """Return a payment with its figures; those of an account that has left are not told."""
        try:
            charge = await ask(
                self._client.v1.charges.retrieve_async(
                    charge_id, {"expand": ["balance_transaction"]}, options_of(event.account)
                )
            )
        except GONE:
            return event
        facts = charge.to_dict()
        if not isinstance(facts.get("balance_transaction"), Mapping):
            raise NotSettledYet(event.payment)
        return replace(
            event,
            settled=stripe_events.read_settled(facts["balance_transaction"]),
            instrument=stripe_events.read_instrument(facts),
        )

    async def _is_enabled(self, account_id: str) -> bool:
        """Return whether an account can collect; one that has left the platform cannot."""
        try:
            account = await ask(self._client.v1.accounts.retrieve_current_async({}, options_of(account_id)))
        except GONE:
            return False
        return account.charges_enabled is True

    async def _load_latest_refund(self, account: str, **of: str) -> Mapping[str, Any] | None:
        params: Any = {**of, "limit": 1}
        try:
            found = await ask(self._client.v1.refunds.list_async(params, options_of(account)))
        except GONE:
            return None
        return found.data[0].to_dict() if found.data else None

    async def _find_refund(self, request: RefundRequest) -> RefundAnswer:
        """Return the refund that has our key; without one the host has made it at Stripe itself."""
        params: Any = {"payment_intent": request.payment, "limit": _REFUNDS_AT_ONCE}
        found = await ask(self._client.v1.refunds.list_async(params, options_of(request.account)))
        for refund in found.data:
            if stripe_events.read_refund(refund.to_dict())["refund_key"] == request.key:
                return stripe_answers.read_refund(refund)
        return RefundAnswer(status=ProviderRefundStatus.FAILED, failure=_REFUNDED_THERE)

    @property
    def _client(self) -> stripe.StripeClient:
        """The client of this event loop, whose connections it keeps."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = make_client(self._terms)
        return self._clients[loop][0]
