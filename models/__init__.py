"""Every table, so that the metadata is complete once this package is imported."""

from models.base import metadata, new_id, now
from models.collective import Collective, HostApplication, Invitation, Member, SlugRedirect
from models.currency import Currency, FxRate, PlatformPolicy
from models.economy import Attendance, IssuanceCap, MergedEmail, MutedTopic, Offer, Receipt, Redemption
from models.identity import Credential, EmailToken, RateBucket, Throttle, Token
from models.ledger import Hold, LedgerAccount, Posting, RefundTotal, Transaction
from models.live_event import LiveEvent
from models.order import Idempotency, Order, OrderAction, OrderItem, PaymentMethod, PayoutMethod
from models.outbox import Outbox

__all__ = [
    "Attendance",
    "Collective",
    "Credential",
    "Currency",
    "EmailToken",
    "FxRate",
    "Hold",
    "HostApplication",
    "Idempotency",
    "Invitation",
    "IssuanceCap",
    "LedgerAccount",
    "LiveEvent",
    "Member",
    "MergedEmail",
    "MutedTopic",
    "Offer",
    "Order",
    "OrderAction",
    "OrderItem",
    "Outbox",
    "PaymentMethod",
    "PayoutMethod",
    "PlatformPolicy",
    "Posting",
    "RateBucket",
    "Receipt",
    "Redemption",
    "RefundTotal",
    "SlugRedirect",
    "Throttle",
    "Token",
    "Transaction",
    "metadata",
    "new_id",
    "now",
]
