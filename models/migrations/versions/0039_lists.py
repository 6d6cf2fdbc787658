"""Lists without a filter are read and counted by an index."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0039_lists"
down_revision = "0038_write_time"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
