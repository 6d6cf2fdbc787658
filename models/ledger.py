"""The ledger's tables. Only the SQL function ledger_post writes transactions and postings."""

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

from models.base import id_field, new_id, timestamp_field
from models.enums import LedgerAccountKind, TransactionKind


class LedgerAccount(SQLModel, table=True):
    """An owner's account of one kind and currency in a host's book; amounts in minor units."""

    __tablename__ = "ledger_account"
    __table_args__ = (
        PrimaryKeyConstraint("book_id", "id"),
        # Few, because each is parsed with every posting; the trigger ledger_account_guard checks inserts.
        CheckConstraint("held >= 0 AND seq >= 0", name="counts_not_negative"),
        CheckConstraint("posted - held >= floor", name="floor"),
        CheckConstraint("credit_limit IS NULL OR posted >= floor", name="clearing_limit"),
        Index("uq_ledger_account_key", "book_id", "owner_id", "currency", "kind", unique=True),
        Index("ix_ledger_account_owner_id", "owner_id"),
        Index("uq_ledger_account_id", "id", unique=True),
        # Free space on the page lets updates of a busy account skip all indexes.
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
    last_at: datetime | None = timestamp_field(nullable=True)
    floor: int | None = Field(default=None, sa_type=BigInteger)
    """The lower bound of posted - held; null for no bound."""
    credit_limit: int | None = Field(default=None, sa_type=BigInteger)
    """For CLEARING: how much the book's host allows the owner to owe it."""


class Transaction(SQLModel, table=True):
    """A movement of value: both sides, both hosts, fees, fx. Append-only; a refund negates every amount.

    `host_currency` is the receiving host's, or the paying host's if the money leaves the platform.
    The trigger transaction_guard checks how the amounts relate: CHECK constraints are parsed anew with each
    statement, which took a seventh of the time of a posting.
    """

    __table_args__ = (
        Index(
            "uq_transaction_order_kind",
            "order_id",
            "kind",
            # An order may have several refunds and covers: their own id makes them distinct. Spelled and
            # spaced as PostgreSQL prints it, because Alembic compares the text.
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
        # With what anonymous viewers see, so that the list is counted without reading the rows.
        Index("ix_transaction_at", "at", "id", postgresql_include=["has_public_side"]),
        Index("ix_transaction_kind", "kind", "at", "id"),
        Index("ix_transaction_group_id", "group_id"),
        ForeignKeyConstraint(["order_id"], ["order.id"], name="fk_transaction_order_id"),
    )

    id: UUID = id_field()
    group_id: UUID
    kind: TransactionKind = Field(sa_type=Text)
    order_id: UUID | None = None
    refund_of_id: UUID | None = None
    # No foreign keys to the four collectives: each posting would lock the row of a busy collective.
    # Collectives are never deleted, and their ledger accounts refer to them.
    from_collective_id: UUID | None = None
    to_collective_id: UUID | None = None
    from_host_id: UUID | None = None
    to_host_id: UUID | None = None
    payment_method_id: UUID | None = None
    currency: str = Field(sa_type=Text)
    amount: int = Field(sa_type=BigInteger)
    fx_rate: Decimal = Field(sa_type=Numeric)
    fx_rate_id: UUID | None = None
    """The row that `fx_rate` was read from; null if both currencies are the same."""
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
    at: datetime = timestamp_field()
    """Effective time in the ledger."""
    created_at: datetime = timestamp_field()
    """Time of recording; later than `at` for imported history."""
    xid: int = Field(sa_type=BigInteger)
    """The database transaction that wrote it: later ones cannot add postings."""
    is_incognito: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """True if the paying side is the giver of an incognito gift; the ledger takes it from the order."""


class Posting(SQLModel, table=True):
    """A line of double entry in minor units, credit positive. Append-only."""

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
    at: datetime = timestamp_field()


class Hold(SQLModel, table=True):
    """Part of a balance reserved for an order that is not paid yet."""

    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        ForeignKeyConstraint(
            ["book_id", "account_id"],
            ["ledger_account.book_id", "ledger_account.id"],
            name="fk_hold_account",
        ),
        Index("ix_hold_open", "book_id", "account_id", postgresql_where=text("released_at IS NULL")),
        Index(
            "uq_hold_open",
            "order_id",
            "book_id",
            "account_id",
            unique=True,
            postgresql_where=text("released_at IS NULL"),
        ),
    )

    order_id: UUID = Field(foreign_key="order.id")
    book_id: UUID
    account_id: int = Field(sa_type=BigInteger)
    amount: int = Field(sa_type=BigInteger)
    created_at: datetime = timestamp_field(default_now=True)
    released_at: datetime | None = timestamp_field(nullable=True)
    id: UUID = Field(
        default_factory=new_id,
        primary_key=True,
        sa_column_kwargs={"server_default": text("gen_random_uuid()")},
    )


class RefundTotal(SQLModel, table=True):
    """The refunded amount of a transaction; the database limits it to the original amount."""

    __tablename__ = "refund_total"
    __table_args__ = (CheckConstraint("refunded > 0 AND refunded <= amount", name="at_most_the_original"),)

    transaction_id: UUID = Field(primary_key=True, foreign_key="transaction.id")
    amount: int = Field(sa_type=BigInteger)
    refunded: int = Field(sa_type=BigInteger)


class RaisedTotal(SQLModel, table=True):
    """What a collective or a tier raised before fees, less refunds; the database adds it up."""

    __tablename__ = "raised_total"
    __table_args__ = (CheckConstraint("raised_minor >= 0", name="not_negative"),)

    subject_id: UUID = Field(primary_key=True)
    currency: str = Field(primary_key=True, sa_type=Text, foreign_key="currency.code")
    raised_minor: int = Field(sa_type=BigInteger)
