"""Second factors, passkeys and confirmed sessions."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0008_factors"
down_revision = "0007_accounts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
