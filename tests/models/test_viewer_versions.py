"""The number that tells whether a viewer is still who they were rises with each change of their rights."""

from collections.abc import Callable

import psycopg
import pytest

from models import new_id
from tests.conftest import Database
from tests.models.guard_cases import MODES, guard_world
from tests.models.guard_world import GuardWorld
from tests.models.racing import Race

Change = Callable[[GuardWorld], object]


def version(world: GuardWorld, name: str = "viewer") -> int:
    row = world.run("SELECT version FROM public.viewer_version WHERE user_id = %s", world.ids[name])
    return row[0] if row else 0


def add_people(world: GuardWorld) -> None:
    """Add a viewer and another person, a club, and an event of it."""
    world.collective("viewer", "USER")
    world.collective("other", "USER")
    world.collective("club", "COMMUNITY")
    times = {"starts_at": "2031-01-01T10:00Z", "ends_at": "2031-01-01T11:00Z"}
    world.collective("party", "EVENT", parent_id=world.ids["club"], **times)


def add_member(
    world: GuardWorld, *, role: str = "ADMIN", member: str = "viewer", collective: str = "club"
) -> None:
    world.ids["member"] = new_id()
    world.insert(
        "member",
        id=world.ids["member"],
        collective_id=world.ids[collective],
        member_id=world.ids[member],
        role=role,
    )


def change_member(columns: str) -> Change:
    return lambda world: world.run(f"UPDATE public.member SET {columns} WHERE id = %s", world.ids["member"])


def add_token(world: GuardWorld) -> None:
    world.ids["token"] = new_id()
    world.insert(
        "token",
        id=world.ids["token"],
        user_id=world.ids["viewer"],
        kind="ACCESS",
        scopes=["READ"],
        token_hash=new_id().bytes,
        expires_at="2100-01-01",
    )


def change_token(columns: str) -> Change:
    return lambda world: world.run(f"UPDATE public.token SET {columns} WHERE id = %s", world.ids["token"])


def add_totp(world: GuardWorld, user: str = "viewer") -> None:
    world.insert("totp_factor", user_id=world.ids[user], secret=b"x", activated_at="2020-01-01", last_step=1)


def add_passkey(world: GuardWorld) -> None:
    world.insert(
        "passkey",
        id=new_id(),
        user_id=world.ids["viewer"],
        name="key",
        credential_id=b"x",
        public_key=b"x",
        sign_count=0,
    )


def require_factor(world: GuardWorld) -> None:
    """Let the club require a second factor; the other person has one."""
    add_totp(world, "other")
    world.insert("factor_requirement", collective_id=world.ids["club"], created_by_id=world.ids["other"])


def delete(table: str, column: str, name: str) -> Change:
    return lambda world: world.run(f"DELETE FROM public.{table} WHERE {column} = %s", world.ids[name])


def both(first: Change, second: Change) -> Change:
    return lambda world: (first(world), second(world))


def nothing(world: GuardWorld) -> None:
    """Prepare nothing."""


def be_admin_of_event(world: GuardWorld) -> None:
    add_member(world, collective="party")


def hide_event(world: GuardWorld) -> None:
    world.run("UPDATE public.collective SET is_public = false WHERE id = %s", world.ids["party"])


