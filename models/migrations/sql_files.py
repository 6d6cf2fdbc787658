"""The SQL files of the migrations, and how they are executed."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection

SQL_FOLDER = Path(__file__).parent / "sql"


def execute_files(connection: Connection, *names: str) -> None:
    """Execute files of the SQL folder in the given order."""
    driver: Any = connection.connection.driver_connection
    for name in names:
        # On the driver's own connection: SQLAlchemy would read percent signs as placeholders.
        driver.execute((SQL_FOLDER / name).read_text())


def function_files() -> list[str]:
    """Return the files of functions and triggers, in the order in which they are applied: by name."""
    return [f"functions/{path.name}" for path in sorted((SQL_FOLDER / "functions").glob("*.sql"))]
