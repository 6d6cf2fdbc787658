"""Bringing a database to the newest version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from services.database.engine import psycopg_url


def configuration(owner_url: str) -> Config:
    """Return Alembic's configuration for the database of this owner."""
    import models.migrations  # noqa: PLC0415 - a namespace folder: only its place is wanted

    config = Config()
    config.set_main_option("script_location", str(Path(next(iter(models.migrations.__path__)))))
    config.attributes["url"] = psycopg_url(owner_url)
    return config


def upgrade(owner_url: str) -> None:
    """Apply every migration that is missing. One at a time: a lock keeps others waiting."""
    config = configuration(owner_url)
    engine = create_engine(config.attributes["url"])
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_lock(7266)")
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.exec_driver_sql("SELECT pg_advisory_unlock(7266)")
    engine.dispose()
