"""Payment providers: accounts of hosts, payments, refunds and what providers tell."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0022_providers"
down_revision = "0020_subscriptions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
