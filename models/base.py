"""Helpers shared by all tables: constraint names, identifiers, timestamps, checks over vocabularies."""

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import uuid_utils.compat
from sqlalchemy import CheckConstraint, DateTime, MetaData, func
from sqlmodel import Field, SQLModel

metadata: MetaData = SQLModel.metadata
metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def new_id() -> uuid.UUID:
    """Create a UUID of version 7, which sorts by time of creation, so that indexes append."""
    return uuid_utils.compat.uuid7()


def now() -> datetime:
    """Return the current time in UTC, with its time zone."""
    return datetime.now(UTC)


def id_field() -> Any:
    """Return a primary key filled by `new_id`."""
    return Field(default_factory=new_id, primary_key=True)


def timestamp_field(*, default_now: bool = False, nullable: bool = False, index: bool = False) -> Any:
    """Return a timestamptz column; with `default_now`, it defaults to the current time."""
    arguments: dict[str, Any] = {
        "sa_type": DateTime(timezone=True),
        "nullable": nullable,
        "index": index,
    }
    if default_now:
        arguments |= {"default_factory": now, "sa_column_kwargs": {"server_default": func.now()}}
    elif nullable:
        arguments["default"] = None
    return Field(**arguments)


def one_of(column: str, vocabulary: type[StrEnum]) -> CheckConstraint:
    """Return a check that a text column holds a member of `vocabulary`."""
    values = ", ".join(f"'{member.value}'" for member in vocabulary)
    return CheckConstraint(f'"{column}" IN ({values})', name=f"{column}_known")
