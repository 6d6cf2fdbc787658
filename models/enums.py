"""The closed vocabularies; each member's docstring says what it means to a user of the API."""

from enum import StrEnum


class CollectiveType(StrEnum):
    """What kind of entity a collective is."""

    USER = "USER"
    """A person, claimed or known by email alone."""
    COMMUNITY = "COMMUNITY"
    """A group without a legal body of its own; a host holds its money."""
    NONPROFIT = "NONPROFIT"
    """An organization that may host others."""
    BUSINESS = "BUSINESS"
    """An organization that trades."""
    EVENT = "EVENT"
    """A gathering of its parent; it holds members, not money."""


class MemberRole(StrEnum):
    """What a member is to a collective; one role a row."""

    HOST = "HOST"
    """Legal holder of the bank account."""
    ADMIN = "ADMIN"
    """Acts for the collective."""
    ACCOUNTANT = "ACCOUNTANT"
    """Reads private finance."""
    MEMBER = "MEMBER"
    """Contributor."""
    BACKER = "BACKER"
    """Gave money."""
    VOLUNTEER = "VOLUNTEER"
    """Has approved hours."""
    ATTENDEE = "ATTENDEE"
    """Registered for an event."""
    WAITING = "WAITING"
    """On the waiting list of an event that is full."""
    FOLLOWER = "FOLLOWER"
    """Follows the collective's news."""


class OrderType(StrEnum):
    """What an order intends."""

    DONATION = "DONATION"
    """Money given to a hosted collective."""
    ADDED_FUNDS = "ADDED_FUNDS"
    """Money a host received outside and adds to a collective's balance."""
    EXPENSE = "EXPENSE"
    """A bill or receipt that a collective is asked to pay."""
    HOURS = "HOURS"
    """Volunteer time that a nonprofit approves; issues currents."""
    REDEMPTION = "REDEMPTION"
    """Currents given to a business for part of a price."""
    TRANSFER = "TRANSFER"
    """Balance moved to another balance."""
    CASH_OUT = "CASH_OUT"
    """A user's balance paid out."""
    BONUS = "BONUS"
    """Currents that the platform gives a new user, once."""


class OrderStatus(StrEnum):
    """Where an order stands."""

    PENDING = "PENDING"
    """Waits for approval."""
    APPROVED = "APPROVED"
    """Approved; its amount is held until it is paid."""
    REJECTED = "REJECTED"
    """Refused, with a reason."""
    PAID = "PAID"
    """Settled: its transactions are in the ledger."""
    CANCELLED = "CANCELLED"
    """Withdrawn before it was settled."""
    EXPIRED = "EXPIRED"
    """Nobody decided in time."""
    FAILED = "FAILED"
    """A payment provider refused it."""
    REFUNDED = "REFUNDED"
    """Settled and returned in whole."""


class OrderActionType(StrEnum):
    """A step in an order's history."""

    CREATE = "CREATE"
    """The order was made."""
    APPROVE = "APPROVE"
    """It was approved, perhaps with another amount."""
    REJECT = "REJECT"
    """It was refused."""
    PAY = "PAY"
    """It was settled."""
    CANCEL = "CANCEL"
    """It was withdrawn."""
    EXPIRE = "EXPIRE"
    """Its time ran out."""
    REFUND = "REFUND"
    """All or part of it was returned."""


class TransactionKind(StrEnum):
    """Why value moved."""

    DONATION = "DONATION"
    """Money given."""
    ADDED_FUNDS = "ADDED_FUNDS"
    """Money added by the host."""
    EXPENSE = "EXPENSE"
    """A bill paid."""
    TRANSFER = "TRANSFER"
    """Balance moved to a balance."""
    HOURS = "HOURS"
    """Currents issued for approved time."""
    REDEMPTION = "REDEMPTION"
    """Currents accepted by a business."""
    REDEMPTION_PAYOUT = "REDEMPTION_PAYOUT"
    """The dollar side of a redemption."""
    CASH_OUT = "CASH_OUT"
    """A user's balance paid out."""
    BONUS = "BONUS"
    """Currents issued to a new user by the platform."""
    MERGE = "MERGE"
    """A balance that followed its owner when two users became one."""
    HOST_FEE = "HOST_FEE"
    """A host's fee that imported history keeps as a row of its own."""
    PAYMENT_PROCESSOR_COVER = "PAYMENT_PROCESSOR_COVER"
    """The host covers what a payment processor kept of a refunded payment."""
    REFUND = "REFUND"
    """All or part of a transaction returned: the original's mirror image."""


