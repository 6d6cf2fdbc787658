"""The pretended provider of tests and the demo: its card numbers decide what happens, and no money moves."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from models import new_id
from models.enums import ProviderName, ProviderRefundStatus
from services.providers import signatures
from services.providers.protocol import (
    Charged,
    ChargeRequest,
    ChargeState,
    CollectRequest,
    ConnectedAccount,
    EventKind,
    Forged,
    KeptInstrument,
    PaymentAt,
    ProviderEvent,
    RefundAnswer,
    RefundRequest,
    Settled,
    Started,
)

SUCCEEDS = "4242424242424242"
DECLINED = "4000000000000002"
NEEDS_STEP = "4000002500003155"
PAYS_LATE = "4000000000000077"
DECLINED_LATER = "4000000000000341"
STEP_LATER = "4000002760003184"
DISPUTED = "4000000000000259"
DISPUTE_LOST = "4000000000001976"
DISPUTE_WON = "4000000000005423"
NUMBERS: Mapping[str, tuple[EventKind, ...]] = {
    SUCCEEDS: (EventKind.SUCCEEDED,),
    DECLINED: (EventKind.FAILED,),
    NEEDS_STEP: (EventKind.SUCCEEDED,),
    PAYS_LATE: (EventKind.PROCESSING, EventKind.SUCCEEDED),
    DECLINED_LATER: (EventKind.SUCCEEDED,),
    STEP_LATER: (EventKind.SUCCEEDED,),
    DISPUTED: (EventKind.SUCCEEDED, EventKind.DISPUTE_OPENED),
    DISPUTE_LOST: (EventKind.SUCCEEDED, EventKind.DISPUTE_OPENED, EventKind.DISPUTE_LOST),
    DISPUTE_WON: (EventKind.SUCCEEDED, EventKind.DISPUTE_OPENED, EventKind.DISPUTE_WON),
}
"""What each number makes happen, in this order."""
LATER: Mapping[str, ChargeState] = {
    DECLINED: ChargeState.DECLINED,
    DECLINED_LATER: ChargeState.DECLINED,
    STEP_LATER: ChargeState.STEP_NEEDED,
    PAYS_LATE: ChargeState.PROCESSING,
}
"""What comes of charging the kept card of a number again; the others pay."""
_KINDS_OF_STATE = {
    ChargeState.COLLECTED: (EventKind.SUCCEEDED,),
    ChargeState.PROCESSING: (EventKind.PROCESSING, EventKind.SUCCEEDED),
    ChargeState.DECLINED: (EventKind.DECLINED,),
    ChargeState.STEP_NEEDED: (EventKind.DECLINED,),
}
DISPUTE_FEE_MINOR = 1500
DECLINED_REASON = "The card was declined."
_PREFIX, _SECRET, _CARD = "fake_", "_secret_", "fake_card_"
_KEY = secrets.token_bytes(32)
"""Signs the events of this process, which alone receives them."""


@dataclass(frozen=True)
class SignedEvent:
    """An event as it would arrive over HTTP."""

    headers: Mapping[str, str]
    body: bytes


class FakeProvider:
    """The pretended provider."""

    name = ProviderName.FAKE
    livemode = False

    def consent_url(self, _: str, /) -> str | None:
        """Return None: the host need not agree."""
        return None

    async def connect(self, _: str, /) -> ConnectedAccount:
        """Make a new account."""
        return ConnectedAccount(external_id=f"{_PREFIX}acct_{new_id().hex}", livemode=False)

    async def start(self, request: CollectRequest) -> Started:
        """Begin a payment; its secret is for `commonweal`'s own page of pretended cards."""
        payment = payment_of(request.order_id)
        return Started(external_id=payment, client_secret=f"{payment}{_SECRET}{secrets.token_urlsafe(18)}")

    async def open_customer(self, _: str, owner_id: UUID, /) -> str:
        """Return the name of a pretended customer."""
        return f"{_PREFIX}cus_{owner_id.hex}"

    async def charge(self, request: ChargeRequest, /) -> Charged:
        """Collect from a kept card as its number says."""
        state = LATER.get(request.instrument.removeprefix(_CARD), ChargeState.COLLECTED)
        return Charged(state=state, failure=DECLINED_REASON if state is ChargeState.DECLINED else None)

    async def refund(self, request: RefundRequest, /) -> RefundAnswer:
        """Give back everything that is asked."""
        return RefundAnswer(status=ProviderRefundStatus.CONFIRMED, external_id=f"{_PREFIX}re_{request.key}")

    async def cancel(self, _: PaymentAt, /) -> bool:
        """Give up a payment that nobody has paid."""
        return True

    def parse(self, headers: Mapping[str, str], body: bytes) -> ProviderEvent:
        """Read an event that this process has signed.

        Raises:
            Forged: it has not, or long ago.
        """
        signatures.verify(body, headers.get(signatures.HEADER, ""), key=_KEY)
        try:
            return self.read(json.loads(body))
        except (ValueError, KeyError, TypeError) as error:
            raise Forged("The event is not readable.") from error

    def read(self, body: Mapping[str, Any]) -> ProviderEvent:
        """Read a stored event."""
        settled, kept = body.get("settled"), body.get("instrument")
        return ProviderEvent(
            external_id=body["id"],
            type=body["type"],
            body=body,
            account=body["account"],
            livemode=False,
            kind=EventKind(body["type"]) if body["type"] in EventKind.__members__ else None,
            payment=body.get("payment", ""),
            order_id=UUID(body["order"]) if body.get("order") else None,
            failure=body.get("failure"),
            is_step=body.get("step", False),
            instrument=KeptInstrument(**kept | {"expires_on": date.fromisoformat(kept["expires_on"])})
            if kept
            else None,
            refund=body.get("refund"),
            refund_key=body.get("refund_key"),
            amount_minor=body.get("amount"),
            dispute=body.get("dispute"),
            settled=Settled(**settled) if settled else None,
            dispute_fee_minor=body.get("dispute_fee", 0),
            dispute_fee_currency=body.get("dispute_fee_currency"),
        )

    async def complete(self, event: ProviderEvent) -> ProviderEvent:
        """Return the event: it leaves nothing out."""
        return event

    async def close(self) -> None:
        """Close nothing."""


