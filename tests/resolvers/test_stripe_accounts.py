"""Hosts connect their accounts at Stripe: once each, within an hour, with the secret of our address."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.payments import accounts
from tests.donation_world import error_code
from tests.factories import World
from tests.stripe_server import StripeServer, run_stripe
from tests.stripe_world import StripeScene, stripe_scene

STATUSES = "SELECT array_agg(status ORDER BY created_at) FROM provider_account"


@pytest.fixture(scope="module")
def stripe() -> Iterator[StripeServer]:
    """Run a pretended Stripe for the tests of this file."""
    with run_stripe() as server:
        yield server


@pytest.fixture
async def scene(world: World, stripe: StripeServer) -> AsyncIterator[StripeScene]:
    """Return a host that takes cards through Stripe."""
    async with stripe_scene(world, stripe) as made:
        yield made


async def test_a_host_agrees_at_stripe_and_takes_cards(scene: StripeScene) -> None:
    host = await scene.donations.host_of("another")
    payload = await scene.begin(host)
    assert (payload["status"], payload["paymentMethod"]) == ("PENDING", None)
    for part in ("response_type=code", "client_id=ca_commonweal", "scope=read_write", "connected&"):
        assert part in payload["url"] + "&"
    answer = await scene.agree(payload["url"])
    assert answer.status_code == 200
    assert "The host is connected, and takes cards now." in answer.text
    assert await scene.world.scalar(STATUSES) == ["ACTIVE", "ACTIVE"]
    assert await scene.world.scalar("SELECT count(*) FROM payment_method WHERE provider = 'STRIPE'") == 2
    assert error_code(await scene.begin(host)) == "CONFLICT"


async def test_a_host_that_did_not_agree_can_begin_again(scene: StripeScene) -> None:
    host = await scene.donations.host_of("another")
    first, second = (await scene.begin(host))["url"], (await scene.begin(host))["url"]
    refused = await scene.client.get("/providers/stripe/connected", params={"error": "access_denied"})
    assert refused.status_code == 400
    assert (await scene.agree(first)).status_code == 404
    assert (await scene.agree(second)).status_code == 200
    assert (await scene.agree(second)).status_code == 404
    assert await scene.world.scalar(STATUSES) == ["ACTIVE", "ACTIVE"]


async def test_a_consent_is_redeemed_once_and_within_an_hour(scene: StripeScene) -> None:
    host = await scene.donations.host_of("another")
    url = (await scene.begin(host))["url"]
    wrong = await scene.client.get(url.replace(scene.stripe.url, "").replace("/oauth/authorize", ""))
    assert wrong.status_code != 200
    assert (await scene.agree(url, code="ac_1")).status_code == 200
    other = await scene.donations.host_of("more")
    url = (await scene.begin(other))["url"]
    with psycopg.connect(scene.world.settings.owner_database_url, autocommit=True) as owner:
        owner.execute("UPDATE provider_account SET updated_at = now() - interval '61 minutes'")
    assert (await scene.agree(url)).status_code == 404


@pytest.mark.parametrize("change", ["demoted", "shut out", "archived", "suspended"])
async def test_who_may_not_connect_a_host_any_longer_does_not(scene: StripeScene, change: str) -> None:
    host = await scene.donations.host_of("another")
    url = (await scene.begin(host))["url"]
    holder, friend = scene.donations.holder.user.id, scene.donations.friend.user.id
    statement = {
        "demoted": f"UPDATE member SET until = now() WHERE member_id = '{holder}'",
        "shut out": "INSERT INTO suspension (id, user_id, by_id, reason)"
        f" VALUES (gen_random_uuid(), '{holder}', '{friend}', 'Fraud')",
        "archived": f"UPDATE collective SET archived_at = now() WHERE id = '{host.id}'",
        "suspended": "UPDATE collective SET host_suspended_at = now(), host_suspension_reason = 'Closed'"
        f" WHERE id = '{host.id}'",
    }[change]
    with psycopg.connect(scene.world.settings.owner_database_url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute(statement)
    assert (await scene.agree(url)).status_code == 400
    assert await scene.world.scalar(STATUSES) == ["ACTIVE", "PENDING"]


async def test_the_way_back_is_stored_as_a_hash_alone(scene: StripeScene) -> None:
    host = await scene.donations.host_of("another")
    state = parse_qs(urlsplit((await scene.begin(host))["url"]).query)["state"][0]
    rows = str(await scene.world.scalar("SELECT json_agg(a)::text FROM provider_account a"))
    assert state not in rows
    assert hashlib.sha256(state.encode()).hexdigest() in rows


async def test_an_account_that_stripe_has_not_checked_waits(scene: StripeScene) -> None:
    host = await scene.donations.host_of("another")
    account = "acct_unchecked"
    answer = await scene.agree((await scene.begin(host))["url"], account=account, charges_enabled=False)
    assert "as soon as the provider has checked its account" in answer.text
    assert await scene.world.scalar(STATUSES) == ["ACTIVE", "PENDING"]
    scene.stripe.set_up(accounts={account: {"charges_enabled": True}})
    about = {"id": account, "object": "account", "charges_enabled": True}
    event = {"id": "evt_on", "type": "account.updated", "livemode": False, "account": account}
    assert await scene.tell(event | {"data": {"object": about}}) is None
    assert await scene.world.scalar(STATUSES) == ["ACTIVE", "ACTIVE"]
    assert await scene.world.scalar("SELECT count(*) FROM payment_method WHERE provider = 'STRIPE'") == 2


async def test_an_account_is_one_hosts(scene: StripeScene) -> None:
    host = await scene.donations.host_of("another")
    answer = await scene.agree((await scene.begin(host))["url"], account=scene.account)
    assert answer.status_code == 400
    assert "Another host here is connected" in answer.text
    assert await scene.world.scalar(STATUSES) == ["ACTIVE", "PENDING"]


async def test_an_account_of_the_other_mode_is_refused(scene: StripeScene) -> None:
    host = await scene.donations.host_of("another")
    answer = await scene.agree((await scene.begin(host))["url"], livemode=True)
    assert answer.status_code == 400
    assert await scene.world.scalar(STATUSES) == ["ACTIVE", "PENDING"]


async def test_a_host_that_left_comes_back_with_its_account(scene: StripeScene) -> None:
    scene.stripe.set_up(left=[scene.account])
    event = {"id": "evt_left", "type": "account.application.deauthorized", "livemode": False}
    about = {"data": {"object": {"id": "ca_commonweal"}}, "account": scene.account}
    await scene.tell(event | about)
    account, method = await scene.connect(scene.donations.host, account=scene.account)
    assert (account, method) == (scene.account, scene.method)
    assert (await scene.give())["errors"] == []


async def test_a_host_that_agrees_with_another_account_keeps_the_first_ones_payments(
    scene: StripeScene,
) -> None:
    await scene.paid()
    scene.stripe.set_up(accounts={scene.account: {"charges_enabled": False}})
    about = {"id": scene.account, "object": "account", "charges_enabled": False}
    event = {"id": "evt_off", "type": "account.updated", "livemode": False, "account": scene.account}
    assert await scene.tell(event | {"data": {"object": about}}) is None
    url = (await scene.begin(scene.donations.host))["url"]
    await scene.agree(url, account=scene.account, charges_enabled=False)
    states = "SELECT json_object_agg(coalesce(external_id, 'none'), status) FROM provider_account"
    assert await scene.world.scalar(states) == {scene.account: "PENDING", "none": "DISABLED"}

    url = (await scene.begin(scene.donations.host))["url"]
    assert (await scene.agree(url, account="acct_second")).status_code == 200
    states = "SELECT json_object_agg(external_id, status) FROM provider_account WHERE external_id IS NOT NULL"
    assert await scene.world.scalar(states) == {scene.account: "DISABLED", "acct_second": "ACTIVE"}
    of_payment = (
        "SELECT a.external_id FROM provider_payment p JOIN provider_account a ON a.id = p.provider_account_id"
    )
    assert await scene.world.scalar(of_payment) == scene.account
    assert (await scene.agree(url, account="acct_second")).status_code == 404


async def test_with_live_keys_an_account_for_tests_counts_as_none(scene: StripeScene) -> None:
    methods = "query($s: String) { collective(slug: $s) { ... on Nonprofit { paymentMethods { id } } } }"
    slug = scene.donations.host.slug
    assert (await scene.world.query(methods, s=slug))["collective"]["paymentMethods"] == [
        {"id": scene.method}
    ]
    scene.world.settings = replace(
        scene.world.settings, stripe_secret="sk_live_1", stripe_public_key="pk_live_1"
    )
    assert (await scene.world.query(methods, s=slug))["collective"]["paymentMethods"] == []
    assert error_code(await scene.give()) == "INVALID_STATE"
    assert (await scene.begin(scene.donations.host))["status"] == "PENDING"
    assert await scene.world.scalar(STATUSES) == ["DISABLED", "PENDING"]


async def test_while_the_database_is_away_the_page_says_so(
    scene: StripeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise PoolTimeout

    monkeypatch.setattr(accounts, "complete", fail)
    answer = await scene.client.get("/providers/stripe/connected", params={"state": "s", "code": "c"})
    assert (answer.status_code, "The database does not answer" in answer.text) == (503, True)


async def test_while_stripe_is_away_a_consent_stays_good(scene: StripeScene) -> None:
    host = await scene.donations.host_of("another")
    url = (await scene.begin(host))["url"]
    scene.stripe.set_up(status=503)
    assert (await scene.agree(url)).status_code == 503
    scene.stripe.set_up(status=0)
    assert (await scene.agree(url)).status_code == 200


async def test_another_provider_is_not_found(scene: StripeScene) -> None:
    for name in ("paypal", "fake"):
        params = {"state": "s", "code": "c"}
        answer = await scene.client.get(f"/providers/{name}/connected", params=params)
        assert answer.status_code == 404
