"""Gifts that show their giver to few."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0036_incognito"
down_revision = "0035_months"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
