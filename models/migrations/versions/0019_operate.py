"""Backups that were made, and the indexes of filtered lists."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0019_operate"
down_revision = "0018_tiers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
