"""What collectives and tiers raised, kept beside the ledger."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0026_raised"
down_revision = "0019_operate"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
