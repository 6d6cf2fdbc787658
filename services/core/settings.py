"""Settings, read from the environment once.

The table in `docs/settings.md` is generated from here.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from services.core import setting_checks
from services.core.errors import ConfigurationError

MIN_KEY_LENGTH = 32


def _setting(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a process; a variable's name is COMMONWEAL_ and the field's name in capitals."""

    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(8000, "Port to listen on; 0 picks a free one.")
    data_dir: Path = _setting(  # noqa: RUF009 - a path is immutable
        Path(".data"), "Folder of the embedded database and of uploaded files."
    )
    database_url: str = _setting(
        "", "PostgreSQL 15 or newer, as postgresql://…; empty starts the embedded server."
    )
    owner_database_url: str = _setting(
        "", "URL for the role that owns and migrates the tables; empty uses COMMONWEAL_DATABASE_URL."
    )
    pooler: str = _setting(
        "none",
        "transaction if COMMONWEAL_DATABASE_URL leads to a pooler in transaction mode, such as PgBouncer: no "
        "statement is prepared, and the role's settings come from the server.",
    )
    pool_size: int = _setting(8, "Database connections per server process; two more read live events.")
    statement_timeout_ms: int = _setting(15_000, "Cancel a statement that runs longer than this.")
    lock_timeout_ms: int = _setting(5_000, "Fail a statement that waits longer than this for a lock.")
    execution_timeout_ms: int = _setting(
        20_000, "Stop an operation that runs longer than this; nothing of it is stored."
    )
    commit_timeout_ms: int = _setting(
        10_000, "Cut the connection if a commit takes longer; the answer says that it is in doubt."
    )
    body_timeout_ms: int = _setting(10_000, "Refuse a request whose body takes longer than this to arrive.")
    max_cost: int = _setting(
        10_000, "Maximum cost of one operation in points; each requested object costs one."
    )
    rate_capacity: int = _setting(100_000, "Points that a user or an address can spend at once.")
    rate_restore_per_second: int = _setting(5_000, "Points restored per second.")
    introspection: str = _setting(
        "on", "Who can query the schema itself: on (everyone), authenticated or off."
    )
    hide_suggestions: bool = _setting(
        default=False,
        doc="1 turns off “Did you mean …?”; COMMONWEAL_PRODUCTION and COMMONWEAL_INTROSPECTION other than on "
        "turn it off, too.",
    )
    public_url: str = _setting("", "Address of this server, for links in mails; empty uses http://HOST:PORT.")
    site_url: str = _setting(
        "", "Address of the site that people use, to which mails and pages lead on; empty for this server's."
    )
    link_verify: str = _setting(
        "",
        "Address in mails of the page that confirms a sign-up, with {token} in it, such as "
        "https://app.example.org/verify?token={token}; empty uses this server's page.",
    )
    link_reset: str = _setting("", "The same for the page that sets a new password.")
    link_confirm_email: str = _setting("", "The same for the page that confirms a new address.")
    link_undo_email: str = _setting("", "The same for the page that takes an old address back.")
    link_stop: str = _setting("", "The same for the page that stops mails to people without an account.")
    allowed_origins: str = _setting(
        "",
        "Origins whose pages may use the API as a signed-in user, such as https://app.example.org; "
        "separated by commas.",
    )
    smtp_url: str = _setting(
        "", "smtp://user:password@host:port or smtps://…; empty prints mails to the log."
    )
    mail_from: str = _setting("Commonweal <noreply@localhost>", "Sender of mails.")
    receipts_store: str = _setting(
        "",
        "s3://bucket/prefix of the S3-like store that keeps uploaded files (extra s3; endpoint, region and "
        "keys by AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY); empty keeps them "
        "in COMMONWEAL_DATA_DIR.",
    )
    receipts_timeout_ms: int = _setting(
        15_000, "Give up a request to that store that takes longer; the client may try again."
    )
    upload_quota_mb: int = _setting(500, "Megabytes of files that one user may keep here in all.")
    collectives_per_day: int = _setting(20, "Collectives that one user may create within a day.")
    unclaimed_days: int = _setting(
        730, "Days after which people are erased whom others named and who never came."
    )
    worker: str = _setting(
        "child",
        "Where mails are sent and jobs run: child (a process that each server starts), inline (the server's "
        "own process) or none (`commonweal worker`, started apart).",
    )
    outbox_interval_ms: int = _setting(1_000, "Interval at which a worker looks for mails to send.")
    session_days: int = _setting(30, "Days until a sign-in expires.")
    oidc_providers: str = _setting(
        "",
        "JSON list of OpenID providers for signing in: objects with name, label, issuer, client_id and "
        "client_secret; empty offers none.",
    )
    fake_provider: bool = _setting(
        default=False,
        doc="1 offers the pretended payment provider of tests and the demo, which moves no money; never in "
        "production.",
    )
    stripe_secret: str = _setting(
        "",
        "Secret key of the platform's Stripe account, sk_live_… or sk_test_…; empty offers no cards through "
        "Stripe. The next three belong to it.",
    )
    stripe_webhook_secret: str = _setting(
        "", "Signing secret, whsec_…, of the webhook at Stripe that tells /webhooks/stripe."
    )
    stripe_client_id: str = _setting(
        "", "Client id, ca_…, with which hosts connect their Stripe accounts to the platform's."
    )
    stripe_public_key: str = _setting(
        "", "Publishable key, pk_live_… or pk_test_…, for Stripe's form on the donation page."
    )
    stripe_api_url: str = _setting("", "Address of another server than Stripe's, for tests; empty for its.")
    sign_in_failures_per_address: int = _setting(
        100, "Failed sign-ins per network address within 15 minutes; for IPv6 of its /64 network."
    )
    sign_up_mails_per_address: int = _setting(
        100, "Mails per network address within an hour that sign-ups request, and as many for resets."
    )
    mail_invitations_per_sender: int = _setting(
        200, "Mails that a user's invitations send within a day, to whomever they name."
    )
    mail_invitations_per_network: int = _setting(
        500, "The same for each network address; for IPv6 for each /64 network."
    )
    mail_messages_per_sender: int = _setting(
        5_000, "Mails that a user's messages about events send within a day."
    )
    mail_messages_per_network: int = _setting(10_000, "The same for each network address.")
    mail_per_stranger: int = _setting(
        3, "Mails within a day to an address that never signed up, whoever sends them."
    )
    mail_notices_per_recipient: int = _setting(
        300, "Mails within a day that tell a user about what others did; further ones are dropped."
    )
    trusted_documents: str = _setting(
        "", "JSON manifest of trusted documents, {id: text}, or a folder of manifests; empty for none."
    )
    trusted_only: bool = _setting(default=False, doc="1 refuses every document that is not trusted.")
    compiled_queries: bool = _setting(
        default=True, doc="0 runs every query and mutation on graphql-core: slower, with the same results."
    )
    audit_interval_minutes: int = _setting(
        60, "Interval at which a worker audits what was added to the ledger; 0 never does."
    )
    live_interval_ms: int = _setting(
        100, "Interval at which the server looks for live events while anybody is subscribed."
    )
    live_hours: int = _setting(24, "Hours that live events are kept for subscribers who reconnect.")
    keep_mails_days: int = _setting(
        90,
        "Days after which mails that were delivered or given up are deleted, counted from their request; "
        "at least 2.",
    )
    keep_idempotency_keys_days: int = _setting(
        90, "Days for which a mutation sent again with its idempotency key is not done again; at least 7."
    )
    keep_tokens_days: int = _setting(
        90, "Days after which sessions and access tokens that ended are deleted; at least 1."
    )
    keep_mailed_links_days: int = _setting(30, "Days after which mailed links that expired are deleted.")
    keep_challenges_days: int = _setting(
        1, "Days after which sign-ins and passkeys' challenges that nobody finished are deleted."
    )
    keep_throttles_days: int = _setting(1, "Days after which counters of attempts that ended are deleted.")
    keep_jobs_days: int = _setting(14, "Days after which jobs that ended are deleted; at least 1.")
    keep_orphaned_files_days: int = _setting(
        7, "Days after which uploaded files that belong to nothing are deleted; at least 1."
    )
    live_connections: int = _setting(2_000, "Maximum number of live connections per server process.")
    live_connections_per_address: int = _setting(
        100, "Maximum number of live connections per network address."
    )
    live_init_seconds: int = _setting(10, "Seconds a websocket may take to send connection_init.")
    live_slow_seconds: int = _setting(10, "Disconnect a client that reads nothing for this long.")
    live_frames_per_second: int = _setting(
        100, "Close a websocket that sends more frames, beyond a burst of ten seconds' worth."
    )
    live_max_cost: int = _setting(1_000, "Maximum cost of one answer of a subscription in points.")
    head_timeout_ms: int = _setting(
        10_000, "Close a connection whose request line and headers take longer than this to arrive."
    )
    connections: int = _setting(
        4_000, "Maximum number of other connections per server process; an idle one makes room for a new one."
    )
    connections_per_address: int = _setting(
        200, "The same for each network address that is no trusted proxy's; for IPv6 for each /64 network."
    )
    trusted_proxies: str = _setting(
        "127.0.0.1, ::1",
        "Networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, such as "
        "10.0.0.0/8; separated by commas.",
    )
    allowed_hosts: str = _setting(
        "",
        "Host names served beside those of COMMONWEAL_PUBLIC_URL and COMMONWEAL_HOST; separated by commas, "
        "* for any. IP addresses and names without a dot are always served.",
    )
    hsts_seconds: int = _setting(
        31_536_000,
        "Time for which browsers use HTTPS alone if COMMONWEAL_PUBLIC_URL is https://…; 0 for none.",
    )
    secret_key: str = _setting(
        "",
        "Key of at least 32 characters that encrypts the secrets of authenticator apps; empty stores them as "
        "they are. Several are separated by commas: the first encrypts, all decrypt.",
    )
    passkey_domain: str = _setting(
        "",
        "Domain of passkeys, such as example.org; empty uses the host of COMMONWEAL_PUBLIC_URL. Passkeys of "
        "another domain stop working.",
    )
    metrics_token: str = _setting(
        "", "Bearer token for /metrics; empty serves it to programs on this machine only."
    )
    production: bool = _setting(default=False, doc="1 refuses the demo world and never logs a mailed token.")
    fx_url: str = _setting(
        "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip",
        "Address from which `commonweal fx refresh` reads the European Central Bank's history.",
    )
    drain_seconds: int = _setting(
        0, "Seconds after SIGTERM for which /readyz answers 503 and requests are still served."
    )
    slow_statement_ms: int = _setting(
        1_000, "Log a statement that takes longer, with the shape of its plan; 0 logs none."
    )
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR.")

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            ConfigurationError: a setting has an invalid value.
        """
        setting_checks.check_values(vars(self))
        setting_checks.check_retention(vars(self))
        setting_checks.check_stripe(vars(self))
        for name in (
            "execution_timeout_ms",
            "commit_timeout_ms",
            "body_timeout_ms",
            "head_timeout_ms",
            "connections",
            "connections_per_address",
            "live_frames_per_second",
            "live_max_cost",
            "max_cost",
            "rate_capacity",
            "rate_restore_per_second",
            "sign_in_failures_per_address",
            "sign_up_mails_per_address",
            "mail_invitations_per_sender",
            "mail_invitations_per_network",
            "mail_messages_per_sender",
            "mail_messages_per_network",
            "mail_per_stranger",
            "mail_notices_per_recipient",
            "unclaimed_days",
            "receipts_timeout_ms",
            "upload_quota_mb",
            "collectives_per_day",
        ):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"COMMONWEAL_{name.upper()} must be at least 1")
        if self.fake_provider and self.production:
            raise ConfigurationError(
                "COMMONWEAL_FAKE_PROVIDER pretends payments: turn it off, or COMMONWEAL_PRODUCTION"
            )
        if any(len(key) < MIN_KEY_LENGTH for key in self.secret_keys):
            raise ConfigurationError(
                f"Each key in COMMONWEAL_SECRET_KEY must have at least {MIN_KEY_LENGTH} characters"
            )
        if self.max_cost > self.rate_capacity:
            raise ConfigurationError("COMMONWEAL_MAX_COST must be at most COMMONWEAL_RATE_CAPACITY")

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The keys of `secret_key`, the one that encrypts first."""
        return tuple(key.strip() for key in self.secret_key.split(",") if key.strip())

    @property
    def are_suggestions_hidden(self) -> bool:
        """True if error messages suggest no names of the schema."""
        return self.hide_suggestions or self.production or self.introspection != "on"


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Load the settings from environment variables.

    Raises:
        ConfigurationError: a value is invalid or a variable is no setting; the message names the variable.
    """
    setting_checks.require_known(environ, [f"COMMONWEAL_{entry.name.upper()}" for entry in fields(Settings)])
    values: dict[str, Any] = {}
    for entry in fields(Settings):
        name = f"COMMONWEAL_{entry.name.upper()}"
        if (text := environ.get(name)) is None:
            continue
        values[entry.name] = _parse(name, text, type(entry.default))
    return Settings(**values)


def _parse(name: str, text: str, value_type: type[Any]) -> Any:
    if value_type is bool:
        if text.lower() not in {"0", "1", "true", "false", ""}:
            raise ConfigurationError(f"{name} must be 0 or 1, not {text!r}")
        return text.lower() in {"1", "true"}
    try:
        return value_type(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be of type {value_type.__name__}, not {text!r}") from None


def render_markdown() -> str:
    """Render the table of docs/settings.md."""
    rows = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for entry in fields(Settings):
        default = str(int(entry.default) if isinstance(entry.default, bool) else entry.default)
        default_cell = f"`{default}`" if default else "empty"
        rows.append(f"| `COMMONWEAL_{entry.name.upper()}` | {default_cell} | {entry.metadata['doc']} |")
    return "\n".join(rows) + "\n"
