"""A number tells whether a viewer is still who they were."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0040_viewers"
down_revision = "0039_lists"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision."""
    execute_files(op.get_bind(), f"{revision}.sql")
