"""Alembic's runner: it works on the connection that services.database.migrations passes to it."""

from alembic import context
from sqlalchemy import Connection, create_engine

import models

BOOKKEEPING = {"repeatable_migration"}
"""Tables of the migrations themselves, which have no model."""


def run() -> None:
    """Run the migrations on the given connection, or on a new one to the given URL."""
    attributes = context.config.attributes
    connection = attributes.get("connection")
    if connection is None:
        with create_engine(attributes["url"]).connect() as own:
            _run_on(own)
    else:
        _run_on(connection)


def _run_on(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=models.metadata,
        compare_server_default=False,
        include_name=lambda name, kind, _: kind != "table" or name not in BOOKKEEPING,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
