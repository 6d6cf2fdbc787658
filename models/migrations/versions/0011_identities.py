"""Identities of other providers, and changes of address."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0011_identities"
down_revision = "0010_two_people"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
