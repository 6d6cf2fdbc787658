"""Approved hosts, leaving and moving."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0003_hosts"
down_revision = "0002_clearing"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
