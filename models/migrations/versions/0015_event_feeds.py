"""Tokens of calendars, and the marker of the demo world."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0015_event_feeds"
down_revision = "0014_jobs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
