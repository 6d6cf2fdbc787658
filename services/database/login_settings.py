"""What a pooler drops, set on the login's role instead: role, time zone and time limits."""

import psycopg
from psycopg import sql

from services.core import database_urls
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from services.database.engine import APP_ROLE, session_settings

_STORED = """
    SELECT unnest(s.setconfig) FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
    JOIN pg_database d ON d.oid = s.setdatabase WHERE r.rolname = %s AND d.datname = current_database()
"""


def apply_settings(settings: Settings) -> None:
    """Set on the login's role what each connection must have, if there is a pooler; idempotent.

    Raises:
        ConfigurationError: the login is the owner's, or this user may not alter it; the message has the SQL.
    """
    if settings.pooler == "none":
        return
    login = database_urls.parse(settings.database_url).get("user", "")
    with psycopg.connect(database_urls.to_conninfo(settings.owner_database_url)) as connection:
        if not login or login == connection.info.user:
            raise ConfigurationError(
                "COMMONWEAL_POOLER=transaction needs a login of its own in COMMONWEAL_DATABASE_URL, a member"
                f" of {APP_ROLE}, and the owner's, past the pooler, in COMMONWEAL_OWNER_DATABASE_URL"
            )
        stored = {str(entry).casefold() for (entry,) in connection.execute(_STORED, [login])}
        wanted = session_settings(settings)
        if login == APP_ROLE:
            del wanted["role"]
        statements = [
            sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}").format(
                sql.Identifier(login),
                sql.Identifier(connection.info.dbname),
                sql.Identifier(name),
                sql.Literal(value),
            )
            for name, value in wanted.items()
            if f"{name}={value}".casefold() not in stored
        ]
        try:
            for statement in statements:
                connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            text = ";\n  ".join(statement.as_string(connection) for statement in statements)
            raise ConfigurationError(
                f"The user of the owner's connection may not alter the role {login}: run as an admin\n"
                f"  {text}"
            ) from None
