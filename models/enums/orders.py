"""Orders and their limits."""

from enum import StrEnum


class OrderType(StrEnum):
    """Kind of payment that an order intends."""

    DONATION = "DONATION"
    """Money given to a hosted collective."""
    ADDED_FUNDS = "ADDED_FUNDS"
    """Money that a host received outside the platform and adds to a balance."""
    EXPENSE = "EXPENSE"
    """A bill or receipt that a collective is asked to pay."""
    HOURS = "HOURS"
    """Volunteer time that a nonprofit approves; it issues currents."""
    REDEMPTION = "REDEMPTION"
    """Currents given to a business for part of a price."""
    TRANSFER = "TRANSFER"
    """Money moved from one balance to another."""
    CASH_OUT = "CASH_OUT"
    """Payout of a user's balance."""
    BONUS = "BONUS"
    """Currents that the platform gives a new user, once."""
    SETTLEMENT = "SETTLEMENT"
    """Payment from host to host of what clearing between them owes, or of fees to the platform."""


class OrderStatus(StrEnum):
    """Status of an order."""

    PENDING = "PENDING"
    """Waiting for approval."""
    APPROVED = "APPROVED"
    """Approved; its amount is held until it is paid."""
    REJECTED = "REJECTED"
    """Rejected, with a reason."""
    PAID = "PAID"
    """Settled: its transactions are in the ledger."""
    CANCELLED = "CANCELLED"
    """Cancelled before it was settled."""
    EXPIRED = "EXPIRED"
    """Not decided in time."""
    FAILED = "FAILED"
    """Not paid: refused by a payment provider, or not covered by the payer's balance."""
    REFUNDED = "REFUNDED"
    """Settled and refunded in full."""


class OrderActionType(StrEnum):
    """Kind of step in an order's history."""

    CREATE = "CREATE"
    """The order was created."""
    EDIT = "EDIT"
    """The payee changed the expense, which is pending again."""
    APPROVE = "APPROVE"
    """The order was approved, possibly with a different amount."""
    REJECT = "REJECT"
    """The order was rejected."""
    PAY = "PAY"
    """The order was settled."""
    CANCEL = "CANCEL"
    """The order was cancelled."""
    EXPIRE = "EXPIRE"
    """The order expired."""
    REFUND = "REFUND"
    """The order was refunded, in full or in part."""
    CONFIRM = "CONFIRM"
    """The giver confirmed funds that a host added in their name."""
    DENY = "DENY"
    """The giver denied funds that a host added in their name."""
    FAIL = "FAIL"
    """A payment of the order was refused."""
    DISPUTE = "DISPUTE"
    """The giver's bank disputed the payment."""
    DISPUTE_END = "DISPUTE_END"
    """The dispute of the payment was decided."""


class GiverStatus(StrEnum):
    """Answer of the giver in whose name a host added funds."""

    WAITING = "WAITING"
    """Not answered yet; the origin of the funds counts as unknown."""
    CONFIRMED = "CONFIRMED"
    """Confirmed: the order shows the giver."""
    DENIED = "DENIED"
    """Denied: the origin of the funds stays unknown."""


class FeesPayer(StrEnum):
    """Side that bears the payout fee."""

    PAYER = "PAYER"
    """The paying collective, on top of the amount."""
    PAYEE = "PAYEE"
    """The payee, out of the amount."""


class CapPeriod(StrEnum):
    """Period of an issuance cap; each begins at midnight UTC."""

    WEEK = "WEEK"
    """A calendar week, from Monday."""
    MONTH = "MONTH"
    """A calendar month."""
    YEAR = "YEAR"
    """A calendar year."""


class RedemptionCap(StrEnum):
    """Limit that reduces the currents of a redemption below the price's share."""

    BALANCE = "BALANCE"
    """The user's available balance."""
    WEEKLY_LIMIT = "WEEKLY_LIMIT"
    """The limit for master offers within seven days."""
    RECEIVED_LATELY = "RECEIVED_LATELY"
    """Currents received from others within seven days, which master offers do not take."""