class LedgerAccountKind(StrEnum):
    """What a ledger account counts."""

    BALANCE = "BALANCE"
    """What the book's host owes the owner."""
    CASH = "CASH"
    """The host's bank and processor accounts; negative is money held."""
    ISSUANCE = "ISSUANCE"
    """Currents a nonprofit has issued."""
    EXCHANGE = "EXCHANGE"
    """The host's open position where a collective's currency differs from its own."""


class CurrencyKind(StrEnum):
    """What a currency measures."""

    FIAT = "FIAT"
    """Money by ISO 4217."""
    TIME = "TIME"
    """Time: 1.000 is an hour."""


class PaymentMethodKind(StrEnum):
    """How money given with a payment method settles."""

    BALANCE = "BALANCE"
    """From the giver's balance, at once."""
    MANUAL = "MANUAL"
    """By bank transfer, when the host sees it."""


class PayoutMethodKind(StrEnum):
    """How a payee is paid."""

    BALANCE = "BALANCE"
    """Into the payee's balance here."""
    MANUAL = "MANUAL"
    """Outside, in a way agreed elsewhere."""
    BANK_ACCOUNT = "BANK_ACCOUNT"
    """Outside, to a bank account."""
    PAYPAL = "PAYPAL"
    """Outside, to a PayPal account."""
    OTHER = "OTHER"
    """Outside, as the details say."""


class FeesPayer(StrEnum):
    """Who bears the fee of a payout."""

    PAYER = "PAYER"
    """The paying collective, on top of the amount."""
    PAYEE = "PAYEE"
    """The payee, out of the amount."""


class RequestStatus(StrEnum):
    """Where an invitation or a host application stands."""

    PENDING = "PENDING"
    """Waits for an answer."""
    ACCEPTED = "ACCEPTED"
    """Answered with yes."""
    DECLINED = "DECLINED"
    """Answered with no."""


class TokenKind(StrEnum):
    """What a bearer token is for."""

    SESSION = "SESSION"
    """A signed-in browser or client; every scope."""
    ACCESS = "ACCESS"
    """Made by the user for a program; the scopes named."""


class EmailTokenPurpose(StrEnum):
    """What a mailed token proves or allows."""

    VERIFY = "VERIFY"
    """The reader owns the address."""
    RESET = "RESET"
    """The reader may choose a new password."""


class Scope(StrEnum):
    """What an access token may be used for."""

    READ = "READ"
    """Read what its user may read."""
    COLLECTIVES = "COLLECTIVES"
    """Create and edit collectives, members and applications."""
    ORDERS = "ORDERS"
    """Create orders and move money."""
    APPROVE = "APPROVE"
    """Approve, reject, pay and refund orders."""


class CreditPolicy(StrEnum):
    """Which hours an attendee of an event is credited."""

    FULL_EVENT = "FULL_EVENT"
    """The whole event, at check-in."""
    ACTUAL = "ACTUAL"
    """From check-in to check-out, at most the whole event, at check-out."""


class LiveKind(StrEnum):
    """What a live event tells of."""

    ORDER = "ORDER"
    """An order was made or changed."""
    TRANSACTION = "TRANSACTION"
    """A transaction was posted."""
    CHECK_IN = "CHECK_IN"
    """Somebody was checked in to an event, or out."""
    START = "START"
    """The mark before which nothing is kept."""


class CapPeriod(StrEnum):
    """How long an issuance cap counts; periods begin at midnight UTC."""

    WEEK = "WEEK"
    """From Monday."""
    MONTH = "MONTH"
    """A calendar month."""
    YEAR = "YEAR"
    """A calendar year."""


class RedemptionCap(StrEnum):
    """Why a redemption takes fewer currents than its price allows."""

    BALANCE = "BALANCE"
    """The user has no more available."""
    WEEKLY_LIMIT = "WEEKLY_LIMIT"
    """Master offers give no more within seven days."""


class Topic(StrEnum):
    """What a mail is about; a person can mute a topic."""

    MONEY = "MONEY"
    """Donations, expenses, refunds."""
    HOURS = "HOURS"
    """Hours requested, approved, refused."""
    EVENTS = "EVENTS"
    """Registrations, changes and messages of events."""
    REDEMPTIONS = "REDEMPTIONS"
    """Offers, redemptions and cash-outs."""
    MEMBERS = "MEMBERS"
    """Invitations and host applications."""
