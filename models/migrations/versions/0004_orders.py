"""Orders: confirmation by the giver, edits, guards of approval."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0004_orders"
down_revision = "0003_hosts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
