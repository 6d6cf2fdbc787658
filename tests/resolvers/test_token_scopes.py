"""What programs may do with a token: no more than its scopes say, and never with a person's own keys."""

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from graphql import OperationDefinitionNode, parse

from models import now
from models.enums import Scope
from schema.execution import token_reads
from services.access.actor import Actor, hash_token
from services.core.errors import Forbidden
from tests.conftest import Database
from tests.factories import World, error_codes, public_id, ref
from tests.resolvers.test_accounts import is_signed_in

FOLLOW = "mutation($i: FollowCollectiveInput!) { followCollective(input: $i) { %s errors { code message } } }"


def code_of(body: dict[str, Any]) -> str:
    """Return the code of an answer that is an error as a whole; OK otherwise."""
    if "errors" not in body:
        return "OK"
    assert body.get("data") is None
    (error,) = body["errors"]
    return str(error["extensions"]["code"])


async def child_of(world: World, token: str, *scopes: str, days: float = 0.5) -> str:
    """Make a token with a token."""
    payload = await world.mutate(
        "createAccessToken",
        "token",
        by=token,
        name="child",
        scopes=list(scopes),
        expiresAt=(now() + timedelta(days=days)).isoformat(),
    )
    assert payload["errors"] == []
    return str(payload["token"])


async def id_of(world: World, token: str) -> str:
    row = await world.scalar("SELECT id FROM token WHERE token_hash = :h", h=hash_token(token))
    return public_id("AccessToken", row)


# --- payloads are read with the token's scopes ---


@pytest.mark.parametrize(
    ("selected", "code"),
    [
        ("", "OK"),
        ("__typename", "OK"),
        ("member { id __typename }", "OK"),
        ("member { ...F } ...P", "OK"),
        ("member { role }", "FORBIDDEN"),
        ("member { id collective { id } }", "FORBIDDEN"),
        ("member { member { ... on User { email } } }", "FORBIDDEN"),
        ("member { ...G }", "FORBIDDEN"),
        ("... { member { since } }", "FORBIDDEN"),
        ("...Q", "FORBIDDEN"),
        ("member @include(if: false) { role }", "FORBIDDEN"),
    ],
)
async def test_without_read_a_payload_shows_errors_and_ids_alone(
    world: World, selected: str, code: str
) -> None:
    fragments = {
        "F": "fragment F on Member { id }",
        "G": "fragment G on Member { ... { role } }",
        "P": "fragment P on FollowCollectivePayload { errors { code path } }",
        "Q": "fragment Q on FollowCollectivePayload { member { ... on Member { role } } }",
    }
    used = [body for name, body in fragments.items() if f"...{name}" in selected]
    ada = await world.person("ada")
    await world.community("club", None)
    token = await world.access_token(ada, "COLLECTIVES")
    query = " ".join([FOLLOW % selected, *used])
    before = await world.fingerprint()
    body = await world.execute(query, by=token, i={"collective": {"slug": "club"}})
    assert code_of(body) == code
    assert (await world.fingerprint() == before) == (code != "OK")
    for by in (ada, await world.access_token(ada, "COLLECTIVES", "READ")):
        assert code_of(await world.execute(query, by=by, i={"collective": {"slug": "club"}})) == "OK"


async def test_bulk_results_and_own_figures_need_no_read(world: World) -> None:
    ada = await world.person("ada")
    token = await world.access_token(ada, "APPROVE")
    query = (
        "mutation { approveOrders(input: {ids: []}) {"
        " results { id order { id } errors { code } } errors { code } } }"
    )
    assert code_of(await world.execute(query, by=token)) == "OK"
    deeper = query.replace("order { id }", "order { id amount { value } }")
    assert code_of(await world.execute(deeper, by=token)) == "FORBIDDEN"


