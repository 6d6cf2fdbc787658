"""Orders are found by the way in which they are paid out."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0037_payouts"
down_revision = "0036_incognito"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
