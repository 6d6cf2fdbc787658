"""All tables: importing this package completes the metadata."""

from models.attendance import Attendance
from models.audit import AuditedAccount, AuditRun
from models.base import metadata, new_id, now
from models.collective import Collective, HostApplication, Invitation, Member, SlugRedirect
from models.currency import Currency, FxRate, PlatformPolicy
from models.identity import Credential, EmailToken, MergeConsent, MergedEmail, RateBucket, Throttle, Token
from models.issuance import IssuanceCap
from models.ledger import Hold, LedgerAccount, Posting, RefundTotal, Transaction
from models.live_event import LiveEvent
from models.offer import Offer, Receipt, Redemption
from models.order import Idempotency, Order, OrderAction, OrderItem, PaymentMethod, PayoutMethod
from models.outbox import Outbox
from models.preferences import MutedTopic
from models.settlement import Settlement

__all__ = [
    "Attendance",
    "AuditRun",
    "AuditedAccount",
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
    "MergeConsent",
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
    "Settlement",
    "SlugRedirect",
    "Throttle",
    "Token",
    "Transaction",
    "metadata",
    "new_id",
    "now",
]
