"""A settlement of what each host keeps for the platform, every month."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0035_months"
down_revision = "0033_tips"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