CHANGES: dict[str, tuple[Change, Change]] = {
    "a role begins": (nothing, add_member),
    "a role ends": (add_member, change_member("until = now()")),
    "a role begins again": (
        both(add_member, change_member("until = now()")),
        change_member("until = NULL"),
    ),
    "a role becomes another": (add_member, change_member("role = 'ACCOUNTANT'")),
    "a role is deleted": (add_member, delete("member", "id", "member")),
    "a token is revoked": (add_token, change_token("revoked_at = now()")),
    "a token expires earlier": (add_token, change_token("expires_at = now()")),
    "a token may do more": (add_token, change_token("scopes = '{READ,ORDERS}'")),
    "a token is deleted": (add_token, delete("token", "id", "token")),
    "an authenticator works": (nothing, add_totp),
    "an authenticator is removed": (add_totp, delete("totp_factor", "user_id", "viewer")),
    "a passkey is added": (nothing, add_passkey),
    "a passkey is removed": (add_passkey, delete("passkey", "user_id", "viewer")),
    "the club requires a factor": (add_member, require_factor),
    "the club of an event requires a factor": (be_admin_of_event, require_factor),
    "an event of theirs becomes hidden": (be_admin_of_event, hide_event),
    "the club requires no factor any more": (
        both(add_member, require_factor),
        delete("factor_requirement", "collective_id", "club"),
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CHANGES)
def test_each_change_of_what_a_viewer_may_do_raises_the_version(
    shared_database: Database, name: str, mode: str
) -> None:
    prepare, change = CHANGES[name]
    with guard_world(shared_database.owner_url, shadowed=mode == "shadowed") as world:
        add_people(world)
        prepare(world)
        if mode == "replica":
            world.run("SET LOCAL session_replication_role = replica")
        before = version(world)
        change(world)
        assert version(world) == before + 1


def test_a_role_that_moves_raises_the_version_of_both(shared_database: Database) -> None:
    with guard_world(shared_database.owner_url) as world:
        add_people(world)
        add_member(world)
        before = version(world), version(world, "other")
        world.run(
            "UPDATE public.member SET member_id = %s WHERE id = %s", world.ids["other"], world.ids["member"]
        )
        assert (version(world), version(world, "other")) == (before[0] + 1, before[1] + 1)


def test_what_is_nobodys_own_raises_no_version(shared_database: Database) -> None:
    with guard_world(shared_database.owner_url) as world:
        add_people(world)
        add_token(world)
        add_member(world, member="club", collective="party", role="BACKER")
        world.run("UPDATE public.token SET confirmed_at = now() WHERE id = %s", world.ids["token"])
        assert (version(world), version(world, "club")) == (0, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO viewer_version VALUES (gen_random_uuid(), 1)",
        "UPDATE viewer_version SET version = version",
        "DELETE FROM viewer_version",
        "TRUNCATE viewer_version",
        "SELECT raise_viewer_versions('{}')",
    ],
)
def test_the_application_only_reads_versions(shared_database: Database, statement: str) -> None:
    with psycopg.connect(shared_database.app_url) as app:
        assert app.execute("SELECT count(*) FROM viewer_version").fetchone() is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(statement.encode())


def test_two_changes_at_once_raise_the_version_twice(database: Database) -> None:
    with Race(database.owner_url) as race:
        add_people(race.first)
        race.commit_world()
        before = version(race.first)
        add_member(race.first)
        assert race.outcome(lambda world: add_member(world, collective="party")) is None
        race.second.connection.commit()
        assert version(race.first) == before + 2


CONCERNS = {"a requirement": (add_member, require_factor), "hiding": (be_admin_of_event, hide_event)}
"""How a role begins, and a change that concerns those who have it."""


@pytest.mark.parametrize("name", CONCERNS)
def test_a_change_waits_for_who_is_getting_a_role(database: Database, name: str) -> None:
    get_role, change = CONCERNS[name]
    with Race(database.owner_url) as race:
        add_people(race.first)
        race.commit_world()
        get_role(race.first)
        before = version(race.first)
        assert race.outcome(change) is None
        race.second.connection.commit()
        assert version(race.first) == before + 1


@pytest.mark.parametrize("name", CONCERNS)
def test_who_gets_a_role_waits_for_a_change(database: Database, name: str) -> None:
    get_role, change = CONCERNS[name]
    with Race(database.owner_url) as race:
        add_people(race.first)
        race.commit_world()
        change(race.first)
        assert race.outcome(get_role) is None
        race.second.connection.commit()
        assert version(race.first) == 1
