"""Budgets of mail and wishes of those who get it."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0012_mail"
down_revision = "0011_identities"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
