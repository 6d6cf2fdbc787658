"""A notice is of a recurring gift that is paused or has ended."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0027_gifts"
down_revision = "0023_guests"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
