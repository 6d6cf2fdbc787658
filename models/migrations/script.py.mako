"""${message}."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """${message}."""
    execute_files(op.get_bind(), f"{revision}.sql")
