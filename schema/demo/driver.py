"""The driver of the demo world: it acts as the demo's users through the public API."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Credential, Outbox, now
from schema.execution import unit_of_work
from services.core.errors import Invalid
from services.core.settings import Settings
from services.identity import authentication, passwords, sessions
from services.identity.sessions import Origin

PASSWORD = "oc"  # noqa: S105 - the demo's users are for anybody, and never in production
DOMAIN = "commonweal.test"


class Demo:
    """Runs the demo's operations as its users, through the public API."""

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        settings: Settings,
        on_operation: Callable[[], None],
    ) -> None:
        self._sessions, self._settings, self._on_operation = sessions, settings, on_operation
        self._tokens: dict[str, str] = {}
        self._password_hash: str | None = None

    async def mutate(self, as_user: str, mutation: str, fields: str, **input_fields: Any) -> Any:
        """Run a mutation as a user, or as nobody with an empty slug, and return its payload.

        Raises:
            Invalid: the mutation returned errors.
        """
        name = mutation[0].upper() + mutation[1:]
        request = unit_of_work.OperationRequest(
            query=f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ {fields} "
            "errors { code message path } } }",
            variables={"i": input_fields},
            token=self._tokens[as_user] if as_user else None,
        )
        result = await unit_of_work.execute(request, sessions=self._sessions, settings=self._settings)
        payload = (result.plain_body().get("data") or {}).get(mutation)
        if payload is None or payload["errors"]:
            raise Invalid(f"The demo world failed at {mutation}: {result.body}")
        self._on_operation()
        return payload

    async def create_user(self, email: str, name: str, slug: str, *, currency: str = "USD") -> None:
        """Create a verified user with the demo's password, and start a session."""
        async with self._sessions() as session, session.begin():
            user, credential = await authentication.create_user(
                session, email=email, name=name, currency=currency
            )
            user.name, user.slug, user.claimed_at = name, slug, now()
            credential.verified_at, credential.password_hash = now(), await self._hash_password()
            started = await sessions.start_session(session, user, Origin(self._settings.session_days))
        self._tokens[slug] = started.token

    async def claim(self, email: str, *, token: str) -> None:
        """Open the link in a guest's receipt, and let the guest have the demo's password."""
        await self.mutate("", "verifyEmail", "", token=token, password=PASSWORD * 8)
        values = {"password_hash": await self._hash_password()}
        async with self._sessions() as session, session.begin():
            await session.execute(update(Credential).where(col(Credential.email) == email).values(**values))

    async def _hash_password(self) -> str:
        if self._password_hash is None:
            self._password_hash = await passwords.hash_password(PASSWORD)
        return self._password_hash

    async def create_collective(
        self,
        slug: str,
        collective_type: str,
        name: str,
        *tags: str,
        currency: str = "USD",
        is_host: bool = False,
    ) -> None:
        """Create a collective and the user as_user is its ADMIN."""
        admin = f"{slug}-admin"
        await self.create_user(f"{admin}@{DOMAIN}", f"{name} admin", admin)
        await self.mutate(
            admin,
            "createCollective",
            "",
            type=collective_type,
            name=name,
            slug=slug,
            currency=currency,
            tags=tags,
            isHost=is_host,
        )
        if is_host:
            await self.approve_host(slug)

    async def approve_host(self, slug: str) -> None:
        """Approve a collective's application to be a host, as the platform."""
        data = await self.query("platform-admin", "{ applicationsAsHost { id collective { slug } } }")
        application_id = next(
            row["id"] for row in data["applicationsAsHost"] if row["collective"]["slug"] == slug
        )
        await self.mutate("platform-admin", "decideHost", "", id=application_id, approve=True)

    async def join_host(self, slug: str, host: str) -> None:
        """Apply to a host, which approves."""
        applied = await self.mutate(
            f"{slug}-admin",
            "applyToHost",
            "application { id }",
            collective={"slug": slug},
            host={"slug": host},
            message="We would like to be hosted by you.",
        )
        await self.mutate(
            f"{host}-admin",
            "decideHostApplication",
            "",
            id=applied["application"]["id"],
            approve=True,
        )

    async def mutate_order(self, as_user: str, mutation: str, **input_fields: Any) -> str:
        """Create or change an order; return its id."""
        payload = await self.mutate(as_user, mutation, "order { id }", **input_fields)
        order_id: str = payload["order"]["id"]
        return order_id

    async def has_dollars(self, as_user: str) -> bool:
        """True if a user has at least one dollar available."""
        query = """{ me { balance(currency: "USD") { available { minorUnits } } } }"""
        data = await self.query(as_user, query)
        return int(data["me"]["balance"]["available"]["minorUnits"]) >= 100

    async def query(self, as_user: str, query: str) -> Any:
        """Run a query as a user and return its data."""
        request = unit_of_work.OperationRequest(query=query, token=self._tokens[as_user])
        result = await unit_of_work.execute(request, sessions=self._sessions, settings=self._settings)
        return result.plain_body()["data"]

    async def discard_mails(self) -> None:
        """Mark all mails as delivered and empty: the demo's addresses do not exist."""
        async with self._sessions() as session, session.begin():
            waiting = select(Outbox).where(col(Outbox.delivered_at).is_(None))
            for mail in (await session.execute(waiting)).scalars():
                mail.payload, mail.delivered_at = {}, now()
