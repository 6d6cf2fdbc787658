"""Every setting, read from the environment once. `docs/settings.md` is made from this table."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from services.core.errors import ConfigurationError


def _setting(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment says; a variable is COMMONWEAL_ and the field's name in capitals."""

    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(8000, "Port to listen on; 0 takes a free one.")
    data_dir: Path = _setting(  # noqa: RUF009 - a path is immutable
        Path(".data"), "Folder of the embedded database and of files."
    )
    database_url: str = _setting(
        "", "PostgreSQL 15 or newer, as postgresql://…; empty starts the embedded one."
    )
    owner_database_url: str = _setting(
        "", "Who owns the tables and migrates them; empty takes COMMONWEAL_DATABASE_URL."
    )
    pool_size: int = _setting(8, "Database connections of one server process; two more read live events.")
    statement_timeout_ms: int = _setting(15_000, "A statement longer than this is cancelled.")
    lock_timeout_ms: int = _setting(5_000, "A wait for a row lock longer than this fails.")
    execution_timeout_ms: int = _setting(
        20_000, "An operation that runs longer is stopped; nothing of it is kept."
    )
    body_timeout_ms: int = _setting(10_000, "A request whose body takes longer to arrive is refused.")
    max_cost: int = _setting(10_000, "Points that one operation may cost; an object in the answer is one.")
    rate_capacity: int = _setting(100_000, "Points that a user, or an address, may spend at once.")
    rate_restore_per_second: int = _setting(5_000, "Points that come back each second.")
    introspection: str = _setting("on", "Who may read the schema by a query: on, authenticated or off.")
    hide_suggestions: bool = _setting(
        False,  # noqa: FBT003 - as below
        "1 never answers “Did you mean …?”; COMMONWEAL_PRODUCTION does so, too.",
    )
    public_url: str = _setting("", "Address that mails link to; empty takes http://HOST:PORT.")
    allowed_origins: str = _setting(
        "", "Origins whose pages may use the API signed in, as https://app.example.org, by commas."
    )
    smtp_url: str = _setting(
        "", "smtp://user:password@host:port or smtps://…; empty prints mails to the log."
    )
    mail_from: str = _setting("Commonweal <noreply@localhost>", "Sender of mails.")
    outbox_interval_ms: int = _setting(1_000, "How often the server looks for mails to send.")
    session_days: int = _setting(30, "How long a sign-in lasts.")
    trusted_documents: str = _setting(
        "", "A JSON manifest of trusted documents, {id: text}, or a folder of such; empty has none."
    )
    trusted_only: bool = _setting(
        False,  # noqa: FBT003 - as below
        "1 refuses every document that is not trusted.",
    )
    compiled_queries: bool = _setting(
        True,  # noqa: FBT003 - a default, as below
        "0 runs every query on graphql-core: slower, with the same answers.",
    )
    live_interval_ms: int = _setting(
        100, "How often the server looks for live events while somebody follows."
    )
    live_hours: int = _setting(24, "How long live events are kept for those who come back.")
    live_connections: int = _setting(2_000, "Connections that one server process keeps for live events.")
    live_connections_per_address: int = _setting(100, "How many of them one network address may have.")
    live_init_seconds: int = _setting(10, "How long a websocket may wait before it says who it is.")
    live_slow_seconds: int = _setting(10, "Who takes nothing for so long is disconnected.")
    production: bool = _setting(
        False,  # noqa: FBT003 - a default, not an argument that selects behaviour
        "1 refuses the demo world and never logs a mailed token.",
    )
    fx_url: str = _setting(
        "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip",
        "Where `commonweal fx refresh` reads the European Central Bank's history.",
    )
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR.")

    def __post_init__(self) -> None:
        """Check what has few values, or must be more than nothing.

        Raises:
            ConfigurationError: a value that cannot be.
        """
        if self.introspection not in {"on", "authenticated", "off"}:
            raise ConfigurationError("COMMONWEAL_INTROSPECTION is not on, authenticated or off")
        for name in (
            "execution_timeout_ms",
            "body_timeout_ms",
            "max_cost",
            "rate_capacity",
            "rate_restore_per_second",
        ):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"COMMONWEAL_{name.upper()} is less than 1")
        if self.max_cost > self.rate_capacity:
            raise ConfigurationError("COMMONWEAL_MAX_COST is more than COMMONWEAL_RATE_CAPACITY")

    @property
    def hides_suggestions(self) -> bool:
        """Whether errors keep the names of the schema from those who guess."""
        return self.hide_suggestions or self.production


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: a value is not of its type; the message names the variable.
    """
    values: dict[str, Any] = {}
    for entry in fields(Settings):
        name = f"COMMONWEAL_{entry.name.upper()}"
        if (text := environ.get(name)) is None:
            continue
        values[entry.name] = _parse(name, text, type(entry.default))
    return Settings(**values)


def _parse(name: str, text: str, kind: type[Any]) -> Any:
    if kind is bool:
        if text.lower() not in {"0", "1", "true", "false", ""}:
            raise ConfigurationError(f"{name} is not 0 or 1")
        return text.lower() in {"1", "true"}
    try:
        return kind(text)
    except ValueError:
        raise ConfigurationError(f"{name} is not a {kind.__name__}: {text!r}") from None


def as_markdown() -> str:
    """Return the table of docs/settings.md."""
    rows = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for entry in fields(Settings):
        default = str(int(entry.default) if isinstance(entry.default, bool) else entry.default)
        shown = f"`{default}`" if default else "empty"
        rows.append(f"| `COMMONWEAL_{entry.name.upper()}` | {shown} | {entry.metadata['doc']} |")
    return "\n".join(rows) + "\n"
