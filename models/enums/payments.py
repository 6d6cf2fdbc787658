"""Ways of paying and of being paid, and what payment providers tell."""

from enum import StrEnum


class PaymentMethodKind(StrEnum):
    """Kind of payment, which decides when it is settled."""

    BALANCE = "BALANCE"
    """From the giver's balance, at once."""
    MANUAL = "MANUAL"
    """By bank transfer, when the host confirms its receipt."""
    PROVIDER = "PROVIDER"
    """By card or the like, when the payment provider confirms it."""


class ProviderName(StrEnum):
    """Company that collects payments for hosts."""

    FAKE = "FAKE"
    """A pretended provider for tests and the demo: it moves no money."""
    STRIPE = "STRIPE"
    """The company Stripe."""


class ProviderAccountStatus(StrEnum):
    """State of a host's account at a payment provider."""

    PENDING = "PENDING"
    """The host has to agree at the provider first."""
    ACTIVE = "ACTIVE"
    """Collects payments for the host."""
    DISABLED = "DISABLED"
    """Disconnected; what was paid through it stays."""


class ProviderPaymentStatus(StrEnum):
    """State of a payment at its provider."""

    OPEN = "OPEN"
    """Waits for the giver."""
    PROCESSING = "PROCESSING"
    """Waits for the giver's bank."""
    SUCCEEDED = "SUCCEEDED"
    """Collected."""
    FAILED = "FAILED"
    """Refused."""
    CANCELLED = "CANCELLED"
    """Given up."""


class ProviderRefundStatus(StrEnum):
    """State of a refund at its provider."""

    REQUESTED = "REQUESTED"
    """Not sent to the provider yet."""
    SENT = "SENT"
    """Sent; the provider has not confirmed it."""
    CONFIRMED = "CONFIRMED"
    """Given back."""
    FAILED = "FAILED"
    """Refused by the provider."""


class DisputeStatus(StrEnum):
    """State of a dispute over a payment."""

    OPEN = "OPEN"
    """The giver's bank wants the money back."""
    WON = "WON"
    """The host keeps the money."""
    LOST = "LOST"
    """The giver got the money back."""


class PayoutMethodKind(StrEnum):
    """Kind of payout to a payee."""

    BALANCE = "BALANCE"
    """Into the payee's balance on the platform."""
    MANUAL = "MANUAL"
    """Outside the platform, in a way agreed elsewhere."""
    BANK_ACCOUNT = "BANK_ACCOUNT"
    """Outside the platform, to a bank account."""
    PAYPAL = "PAYPAL"
    """Outside the platform, to a PayPal account."""
    OTHER = "OTHER"
    """Outside the platform, as described in the details."""
