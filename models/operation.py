"""How the installation is run: the backups that were made."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Identity
from sqlmodel import Field, SQLModel

from models.base import timestamp_field


class BackupRun(SQLModel, table=True):
    """A backup that `commonweal backup` made; the newest row has the highest id."""

    __tablename__ = "backup_run"

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    started_at: datetime = timestamp_field()
    """Time of the snapshot that it holds."""
    finished_at: datetime = timestamp_field()
    size_bytes: int = Field(sa_type=BigInteger)
    files: int = Field(sa_type=BigInteger)
    """The number of uploaded files in it."""
