"""Recurring gifts by card keep what they are paid with, and begin with their first payment."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0032_cards"
down_revision = "0031_disputes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
