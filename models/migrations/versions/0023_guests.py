"""Donations of guests, who claim them later."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0023_guests"
down_revision = "0022_providers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