async def test_every_mutation_hides_its_objects_from_a_token_without_read(world: World) -> None:
    """Each object that a payload has, of each mutation, by a token of every other scope."""
    actor = Actor(user=world.admin.user, scopes=frozenset(set(Scope) - {Scope.READ}))
    schema = await world.query(
        '{ __type(name: "Mutation") { fields { name args { name type { ofType { name } } } '
        "type { ofType {"
        " name fields { name type { kind name ofType { kind name ofType {"
        " ofType { kind name } } } } } } } } } }"
    )
    tried = 0
    for field in schema["__type"]["fields"]:
        given = f"($i: {field['args'][0]['type']['ofType']['name']}!)" if field["args"] else ""
        call = f"{field['name']}(input: $i)" if field["args"] else field["name"]
        for part in field["type"]["ofType"]["fields"]:
            named = part["type"]
            while named.get("ofType"):
                named = named["ofType"]
            if named["name"] not in DATED:
                continue
            selected = f"{part['name']} {{ id createdAt }}"
            document = parse(f"mutation{given} {{ {call} {{ {selected} }} }}")
            (operation,) = document.definitions
            assert isinstance(operation, OperationDefinitionNode)
            with pytest.raises(Forbidden):
                token_reads.require_readable(document, operation, actor)
            tried += 1
    assert tried > 40


DATED = {
    "User",
    "Collective",
    "Community",
    "Nonprofit",
    "Event",
    "Order",
    "Transaction",
    "AccessToken",
    "Offer",
}


# --- people's own keys, and who appoints ---


async def test_no_token_appoints_accepts_or_ends_who_decides(world: World) -> None:
    ada, bea = await world.person("ada"), await world.person("bea")
    club = await world.community("club", None, ada)
    tokens = [await world.access_token(person, *Scope) for person in (ada, bea)]
    for role in ("ADMIN", "ACCOUNTANT"):
        query = "mutation($i: InviteMemberInput!) { inviteMember(input: $i) { errors { code } } }"
        given = {"collective": ref(club), "role": role, "user": ref(bea)}
        assert code_of(await world.execute(query, by=tokens[0], i=given)) == "FORBIDDEN"
        payload = await world.mutate("inviteMember", "invitation { id }", by=ada, **given)
        answer = {"id": payload["invitation"]["id"], "accept": True}
        respond = (
            "mutation($i: RespondToInvitationInput!) { respondToInvitation(input: $i) { errors { code } } }"
        )
        assert code_of(await world.execute(respond, by=tokens[1], i=answer)) == "FORBIDDEN"
        payload = await world.mutate("respondToInvitation", "member { id }", by=bea, **answer)
        remove = "mutation($i: RemoveMemberInput!) { removeMember(input: $i) { errors { code } } }"
        member = {"id": payload["member"]["id"]}
        assert code_of(await world.execute(remove, by=tokens[0], i=member)) == "FORBIDDEN"
    assert (
        await world.scalar(
            "SELECT count(*) FROM member WHERE until IS NULL AND collective_id = :c", c=club.id
        )
        == 3
    )
    payload = await world.mutate(
        "inviteMember", by=tokens[0], collective=ref(club), role="MEMBER", user=ref(bea)
    )
    assert error_codes(payload) == []


async def test_a_declined_appointment_needs_no_person(world: World) -> None:
    ada, bea = await world.person("ada"), await world.person("bea")
    club = await world.community("club", None, ada)
    payload = await world.mutate(
        "inviteMember", "invitation { id }", by=ada, collective=ref(club), role="ADMIN", user=ref(bea)
    )
    token = await world.access_token(bea, "COLLECTIVES")
    declined = await world.mutate(
        "respondToInvitation", by=token, id=payload["invitation"]["id"], accept=False
    )
    assert error_codes(declined) == []


async def test_no_token_archives_its_person_whose_sessions_would_end(world: World) -> None:
    ada = await world.person("ada")
    query = "mutation($i: ArchiveCollectiveInput!) { archiveCollective(input: $i) { errors { code } } }"
    token = await world.access_token(ada, *Scope)
    assert code_of(await world.execute(query, by=token, i={"collective": ref(ada)})) == "FORBIDDEN"
    assert await is_signed_in(world, ada.token)


# --- tokens made with tokens ---


async def test_children_end_with_the_token_that_made_them(world: World) -> None:
    ada = await world.person("ada")
    parent = await world.access_token(ada, "READ", "COLLECTIVES")
    child = await child_of(world, parent, "READ", "COLLECTIVES")
    grandchild = await child_of(world, child, "READ", days=0.25)
    other = await world.access_token(ada, "READ")
    payload = await world.mutate("revokeAccessToken", by=ada, id=await id_of(world, parent))
    assert error_codes(payload) == []
    signed_in = [await is_signed_in(world, token) for token in (parent, child, grandchild, other)]
    assert signed_in == [False, False, False, True]


