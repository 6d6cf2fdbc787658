"""The schema of the first release: tables by subject, then constraints, indexes, currencies and rights."""

from alembic import op

from models.migrations.sql_files import execute_files

revision = "0001_schema"
down_revision = None
branch_labels = None
depends_on = None

FILES = (
    "currencies",
    "collectives",
    "identity",
    "orders",
    "volunteering",
    "ledger",
    "messaging",
    "bookkeeping",
    "constraints",
    "indexes",
    "iso_4217",
    "rights",
)


def upgrade() -> None:
    """Create the tables and fill in the currencies; `commonweal migrate` then adds functions and triggers."""
    execute_files(op.get_bind(), *(f"{revision}/{name}.sql" for name in FILES))
