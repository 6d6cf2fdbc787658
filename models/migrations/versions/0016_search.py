"""Search by folded text, and tags that are one."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0016_search"
down_revision = "0015_event_feeds"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), "functions/search.sql", f"{revision}.sql")
