"""Copies and erasure of personal data."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0013_personal"
down_revision = "0012_mail"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
