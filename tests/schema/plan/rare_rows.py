"""Rows for fields that few objects have: those of the schema's far corners."""

from typing import Any

import psycopg

from tests.factories import Person, World, money, ref

GIVER = {"slug": "giver"}
_AS_OWNER = """
INSERT INTO provider_account (id, host_id, provider, external_id, status, livemode, created_by_id)
SELECT gen_random_uuid(), id, 'FAKE', 'acct', 'ACTIVE', false, id FROM collective WHERE slug = 'payer-host';
INSERT INTO instrument (id, owner_id, provider_account_id, external_id, brand, last4, expires_on)
SELECT gen_random_uuid(), c.id, a.id, 'card', 'Visa', '4242', '2031-01-31'
FROM collective AS c, provider_account AS a WHERE c.slug = 'giver' AND a.external_id = 'acct';
UPDATE subscription SET instrument_id = (SELECT id FROM instrument WHERE external_id = 'card'),
       payment_method_kind = 'PROVIDER', payment_method_id = (SELECT id FROM payment_method LIMIT 1)
WHERE from_id = (SELECT id FROM collective WHERE slug = 'giver');
INSERT INTO provider_payment (order_id, provider_account_id, external_id, client_secret, redirect_url, status)
SELECT o.id, a.id, 'pay' || o.id, 'secret', 'https://example.org/"pay"', 'OPEN'
FROM "order" AS o, provider_account AS a WHERE a.external_id = 'acct' AND o.type = 'DONATION';
UPDATE "order" SET addressed_to_id = (SELECT id FROM collective WHERE slug = 'member') WHERE type = 'HOURS';
UPDATE "order" SET payout_method_id = (SELECT id FROM payout_method WHERE name = 'Bank')
WHERE type = 'EXPENSE' AND to_id = (SELECT id FROM collective WHERE slug = 'getter');
UPDATE redemption SET place = 'A "place"', caps = '{WEEKLY_LIMIT,BALANCE}', approved_price_minor = price_minor
WHERE order_id IN (SELECT id FROM "order" WHERE status <> 'PENDING');
INSERT INTO muted_topic (user_id, topic)
SELECT id, topic FROM collective, unnest('{EVENTS,MONEY}'::text[]) AS topic
WHERE slug IN ('member', 'payee');
UPDATE collective SET locale = 'DE' WHERE slug IN ('member', 'payee');
INSERT INTO identity (id, user_id, issuer, subject, email)
SELECT gen_random_uuid(), id, 'https://id.example.org', slug, NULL FROM collective
WHERE slug IN ('member', 'payee');
INSERT INTO identity (id, user_id, issuer, subject, email)
SELECT gen_random_uuid(), id, 'https://old.example.org', slug, slug || '@example.org' FROM collective
WHERE slug IN ('member', 'payee');
UPDATE token SET device = 'Phone "x"', network = '192.0.2.1'
WHERE user_id = (SELECT id FROM collective WHERE slug = 'member');
INSERT INTO token (id, user_id, kind, token_hash, expires_at, last_used_at, revoked_at)
SELECT gen_random_uuid(), id, 'SESSION', (slug || n)::bytea, now() + n * interval '1 day',
       now() - n * interval '1 hour', CASE WHEN n > 2 THEN now() END
FROM collective, generate_series(1, 3) AS n WHERE slug IN ('member', 'payee', 'admin');
INSERT INTO passkey (id, user_id, name, credential_id, public_key, sign_count, last_used_at)
SELECT gen_random_uuid(), id, 'Key "' || n || '"', (slug || n)::bytea, '', 0, CASE n WHEN 1 THEN now() END
FROM collective, generate_series(1, 2) AS n WHERE slug IN ('member', 'payee');
INSERT INTO email_change (id, user_id, old_email, new_email, token_hash, expires_at)
SELECT gen_random_uuid(), id, 'old@example.org', 'new@example.org', slug::bytea, now() + interval '1 day'
FROM collective WHERE slug IN ('member', 'payee');
UPDATE collective SET tags = CASE slug WHEN 'giver' THEN '{Time,Gärten}' ELSE '{time}' END::text[]
WHERE slug IN ('giver', 'shop', 'private-event');
INSERT INTO invitation (id, collective_id, user_id, role, created_by_id, by_email, status, expires_at)
SELECT gen_random_uuid(), c.id, u.id, 'ACCOUNTANT', a.id, true, 'PENDING', now() + interval '1 day'
FROM collective AS c, collective AS u, collective AS a
WHERE (c.slug, u.slug, a.slug) = ('giver', 'invitee', 'admin');
INSERT INTO audit_run (is_full, transactions, postings, violations, counts, started_at, finished_at)
VALUES (true, 7, 9, 3, '{"lastTimeMismatches": 0, "overdrafts": 3, "gone": 1}', now() + interval '1 day',
        now() + interval '2 days');
UPDATE settlement SET month = '2026-10-01', fees_minor = 200, tips_minor = 300, covers = 'PLATFORM_FEES',
       host_id = (SELECT id FROM collective WHERE slug = 'payer-host');
"""
"""Rows that mutations make only with a provider, an address or at another time."""

_GUARDED = ("subscription", "order", "settlement", "redemption", "provider_payment", "instrument")


async def add_rare_rows(world: World, people: dict[str, Person]) -> None:
    """Add them; some are visible to one viewer and some to another."""
    await _give_in_tiers(world, people)
    owner_url = world.settings.owner_database_url or ""
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        # Triggers let nobody make such rows by hand. The world is only read from here on.
        for table in _GUARDED:
            await owner.execute(f'ALTER TABLE "{table}" DISABLE TRIGGER ALL'.encode())
        await owner.execute(_AS_OWNER.encode())
        for table in _GUARDED:
            await owner.execute(f'ALTER TABLE "{table}" ENABLE TRIGGER ALL'.encode())
    for slug, by in (("giver", "admin"), ("payer-host", "payer_host_admin")):
        for amount in ("5.00", "3.00", None):
            policy: dict[str, Any] = {
                "collective": {"slug": slug},
                "amount": money(amount) if amount else None,
            }
            payload = await world.mutate("setApprovalPolicy", by=people[by], **policy)
            assert payload["errors"] == [], payload
    payload = await world.mutate(
        "setIssuanceCap",
        by=people["platform_admin"],
        nonprofit={"slug": "payer-host"},
        period="WEEK",
        amount=money("40.000", "CUR"),
    )
    assert payload["errors"] == [], payload


async def _give_in_tiers(world: World, people: dict[str, Person]) -> None:
    """Give in a flexible tier with amounts to choose from, and in one that is archived by now."""
    for name in ("Open", "Over"):
        terms: dict[str, Any] = {"name": name, "type": "MEMBERSHIP", "pricing": "FLEXIBLE"}
        presets = [money("5.00"), money("1.00"), money("3.00")]
        payload = await world.mutate(
            "createTier", "tier { id }", by=people["admin"], collective=GIVER, presets=presets, **terms
        )
        assert payload["errors"] == [], payload
        gift = {"from": ref(people["payee"]), "to": GIVER, "tier": payload["tier"]["id"]}
        given = await world.mutate("donate", by=people["payee"], amount=money("1.00"), **gift)
        assert given["errors"] == [], given
        if name == "Over":
            await world.mutate("archiveTier", by=people["admin"], id=payload["tier"]["id"])
