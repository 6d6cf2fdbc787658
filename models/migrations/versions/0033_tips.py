"""Tips to the platform beside gifts."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0033_tips"
down_revision = "0032_cards"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
