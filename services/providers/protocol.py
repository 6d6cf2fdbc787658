"""What every payment provider does for us, in our own words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from models.enums import ProviderName, ProviderRefundStatus
from services.core.errors import ErrorCode, Problem


class ProviderAway(Problem):
    """The payment provider does not answer. Nothing was charged; try again later, or pay in another way."""

    code = ErrorCode.UNAVAILABLE


class ProviderRefused(Problem):
    """The payment provider does not do this. Pay in another way."""

    code = ErrorCode.INVALID_STATE


class NotSettledYet(Exception):
    """The provider has collected a payment and does not know its own figures yet."""


class Forged(Exception):
    """The signature of an event is missing, wrong, or too old."""


class EventKind(StrEnum):
    """What happened, whatever the provider calls it."""

    PROCESSING = "PROCESSING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    DECLINED = "DECLINED"
    """An attempt to pay was refused; the giver can try again with the same secret."""
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"
    REFUND_FAILED = "REFUND_FAILED"
    DISPUTE_OPENED = "DISPUTE_OPENED"
    DISPUTE_WON = "DISPUTE_WON"
    DISPUTE_LOST = "DISPUTE_LOST"
    ACCOUNT_ENABLED = "ACCOUNT_ENABLED"
    ACCOUNT_DISABLED = "ACCOUNT_DISABLED"


@dataclass(frozen=True, kw_only=True)
class ConnectedAccount:
    """A host's account, as the provider has it."""

    external_id: str
    livemode: bool
    is_enabled: bool = True
    """False while the provider does not let it collect."""


@dataclass(frozen=True, kw_only=True)
class CollectRequest:
    """A payment to collect. Units: minor, of `currency`."""

    order_id: UUID
    account: str
    """The host's account, as the provider names it."""
    amount_minor: int
    currency: str
    description: str
    customer: str | None = None
    """The giver, as the provider names them; for one it keeps cards."""
    keeps_card: bool = False
    """True if the card with which the giver pays is charged again later, without them."""
    key: str = ""
    """Under the same key the provider begins the same payment; by default, that of the order."""


@dataclass(frozen=True, kw_only=True)
class KeptInstrument:
    """A card or the like that the provider keeps, as it describes it."""

    external_id: str
    customer_id: str | None = None
    brand: str
    last4: str
    expires_on: date | None = None


@dataclass(frozen=True, kw_only=True)
class Started:
    """A payment that waits for the giver, who continues with the secret or at the URL."""

    external_id: str
    client_secret: str | None = None
    redirect_url: str | None = None


class ChargeState(StrEnum):
    """What came of charging a kept card."""

    COLLECTED = "COLLECTED"
    PROCESSING = "PROCESSING"
    """It is on its way, or collected with figures that are not known yet."""
    DECLINED = "DECLINED"
    STEP_NEEDED = "STEP_NEEDED"
    """The bank wants the giver to confirm."""
    OVER = "OVER"
    """The payment was given up."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What the provider made of a payment. Units: minor, of `currency`, which is the account's own."""

    currency: str
    gross_minor: int
    fee_minor: int


@dataclass(frozen=True, kw_only=True)
class PaymentAt:
    """A payment, as the provider names it and the host's account."""

    account: str
    payment: str


@dataclass(frozen=True, kw_only=True)
class ChargeRequest(PaymentAt):
    """A payment that was begun, to collect from a kept card without the giver."""

    instrument: str
    customer: str | None
    key: str
    """Under the same key the card is charged once."""
    is_repeated: bool = False
    """True if the payment was refused before."""


@dataclass(frozen=True, kw_only=True)
class Charged:
    """What came of charging a kept card; collected, with its figures if they are known."""

    state: ChargeState
    failure: str | None = None
    settled: Settled | None = None
    instrument: KeptInstrument | None = None


@dataclass(frozen=True, kw_only=True)
class RefundRequest(PaymentAt):
    """An amount to give back. Units: minor, of `currency`, which is the payment's."""

    amount_minor: int
    currency: str
    key: str


@dataclass(frozen=True, kw_only=True)
class RefundAnswer:
    """A refund as the provider has it; `failure` says why it refused."""

    status: ProviderRefundStatus
    external_id: str | None = None
    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class ProviderEvent:
    """Something that a provider tells of one of its accounts; without a kind it does not concern us."""

    external_id: str
    type: str
    body: Mapping[str, Any]
    account: str
    livemode: bool
    kind: EventKind | None = None
    payment: str = ""
    order_id: UUID | None = None
    """The order, as we told the provider: it may write before our own transaction is committed."""
    failure: str | None = None
    is_step: bool = False
    """True if an attempt was refused because the bank wants the giver to confirm."""
    instrument: KeptInstrument | None = None
    refund: str | None = None
    refund_key: str | None = None
    """The key that we gave the refund; none if the host made it at the provider itself."""
    amount_minor: int | None = None
    """What was refunded or is disputed, in the currency of the payment, or in `amount_currency`."""
    amount_currency: str | None = None
    dispute: str | None = None
    settled: Settled | None = None
    """The real figures, once they are known; without them the method's own terms are real."""
    dispute_fee_minor: int = 0
    """In minor units of `dispute_fee_currency`, or of the account's own; 0 while it is not known."""
    dispute_fee_currency: str | None = None


class PaymentProvider(Protocol):
    """A company that collects payments for hosts. Calls to it may raise ProviderAway."""

    name: ProviderName
    livemode: bool

    def consent_url(self, state: str, /) -> str | None:
        """Return where a host agrees to be connected; None if it need not. `state` comes back from there."""

    async def connect(self, code: str, /) -> ConnectedAccount:
        """Redeem what came back with the host's consent, once.

        Raises:
            ProviderRefused: it is wrong, old, or was redeemed before.
        """

    async def start(self, request: CollectRequest) -> Started:
        """Begin a payment that the giver completes. The same order begins the same payment.

        Raises:
            ProviderRefused: it cannot collect this.
        """

    async def open_customer(self, account: str, owner_id: UUID, /) -> str:
        """Return the provider's name of a giver, for whom an account keeps cards."""

    async def charge(self, request: ChargeRequest, /) -> Charged:
        """Collect a payment that was begun from a kept card, without the giver. It is collected once at most.

        Raises:
            ProviderRefused: it does not collect this.
        """

    async def refund(self, request: RefundRequest, /) -> RefundAnswer:
        """Give an amount back, once for each key.

        Raises:
            ProviderRefused: it does not give this back.
        """

    async def cancel(self, payment: PaymentAt, /) -> bool:
        """Give up a payment; False if it is too late, because the money was collected or is on its way."""

    def parse(self, headers: Mapping[str, str], body: bytes) -> ProviderEvent:
        """Read an event that proves to be the provider's.

        Raises:
            Forged: it does not, or it is more than five minutes old.
        """

    def read(self, body: Mapping[str, Any]) -> ProviderEvent:
        """Read a stored event, which was proved before."""

    async def complete(self, event: ProviderEvent) -> ProviderEvent:
        """Return an event of one of our accounts with what it leaves out, asked at the provider.

        Raises:
            NotSettledYet: ask again later.
        """

    async def close(self) -> None:
        """Close the connections of this event loop; they are made again when they are needed."""
