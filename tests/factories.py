"""Factories for rows, and a small world in which tests run GraphQL operations."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import (
    Collective,
    Credential,
    FxRate,
    Member,
    MergeConsent,
    Order,
    PlatformPolicy,
    Token,
    new_id,
    now,
)
from models.enums import (
    CollectiveType,
    LedgerAccountKind,
    MemberRole,
    OrderStatus,
    OrderType,
    TokenKind,
    TransactionKind,
)
from schema.execution import unit_of_work
from services.access.actor import hash_token
from services.collectives import host_setup, platform_policy
from services.core import public_ids
from services.core.party import Party
from services.core.settings import Settings
from services.ledger import audit, clearing, posting, transaction_amounts
from services.ledger.legs import currents_legs


@dataclass
class Person:
    """A user who can sign in."""

    user: Collective
    email: str
    token: str

    @property
    def slug(self) -> str:
        """The user's slug."""
        return self.user.slug


@dataclass
class World:
    """A platform with its admin; creates more rows and runs operations."""

    settings: Settings
    sessions: async_sessionmaker[AsyncSession]
    platform: Collective = field(init=False)
    admin: Person = field(init=False)

    @classmethod
    async def create(cls, settings: Settings, sessions: async_sessionmaker[AsyncSession]) -> World:
        """Create the platform and its admin."""
        world = cls(settings, sessions)
        async with sessions() as session, session.begin():
            world.platform = await platform_policy.ensure_platform(session)
        world.admin = await world.person("platform-admin")
        await world.member(world.platform, world.admin, MemberRole.ADMIN)
        return world

    async def person(self, slug: str, *, currency: str = "USD", claimed: bool = True) -> Person:
        """Create a user with a session."""
        user = Collective(
            slug=slug,
            type=CollectiveType.USER,
            name=slug.title(),
            currency=currency,
            host_id=self.platform.id,
            host_approved_at=now(),
            claimed_at=now() if claimed else None,
        )
        email, token = f"{slug}@commonweal.test", secrets.token_urlsafe(16)
        await self.add(user)
        await self.add(Credential(user_id=user.id, email=email, verified_at=now() if claimed else None))
        await self.add(
            Token(
                user_id=user.id,
                kind=TokenKind.SESSION,
                token_hash=hash_token(token),
                expires_at=now() + timedelta(days=1),
            )
        )
        return Person(user, email, token)

    async def access_token(self, person: Person, *scopes: str) -> str:
        """Create an access token with scopes."""
        token = secrets.token_urlsafe(16)
        await self.add(
            Token(
                user_id=person.user.id,
                kind=TokenKind.ACCESS,
                token_hash=hash_token(token),
                scopes=list(scopes),
                expires_at=now() + timedelta(days=1),
            )
        )
        return token

    async def host(
        self, slug: str, admin: Person | None = None, *, currency: str = "USD", fee_bps: int | None = None
    ) -> Collective:
        """Create a nonprofit that hosts itself and others."""
        row = Collective(
            slug=slug,
            type=CollectiveType.NONPROFIT,
            name=slug.title(),
            currency=currency,
            host_fee_bps=fee_bps,
        )
        async with self.sessions() as session, session.begin():
            session.add(row)
            await session.flush()
            await host_setup.make_host(session, row)
            await self._allow_clearing_with_all(session, row)
        if admin:
            await self.member(row, admin, MemberRole.ADMIN)
        return row

    async def _allow_clearing_with_all(self, session: AsyncSession, host: Collective) -> None:
        """Let the host and every other host owe each other more than any test pays."""
        others = select(Collective).where(
            col(Collective.host_id) == col(Collective.id), col(Collective.id) != host.id
        )
        for other in (await session.execute(others)).scalars():
            for creditor, debtor in ((host, other), (other, host)):
                await clearing.set_limit(
                    session,
                    host_id=creditor.id,
                    counterpart_id=debtor.id,
                    currency=creditor.currency,
                    limit_minor=10**15,
                )

    async def community(
        self,
        slug: str,
        host: Collective | None,
        admin: Person | None = None,
        *,
        currency: str = "USD",
        collective_type: CollectiveType = CollectiveType.COMMUNITY,
    ) -> Collective:
        """Create a collective, hosted if a host is passed."""
        row = Collective(
            slug=slug,
            type=collective_type,
            name=slug.title(),
            currency=currency,
            host_id=host.id if host else None,
            host_approved_at=now() if host else None,
        )
        async with self.sessions() as session, session.begin():
            session.add(row)
            await session.flush()
            if host:
                session.add(Member(collective_id=row.id, member_id=host.id, role=MemberRole.HOST))
                await posting.open_balance_account(
                    session, book_id=host.id, owner_id=row.id, currency=currency
                )
        if admin:
            await self.member(row, admin, MemberRole.ADMIN)
        return row

    async def member(self, collective: Collective, person: Person, role: MemberRole) -> Member:
        """Give a person a role."""
        row = Member(collective_id=collective.id, member_id=person.user.id, role=role)
        await self.add(row)
        return row

    async def rate(self, base: str, quote: str, rate: str, *, days_ago: float = 0) -> None:
        """Store an exchange rate."""
        await self.add(
            FxRate(
                base=base,
                quote=quote,
                rate=Decimal(rate),
                source="test" if "CUR" in (base, quote) else "ECB",
                valid_from=now() - timedelta(days=days_ago),
            )
        )

    async def platform_fee(self, bps: int) -> None:
        """Set the platform's fee."""
        await self.add(PlatformPolicy(platform_fee_bps=bps, valid_from=now()))

    async def consent_to_merge(self, from_: Person, into: Person) -> None:
        """Record both persons' consents to merging the first into the second."""
        for person in (from_, into):
            await self.add(MergeConsent(from_id=from_.user.id, into_id=into.user.id, by_id=person.user.id))

    async def add(self, row: Any) -> None:
        """Store a row."""
        async with self.sessions() as session, session.begin():
            session.add(row)

    async def fund(self, collective: Collective, value: str, *, by: Person) -> None:
        """Add funds to a balance, free of fees."""
        answer = await self.query(
            "mutation($i: AddFundsInput!) { addFunds(input: $i) { order { id } errors { message code } } }",
            by=by,
            i={
                "to": {"slug": collective.slug},
                "amount": {"value": value, "currency": collective.currency},
                "hostFeeBps": 0,
            },
        )
        assert answer["addFunds"]["errors"] == [], answer

    async def currents(self, *people: Person, value: str = "30.000") -> None:
        """Issue currents from the platform to each person."""
        amount_minor = int(Decimal(value) * 1000)
        book = Party(self.platform, self.platform)
        async with self.sessions() as session:
            policy = await platform_policy.load_policy(session)
        for person in people:
            order = Order(
                type=OrderType.BONUS,
                status=OrderStatus.PENDING,
                from_id=self.platform.id,
                to_id=person.user.id,
                currency=transaction_amounts.CURRENTS,
                amount=amount_minor,
                approved_amount=amount_minor,
                policy_id=policy.id,
                has_public_side=False,
            )
            row = posting.transaction_row(
                transaction_amounts.same_currency_amounts(amount_minor, transaction_amounts.CURRENTS),
                book,
                Party(person.user, self.platform),
                kind=TransactionKind.BONUS,
                order=order,
            )
            legs = currents_legs(
                book_id=self.platform.id,
                from_id=self.platform.id,
                to_id=person.user.id,
                amount_minor=amount_minor,
                kind_from=LedgerAccountKind.ISSUANCE,
            )
            async with self.sessions() as session, session.begin():
                session.add(order)
                await session.flush()
                await posting.post(session, row=row, legs=legs)
                order.status = OrderStatus.PAID

    async def execute(
        self, query: str, *, by: Person | str | None = None, **variables: Any
    ) -> dict[str, Any]:
        """Run an operation without HTTP and return the whole response body."""
        token = by.token if isinstance(by, Person) else by
        request = unit_of_work.OperationRequest(query=query, variables=variables, token=token, address="test")
        answer = await unit_of_work.execute(request, sessions=self.sessions, settings=self.settings)
        return answer.plain_body()

    async def query(self, query: str, *, by: Person | str | None = None, **variables: Any) -> dict[str, Any]:
        """Run an operation without top-level errors and return its data."""
        body = await self.execute(query, by=by, **variables)
        assert "errors" not in body, body
        data: dict[str, Any] = body["data"]
        return data

    async def mutate(
        self, mutation: str, fields: str = "", *, by: Person | str | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Run one mutation and return its payload."""
        name = mutation[0].upper() + mutation[1:]
        data = await self.query(
            f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ {fields} "
            "errors { code message path } } }",
            by=by,
            i=arguments,
        )
        payload: dict[str, Any] = data[mutation]
        return payload

    async def expect_problem(
        self, mutation: str, code: str, path: list[str] | None, *, by: Person | None, **arguments: Any
    ) -> None:
        """Assert that a mutation returns one error with this code and path, and stores nothing."""
        before = await self.fingerprint()
        payload = await self.mutate(mutation, by=by, **arguments)
        assert error_codes(payload) == [(code, path)]
        assert await self.fingerprint() == before

    async def scalar(self, sql: str, **values: Any) -> Any:
        """Run a statement and return its only value."""
        async with self.sessions() as session:
            return (await session.execute(text(sql), values)).scalar_one()

    async def balance(self, collective: Collective) -> tuple[int, int]:
        """Return a collective's posted and held balance in its currency, in minor units."""
        async with self.sessions() as session:
            row = (
                await session.execute(
                    text(
                        "SELECT coalesce(sum(posted), 0), coalesce(sum(held), 0) FROM ledger_account"
                        " WHERE owner_id = :id AND kind = 'BALANCE' AND currency = :currency"
                    ),
                    {"id": collective.id, "currency": collective.currency},
                )
            ).one()
        return int(row[0]), int(row[1])

    async def fingerprint(self) -> dict[str, Any]:
        """Return the row count and a hash of each table; equal results mean that nothing changed."""
        results = {}
        async with self.sessions() as session:
            tables = (
                await session.execute(
                    text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
                )
            ).scalars()
            for table in list(tables):
                if table in {"throttle", "rate_bucket"}:
                    continue
                results[table] = (
                    await session.execute(
                        text(f'SELECT count(*), sum(hashtextextended(t::text, 0)) FROM "{table}" t')
                    )
                ).one()
        return results

    async def assert_clean_ledger(self) -> None:
        """Assert that no audit check of the ledger finds a violation."""
        async with self.sessions() as session:
            report = await audit.run_audit(session)
        assert report.is_clean, [check for check in report.checks if check.violations]


def error_codes(payload: dict[str, Any]) -> list[tuple[str, list[str] | None]]:
    """Return the code and path of each error in a payload."""
    return [(error["code"], error["path"]) for error in payload["errors"]]


def money(value: str, currency: str = "USD") -> dict[str, str]:
    """Return an AmountInput."""
    return {"value": value, "currency": currency}


def ref(row: Collective | Person) -> dict[str, str]:
    """Return a CollectiveRef input for a row."""
    return {"slug": row.slug}


def public_id(type_name: str, row_id: UUID) -> str:
    """Return a row's public id."""
    return public_ids.encode(type_name, row_id)


def unused_id() -> UUID:
    """Return an id that no row has."""
    return new_id()


def in_production(settings: Settings, **changes: Any) -> Settings:
    """Return the settings of a server in production, which pretends no payments."""
    return replace(settings, production=True, fake_provider=False, **changes)
