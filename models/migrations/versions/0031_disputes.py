"""A dispute has an amount of its own; who begins to connect a host is noted; accounts have two modes."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0031_disputes"
down_revision = "0027_gifts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
