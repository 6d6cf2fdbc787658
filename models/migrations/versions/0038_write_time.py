"""Less work for the database at each posting and approval."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0038_write_time"
down_revision = "0037_payouts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
