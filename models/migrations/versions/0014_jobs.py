"""Jobs in a schema of their own, by a library, and what finds old rows."""

from typing import Any

from alembic import op
from procrastinate.schema import SchemaManager

from models.migrations.sql_files import execute_files

revision = "0014_jobs"
down_revision = "0013_personal"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the SQL of this revision around that of the library, whose version is pinned for it."""
    connection = op.get_bind()
    execute_files(connection, f"{revision}/begin.sql")
    driver: Any = connection.connection.driver_connection
    driver.execute(SchemaManager.get_schema())
    execute_files(connection, f"{revision}/end.sql")
