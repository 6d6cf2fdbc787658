"""Alembic's runner: it works on the connection that services.migrations hands it."""

from alembic import context
from sqlalchemy import create_engine

import models


def run() -> None:
    """Run the migrations on the given connection, or on one of its own to the given URL."""
    attributes = context.config.attributes
    connection = attributes.get("connection")
    if connection is None:
        with create_engine(attributes["url"]).connect() as own:
            _run_on(own)
    else:
        _run_on(connection)


def _run_on(connection: object) -> None:
    context.configure(
        connection=connection,  # type: ignore[arg-type]  # Alembic's attributes are untyped
        target_metadata=models.metadata,
        compare_server_default=False,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