def payment_of(order_id: UUID) -> str:
    """Return the id of an order's payment."""
    return f"{_PREFIX}pay_{order_id.hex}"


def payment_of_secret(client_secret: str) -> str:
    """Return the id of the payment to which a secret belongs."""
    return client_secret.partition(_SECRET)[0]


def build_event(
    kind: EventKind | str,
    *,
    account: str,
    payment: str,
    event_id: str | None = None,
    at: float | None = None,
    **more: Any,
) -> SignedEvent:
    """Build an event as it would arrive now, or at `at`; the same id is the same event."""
    body = {
        "id": event_id or f"{_PREFIX}evt_{new_id().hex}",
        "type": str(kind),
        "account": account,
        "payment": payment,
        **more,
    }
    data = json.dumps(body).encode()
    return SignedEvent({signatures.HEADER: signatures.sign(data, key=_KEY, at=at)}, data)


def events_of_card(number: str, *, account: str, payment: str, order_id: UUID) -> Sequence[SignedEvent]:
    """Build the events that paying with a card brings, in their order."""
    return build_events(NUMBERS[number], number, account=account, payment=payment, order_id=order_id)


def events_of_charge(
    state: ChargeState, card: str, *, account: str, payment: str, order_id: UUID
) -> Sequence[SignedEvent]:
    """Build the events that charging a kept card brings, in their order."""
    kinds = _KINDS_OF_STATE.get(state, ())
    number = card.removeprefix(_CARD)
    return build_events(kinds, number, account=account, payment=payment, order_id=order_id)


def build_events(
    kinds: Sequence[EventKind], number: str, *, account: str, payment: str, order_id: UUID
) -> Sequence[SignedEvent]:
    """Build events of these kinds about a payment with a card."""
    kept = {
        "external_id": f"{_CARD}{number}",
        "brand": "Visa",
        "last4": number[-4:],
        "expires_on": "2099-12-31",
    }
    events = []
    for kind in kinds:
        more: dict[str, Any] = {"order": order_id.hex}
        if kind in {EventKind.FAILED, EventKind.DECLINED}:
            more["failure"] = DECLINED_REASON
        elif kind is EventKind.SUCCEEDED:
            more["instrument"] = kept
        elif kind in {EventKind.DISPUTE_OPENED, EventKind.DISPUTE_LOST, EventKind.DISPUTE_WON}:
            more |= {"dispute": f"{_PREFIX}dp_{order_id.hex}", "dispute_fee": DISPUTE_FEE_MINOR}
        events.append(build_event(kind, account=account, payment=payment, **more))
    return events
