"""The ledger's tables. Only the function ledger_post writes transactions and postings; see the migrations."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    Text,
    text,
)
from sqlmodel import Field, SQLModel

from models.base import id_field, moment
from models.enums import LedgerAccountKind, TransactionKind


class LedgerAccount(SQLModel, table=True):
    """One owner's account of one kind and currency in one host's book; amounts in minor units."""

    __tablename__ = "ledger_account"
    __table_args__ = (
        PrimaryKeyConstraint("book_id", "id"),
        # Few, for each is parsed with every posting; an insert is looked at by ledger_account_guard.
        CheckConstraint("held >= 0 AND seq >= 0", name="counts_not_negative"),
        CheckConstraint("floor IS NULL OR posted - held >= floor", name="floor"),
        Index("uq_ledger_account_key", "book_id", "owner_id", "currency", "kind", unique=True),
        Index("ix_ledger_account_owner_id", "owner_id"),
        # Room on the page keeps the updates of a busy account off every index.
        {"postgresql_with": {"fillfactor": "50"}},
    )

    book_id: UUID = Field(foreign_key="collective.id")
    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    owner_id: UUID = Field(foreign_key="collective.id")
    currency: str = Field(sa_type=Text, foreign_key="currency.code")
    kind: LedgerAccountKind = Field(sa_type=Text)
    posted: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    held: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    seq: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    last_at: datetime | None = moment(nullable=True)
    floor: int | None = Field(default=None, sa_type=BigInteger)
    """The least that posted - held may be; null is no limit."""


class Transaction(SQLModel, table=True):
    """Value moved: both sides, both hosts, fees, fx. Append-only; a refund has all amounts negated.

    `host_currency` is that of the receiving host, or of the paying host where money leaves for outside.
    What its figures must be to one another is checked by the trigger transaction_guard: CHECK constraints are
    parsed anew with each statement, which was a seventh of the time of a posting.
    """

    __table_args__ = (
        Index(
            "uq_transaction_order_kind",
            "order_id",
            "kind",
            # Refunds and covers, of which there may be many, are told apart by their own id. Spelled and
            # spaced as PostgreSQL prints it, which is how Alembic compares it.
            text(
                "(\nCASE\n    WHEN refund_of_id IS NULL AND kind <> 'PAYMENT_PROCESSOR_COVER'::text"
                " THEN '00000000-0000-0000-0000-000000000000'::uuid\n    ELSE id\nEND)"
            ),
            unique=True,
            postgresql_where=text("order_id IS NOT NULL"),
        ),
        Index(
            "ix_transaction_refund_of_id",
            "refund_of_id",
            postgresql_where=text("refund_of_id IS NOT NULL"),
        ),
        Index("ix_transaction_from_collective_id", "from_collective_id", "at", "id"),
        Index("ix_transaction_to_collective_id", "to_collective_id", "at", "id"),
        Index("ix_transaction_at", "at", "id"),
        ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_transaction_order_id"),
    )

    id: UUID = id_field()
    group_id: UUID
    kind: TransactionKind = Field(sa_type=Text)
    order_id: UUID | None = None
    refund_of_id: UUID | None = None
    # No foreign keys to the four collectives: they would lock the rows of a busy collective with every
    # posting. A collective is never deleted, and its ledger account refers to it.
    from_collective_id: UUID | None = None
    to_collective_id: UUID | None = None
    from_host_id: UUID | None = None
    to_host_id: UUID | None = None
    payment_method_id: UUID | None = None
    currency: str = Field(sa_type=Text)
    amount: int = Field(sa_type=BigInteger)
    fx_rate: Decimal = Field(sa_type=Numeric)
    fx_rate_id: UUID | None = None
    """The rate row that `fx_rate` came from; null when the currencies are one."""
    host_currency: str = Field(sa_type=Text)
    gross: int = Field(sa_type=BigInteger)
    payment_processor_fee: int = Field(default=0, sa_type=BigInteger)
    platform_fee: int = Field(default=0, sa_type=BigInteger)
    host_fee: int = Field(default=0, sa_type=BigInteger)
    to_host_amount: int = Field(sa_type=BigInteger)
    to_collective_amount: int = Field(sa_type=BigInteger)
    from_host_currency: str | None = Field(default=None, sa_type=Text)
    from_host_fx_rate: Decimal | None = Field(default=None, sa_type=Numeric)
    from_host_amount: int | None = Field(default=None, sa_type=BigInteger)
    from_collective_currency: str | None = Field(default=None, sa_type=Text)
    from_collective_fx_rate: Decimal | None = Field(default=None, sa_type=Numeric)
    from_collective_amount: int | None = Field(default=None, sa_type=BigInteger)
    description: str | None = Field(default=None, sa_type=Text)
    has_public_side: bool = True
    at: datetime = moment()
    """Ledger time: when it counts."""
    created_at: datetime = moment()
    """When it was recorded; later than `at` for imported history."""
    xid: int = Field(sa_type=BigInteger)
    """The database transaction that wrote it: no posting may join later."""


class Posting(SQLModel, table=True):
    """One line of double entry; credit positive, minor units. Append-only."""

    __table_args__ = (
        PrimaryKeyConstraint("book_id", "account_id", "seq"),
        CheckConstraint("amount <> 0", name="amount_not_zero"),
        Index(
            "ix_posting_at",
            "book_id",
            "account_id",
            "at",
            "seq",
            postgresql_include=["balance_after"],
        ),
        Index("ix_posting_transaction_id", "transaction_id"),
    )

    book_id: UUID
    account_id: int = Field(sa_type=BigInteger)
    seq: int = Field(sa_type=BigInteger)
    transaction_id: UUID
    currency: str = Field(sa_type=Text)
    amount: int = Field(sa_type=BigInteger)
    balance_after: int = Field(sa_type=BigInteger)
    at: datetime = moment()


class Hold(SQLModel, table=True):
    """Part of a balance set aside for an order that is not settled yet."""

    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        ForeignKeyConstraint(
            ["book_id", "account_id"],
            ["ledger_account.book_id", "ledger_account.id"],
            name="fk_hold_account",
        ),
        Index("ix_hold_open", "book_id", "account_id", postgresql_where=text("released_at IS NULL")),
    )

    order_id: UUID = Field(primary_key=True, foreign_key="order.id")
    book_id: UUID
    account_id: int = Field(sa_type=BigInteger)
    amount: int = Field(sa_type=BigInteger)
    created_at: datetime = moment(default_now=True)
    released_at: datetime | None = moment(nullable=True)


class RefundTotal(SQLModel, table=True):
    """How much of a transaction has been refunded; the database lets it reach the whole, no further."""

    __tablename__ = "refund_total"
    __table_args__ = (CheckConstraint("refunded > 0 AND refunded <= amount", name="at_most_the_original"),)

    transaction_id: UUID = Field(primary_key=True, foreign_key="transaction.id")
    amount: int = Field(sa_type=BigInteger)
    refunded: int = Field(sa_type=BigInteger)
