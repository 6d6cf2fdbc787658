"""Bounds of events and of policies."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0005_time"
down_revision = "0004_orders"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
