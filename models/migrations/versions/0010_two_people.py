"""Policies that ask for two people."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0010_two_people"
down_revision = "0009_acts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