async def test_signing_out_ends_a_tokens_children_too(world: World) -> None:
    ada = await world.person("ada")
    parent = await world.access_token(ada, "READ", "COLLECTIVES")
    child = await child_of(world, parent, "READ")
    await world.query("mutation { signOut { errors { code } } }", by=parent)
    assert [await is_signed_in(world, token) for token in (parent, child)] == [False, False]


async def test_a_token_revokes_itself_and_its_children_alone(world: World) -> None:
    ada = await world.person("ada")
    parent, other = [await world.access_token(ada, "READ", "COLLECTIVES") for _ in range(2)]
    child = await child_of(world, parent, "READ", "COLLECTIVES")
    grandchild = await child_of(world, child, "READ", days=0.25)
    before = await world.fingerprint()
    for victim in (parent, other):
        payload = await world.mutate("revokeAccessToken", by=child, id=await id_of(world, victim))
        assert error_codes(payload) == [("NOT_FOUND", ["input", "id"])]
    assert await world.fingerprint() == before
    for victim in (grandchild, child):
        payload = await world.mutate("revokeAccessToken", by=parent, id=await id_of(world, victim))
        assert error_codes(payload) == []
    signed_in = [await is_signed_in(world, token) for token in (parent, other, child, grandchild)]
    assert signed_in == [True, True, False, False]


async def test_a_session_makes_tokens_that_outlive_it(world: World) -> None:
    ada = await world.person("ada")
    token = await child_of(world, ada.token, "READ", days=30)
    await world.query("mutation { signOut { errors { code } } }", by=ada)
    assert await is_signed_in(world, token)


async def test_a_child_that_is_made_while_its_parent_is_revoked_never_works(world: World) -> None:
    ada = await world.person("ada")
    for _ in range(5):
        parent = await world.access_token(ada, "READ", "COLLECTIVES")
        parent_id = await id_of(world, parent)
        answers: tuple[dict[str, Any], Any] = await asyncio.gather(
            world.execute(
                "mutation($i: CreateAccessTokenInput!) { createAccessToken(input: $i) {"
                " token errors { code } } }",
                by=parent,
                i={
                    "name": "x",
                    "scopes": ["READ"],
                    "expiresAt": (now() + timedelta(hours=1)).isoformat(),
                },
            ),
            world.mutate("revokeAccessToken", by=ada, id=parent_id),
        )
        child = ((answers[0].get("data") or {}).get("createAccessToken") or {}).get("token")
        assert child is None or not await is_signed_in(world, child)


async def test_the_database_keeps_a_child_within_its_parent(world: World, database: Database) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    token = await world.access_token(ada, "READ")
    parent = await world.scalar("SELECT id FROM token WHERE token_hash = :h", h=hash_token(token))
    good: dict[str, Any] = {"user": ada.user.id, "kind": "ACCESS", "scopes": ["READ"], "hours": 1}
    sql = (
        "INSERT INTO token (id, user_id, kind, token_hash, scopes, expires_at, parent_id) VALUES"
        " (gen_random_uuid(), %(user)s, %(kind)s, sha256(random()::text::bytea), %(scopes)s,"
        " now() + %(hours)s * interval '1 hour', %(parent)s)"
    )
    with psycopg.connect(database.app_url, autocommit=True) as app:
        for change in (
            {"user": eve.user.id},
            {"kind": "SESSION"},
            {"scopes": ["READ", "ORDERS"]},
            {"hours": 48},
        ):
            with pytest.raises(psycopg.errors.CheckViolation):
                app.execute(sql, good | change | {"parent": parent})
        app.execute(sql, good | {"parent": parent})
        app.execute("UPDATE token SET revoked_at = now() WHERE id = %s", [parent])
        with pytest.raises(psycopg.errors.CheckViolation, match="outdoes"):
            app.execute(sql, good | {"parent": parent})
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("UPDATE token SET parent_id = NULL")
        left = app.execute(
            "SELECT count(*) FROM token WHERE parent_id = %s AND revoked_at IS NULL", [parent]
        ).fetchone()
    assert left == (0,)
