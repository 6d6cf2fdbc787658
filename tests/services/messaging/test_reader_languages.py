"""Mails in the language that their reader chose, or else in that of their browser."""

from dataclasses import replace
from typing import Any

import pytest

from services.messaging import outbox
from services.messaging.mime_messages import TEMPLATE_HEADER, read_text
from tests.factor_world import PASSWORD, with_password
from tests.factories import Person, World, ref
from tests.mail_world import MailServer, deliver, run_mail_server
from tests.schema.http.test_devices import SIGN_IN
from tests.schema.http.test_endpoint_requests import post, serving

UPDATE = "mutation($i: UpdateCollectiveInput!) { updateCollective(input: $i) { errors { code path } } }"


async def choose(world: World, person: Person, locale: str | None) -> None:
    payload = await world.mutate("updateCollective", by=person, collective=ref(person.user), locale=locale)
    assert payload["errors"] == []


async def queue(world: World, *addresses: str, template: str = "email_confirmed") -> None:
    async with world.sessions() as session, session.begin():
        for address in addresses:
            await outbox.mail_address(session, address=address, template=template, payload={"name": "x"})


async def subjects(world: World, smtp: MailServer) -> dict[str, str]:
    """Deliver what is due; return the subjects by recipient."""
    with run_mail_server(smtp):
        await deliver(world.sessions, smtp)
    return {str(m["To"]): str(m["Subject"]) for m in smtp.mails if m[TEMPLATE_HEADER] != "new_device"}


async def test_a_user_chooses_a_language_and_sees_it_alone(world: World) -> None:
    ada, bob = await world.person("ada"), await world.person("bob")
    own = "{ me { locale } }"
    assert (await world.query(own, by=ada))["me"] == {"locale": None}
    await choose(world, ada, "DE")
    assert (await world.query(own, by=ada))["me"] == {"locale": "DE"}
    query = '{ collective(slug: "ada") { ... on User { locale } } }'
    for viewer in (None, bob, world.admin):
        assert (await world.query(query, by=viewer))["collective"] == {"locale": None}
    await choose(world, ada, None)
    assert (await world.query(own, by=ada))["me"] == {"locale": None}


@pytest.mark.parametrize("who", ["bob", None])
async def test_nobody_else_chooses_for_a_user(world: World, who: str | None) -> None:
    ada = await world.person("ada")
    by = await world.person(who) if who else None
    before = await world.fingerprint()
    variables: dict[str, Any] = {"i": {"collective": ref(ada.user), "locale": "FR"}}
    body = await world.execute(UPDATE, by=by, **variables)
    codes = [
        error["code"] for error in ((body["data"] or {}).get("updateCollective") or {}).get("errors", [])
    ]
    codes += [error["extensions"]["code"] for error in body.get("errors", [])]
    assert codes in (["FORBIDDEN"], ["UNAUTHENTICATED"])
    assert await world.fingerprint() == before


async def test_only_a_user_has_a_language_and_only_one_of_ours(world: World) -> None:
    ada = await world.person("ada")
    choir = await world.community("choir", None, ada)
    payload = await world.mutate("updateCollective", by=ada, collective=ref(choir), locale="DE")
    assert [(e["code"], e["path"]) for e in payload["errors"]] == [("INVALID_INPUT", ["input", "locale"])]
    body = await world.execute(UPDATE, by=ada, i={"collective": ref(ada.user), "locale": "IT"})
    assert "does not exist in 'Locale' enum" in body["errors"][0]["message"]
    assert await world.scalar("SELECT count(*) FROM collective WHERE locale IS NOT NULL") == 0


async def test_mails_come_in_the_chosen_language(world: World, smtp: MailServer) -> None:
    people = {locale: await world.person(locale.lower()) for locale in ("EN", "DE", "FR", "ES")}
    for locale, person in people.items():
        await choose(world, person, locale)
    await queue(world, *(person.email for person in people.values()))
    assert await subjects(world, smtp) == {
        people["EN"].email: "Your email address is confirmed",
        people["DE"].email: "Ihre E-Mail-Adresse ist bestätigt",
        people["FR"].email: "Votre adresse e-mail est confirmée",
        people["ES"].email: "Su dirección de correo está confirmada",
    }
    for mail in smtp.mails:
        assert mail.get_content_type() == "multipart/alternative"
        html = mail.get_body(("html",))
        assert html is not None
        assert f'<html lang="{mail["Content-Language"]}">' in html.get_content()
        assert "Commonweal" in read_text(mail)


async def test_a_sign_up_is_answered_in_the_language_of_the_browser(world: World) -> None:
    sign_up = "mutation($i: SignUpInput!) { signUp(input: $i) { errors { code } } }"
    async with serving(replace(world.settings, execution_timeout_ms=120_000)) as client:
        for name, language in (("de", "de-AT,de;q=0.9"), ("fr", "fr"), ("it", "it,en;q=0.5")):
            body = {"query": sign_up, "variables": {"i": {"email": f"{name}@example.org", "name": name}}}
            answer = await post(client, body, **{"Accept-Language": language})
            assert answer.json()["data"]["signUp"]["errors"] == []
        # Somebody else who knows the address does not change the language.
        body = {"query": sign_up, "variables": {"i": {"email": "de@example.org", "name": "de"}}}
        await post(client, body, **{"Accept-Language": "es"})
    rows = [
        await world.scalar("SELECT browser_locale FROM credential WHERE email = :e", e=f"{n}@example.org")
        for n in ("de", "fr", "it")
    ]
    assert rows == ["DE", "FR", "EN"]


async def test_a_sign_in_notes_the_language_and_a_choice_goes_before_it(
    world: World, smtp: MailServer
) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    variables = {"i": {"email": ada.email, "password": PASSWORD}}
    async with serving(replace(world.settings, execution_timeout_ms=120_000)) as client:
        for language in ("de", "fr;q=0.9, xx", "pt"):
            answer = await post(
                client, {"query": SIGN_IN, "variables": variables}, **{"Accept-Language": language}
            )
            assert answer.json()["data"]["signIn"]["errors"] == []
    await queue(world, ada.email)
    assert await subjects(world, smtp) == {ada.email: "Votre adresse e-mail est confirmée"}
    await choose(world, ada, "ES")
    await queue(world, ada.email)
    assert await subjects(world, smtp) == {ada.email: "Su dirección de correo está confirmada"}


async def test_a_stranger_is_written_to_in_the_language_of_the_sender(world: World, smtp: MailServer) -> None:
    ada = await world.person("ada")
    await choose(world, ada, "DE")
    choir = await world.community("choir", None, ada)
    payload = await world.mutate(
        "inviteMember", by=ada, collective=ref(choir), email="new@example.org", role="ADMIN"
    )
    assert payload["errors"] == []
    found = await subjects(world, smtp)
    assert found["new@example.org"].endswith("ein")
    (mail,) = [mail for mail in smtp.mails if mail["To"] == "new@example.org"]
    assert "Sie haben hier kein Konto." in read_text(mail)
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
