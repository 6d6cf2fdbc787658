"""Mail texts: every queued template renders with its values."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from models import Collective, Order, new_id, now
from models.enums import CollectiveType, OrderStatus, OrderType
from services.core.party import Party
from services.messaging import calendar_files, delivery, outbox
from services.messaging.calendar_files import Entry
from services.messaging.links import Links
from services.messaging.mime_messages import read_text
from services.messaging.templates import TEMPLATES
from services.orders import base
from tests.mail_world import URL, MailServer, Sessions, deliver, run_mail_server

SERVICES = Path(delivery.__file__).parents[1]
EVIL = "Mallory\r\nBcc: victim@example.org\r\n\r\nfree money \u2028\u202ereversed"
EVIL_ENTRY = Entry(
    uid="1@commonweal",
    sequence=0,
    changed_at=now(),
    starts_at=now(),
    ends_at=now(),
    name=EVIL,
    location=EVIL,
    description=EVIL,
)


def summary() -> dict[str, str]:
    payee = Collective(slug="x", type=CollectiveType.COMMUNITY, name="Webpack", currency="USD")
    order = Order(
        type=OrderType.EXPENSE,
        status=OrderStatus.PENDING,
        amount=2500,
        currency="USD",
        from_id=new_id(),
        to_id=new_id(),
    )
    return base.mail_payload(order, to=Party(payee))


def queued() -> Iterator[tuple[str, list[str]]]:
    """Yield each template that a service queues, with the facts that it gives."""
    for path in sorted(SERVICES.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            arguments = {k.arg: k.value for k in call.keywords} if isinstance(call, ast.Call) else {}
            template = arguments.get("template")
            if isinstance(template, ast.Constant):
                names = facts(arguments.get("payload"))
                yield str(template.value), template_fields(str(template.value)) if names is None else names


def facts(payload: ast.expr | None) -> list[str] | None:
    """Return the names of the facts as far as they can be read off the source, else None."""
    if isinstance(payload, ast.Call):
        is_order = ast.unparse(payload.func).endswith("mail_payload") and any(
            keyword.arg == "to" for keyword in payload.keywords
        )
        return list(summary()) if is_order else None
    if not isinstance(payload, ast.Dict):
        return None
    names: list[str] = []
    for key, value in zip(payload.keys, payload.values, strict=True):
        result = facts(value) if key is None else [str(ast.literal_eval(key))]
        if result is None:
            return None
        names += result
    return names


def template_fields(template: str) -> list[str]:
    """Return the names of the facts that a template asks for."""
    made_of = {
        "link": "token",
        "decision": "approved",
        "public_url": "",
        "export_link": "id",
        "pay_link": "pay_page",
    }
    results = {name for text in TEMPLATES[template] for _, name, _, _ in Formatter().parse(text) if name}
    return sorted({made_of.get(name, name) for name in results} - {""})


def test_the_queued_templates_are_exactly_the_existing_ones() -> None:
    assert {template for template, _ in queued()} == set(TEMPLATES)


@pytest.mark.parametrize(("kind", "names"), list(queued()))
def test_every_template_renders(kind: str, names: list[str]) -> None:
    payload: dict[str, Any] = {name: f"the {name}" for name in names}
    subject, content, _ = delivery.render(kind, payload, links=Links(f"{URL}/"))
    assert subject == subject.strip()
    assert len(content) > 80
    assert content.endswith(f"-- \nCommonweal\n{URL}\n")
    assert "{" not in subject + content
    assert "\n\n\n" not in content


async def test_names_cannot_inject_headers(sessions: Sessions, smtp: MailServer) -> None:
    async with sessions.begin() as session:
        for i, (kind, names) in enumerate(queued()):  # few of them may go to one stranger
            payload: dict[str, Any] = dict.fromkeys(names, EVIL)
            if "calendar" in names:
                payload["calendar"] = calendar_files.to_payload(EVIL_ENTRY)
            address = f"ada{i}@example.org"
            await outbox.mail_address(session, address=address, template=kind, payload=payload)
    with run_mail_server(smtp):
        assert sum([await deliver(sessions, smtp) for _ in range(3)]) == len(list(queued()))
    expected = "To Subject Date Message-ID Auto-Submitted X-Commonweal-Template From"
    expected += " List-Unsubscribe List-Unsubscribe-Post Content-Language"
    framing = "MIME-Version Content-Type Content-Transfer-Encoding X-Peer X-MailFrom X-RcptTo"
    for envelope, sent in zip(smtp.envelopes, smtp.mails, strict=True):
        (recipient,) = envelope.rcpt_tos
        assert re.fullmatch(r"ada\d+@example\.org", recipient)
        assert set(expected.split()) <= set(sent.keys()) <= set(f"{expected} {framing}".split())
        assert len(sent["Subject"]) <= 120
        content = read_text(sent)
        assert not any(line.startswith(("Bcc", "free")) for line in content.splitlines())
        assert "\u202e" not in content + sent["Subject"]


def test_a_line_without_values_is_left_out() -> None:
    payload = {"collective": "Webpack", "host": "OSC", "approved": True, "reason": None}
    subject, content, _ = delivery.render("host_decision", payload, links=Links(URL))
    assert subject == "OSC has approved the application of Webpack"
    assert "Reason" not in content
    payload |= {"approved": False, "reason": "too far\naway"}
    subject, content, _ = delivery.render("host_decision", payload, links=Links(URL))
    assert subject == "OSC has declined the application of Webpack"
    assert "Reason: too far away" in content


def test_amounts_and_statuses_are_formatted_for_readers() -> None:
    payload = {**summary(), "status": "REJECTED", "reason": "no receipt"}
    subject, content, _ = delivery.render("order_closed", payload, links=Links(URL))
    assert subject == "Expense of 25.00 USD: rejected"
    assert "this order (expense) is closed: rejected." in content
    assert "Description" not in content
