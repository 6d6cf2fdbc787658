"""Second factors and passkeys of users, and who requires them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, LargeBinary, Text
from sqlmodel import Field, SQLModel

from models.base import id_field, one_of, timestamp_field
from models.enums import ChallengePurpose


class TotpFactor(SQLModel, table=True):
    """A user's authenticator app; a factor once a first code has shown that it works."""

    __tablename__ = "totp_factor"
    __table_args__ = (CheckConstraint("activated_at IS NULL OR last_step > 0", name="used_when_active"),)

    user_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    secret: bytes = Field(sa_type=LargeBinary)
    """The shared secret; encrypted if the installation has a key."""
    created_at: datetime = timestamp_field(default_now=True)
    activated_at: datetime | None = timestamp_field(nullable=True)
    last_step: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    """The number of 30-second steps since 1970 of the last used code: no code works twice."""


class RecoveryCode(SQLModel, table=True):
    """A code that replaces the other factors once, stored as its SHA-256."""

    __tablename__ = "recovery_code"

    user_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    code_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    created_at: datetime = timestamp_field(default_now=True)
    used_at: datetime | None = timestamp_field(nullable=True)


class Passkey(SQLModel, table=True):
    """A passkey of a user: its public key, and how often it has signed."""

    __table_args__ = (
        CheckConstraint("name <> ''", name="name"),
        CheckConstraint("sign_count >= 0", name="sign_count"),
    )

    id: UUID = id_field()
    user_id: UUID = Field(foreign_key="collective.id", index=True)
    name: str = Field(sa_type=Text)
    credential_id: bytes = Field(sa_type=LargeBinary, unique=True)
    public_key: bytes = Field(sa_type=LargeBinary)
    sign_count: int = Field(sa_type=BigInteger)
    """What the passkey counted itself; zero for those that do not count."""
    created_at: datetime = timestamp_field(default_now=True)
    last_used_at: datetime | None = timestamp_field(nullable=True)


class Challenge(SQLModel, table=True):
    """What a sign-in or a passkey has to answer, stored as its SHA-256; deleted when it is answered."""

    __table_args__ = (
        one_of("purpose", ChallengePurpose),
        CheckConstraint("user_id IS NOT NULL OR purpose = 'PASSKEY_SIGN_IN'", name="user"),
    )

    challenge_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    purpose: ChallengePurpose = Field(sa_type=Text)
    user_id: UUID | None = Field(default=None, foreign_key="collective.id", index=True)
    expires_at: datetime = timestamp_field(index=True)


class FactorRequirement(SQLModel, table=True):
    """A collective or host whose ADMINs need a second factor to act as such."""

    __tablename__ = "factor_requirement"

    collective_id: UUID = Field(primary_key=True, foreign_key="collective.id")
    created_by_id: UUID = Field(foreign_key="collective.id")
    created_at: datetime = timestamp_field(default_now=True)
