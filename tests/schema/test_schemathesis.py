"""Every root field under documents that Schemathesis makes up: no fault of ours, and nothing private told."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.graphql import nodes

from tests import live_server
from tests.conftest import MakeDatabase

EXAMPLES = 6
"""Documents for each root field and viewer."""
SECONDS = 20
DOMAIN = "@commonweal.test"
VIEWERS = {"member": "xdamman", "admin": "admin"}
# What only our own side knows: libraries, statements, hashes, places in the code.
LEAKED = re.compile(
    r"Traceback|psycopg|sqlalchemy|asyncpg|site-packages|\.py\b|\$argon2|postgres|pg_catalog"
    r"|\b(?:SELECT|INSERT|UPDATE|DELETE)\b [\w\"]+ ?(?:FROM|INTO|SET|,)|violates|constraint \"",
    re.IGNORECASE,
)
SIGN_IN = "mutation($i: SignInInput!) { signIn(input: $i) { session { token } } }"
TOKEN = "mutation($i: CreateAccessTokenInput!) { createAccessToken(input: $i) { token errors { code } } }"
IDS = """{
  orders(first: 4) { nodes { id } } transactions(first: 4) { nodes { id } } offers(first: 2) { nodes { id } }
  collectives(first: 6) { nodes { id slug } }
}"""
AUDIT = "{ ledgerAudit { checks { name violations } } }"


@dataclass(frozen=True)
class Api:
    """A live server with the demo world."""

    url: str
    log: Path
    tokens: dict[str, str] = field(default_factory=dict)
    """Of each viewer that has one; made first, for made-up sign-ins close an account for a while."""

    def ask(self, query: str, token: str | None = None, **variables: Any) -> dict[str, Any]:
        """Return the data of an answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = {"query": query, "variables": variables}
        answer: dict[str, Any] = httpx.post(self.url, json=body, headers=headers, timeout=SECONDS).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def token(self, name: str) -> str:
        """Return an access token with every scope, which signing out does not end."""
        who = {"email": name + DOMAIN, "password": "oc"}
        session = self.ask(SIGN_IN, i=who)["signIn"]["session"]["token"]
        expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        wanted = {"name": "made-up documents", "scopes": self.scopes(), "expiresAt": expires}
        token: str = self.ask(TOKEN, session, i=wanted)["createAccessToken"]["token"]
        return token

    def scopes(self) -> list[str]:
        """Return the names of all scopes."""
        found = self.ask('{ __type(name: "Scope") { enumValues { name } } }')
        return [value["name"] for value in found["__type"]["enumValues"]]


@pytest.fixture(scope="module")
def api(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Return a server, and let values of the kinds that it knows be made up."""
    folder = tmp_path_factory.mktemp("schemathesis")
    with live_server.serving(make_database(), folder, demo=True) as server:
        api = Api(server.url, server.log)
        api.tokens.update({viewer: api.token(name) for viewer, name in VIEWERS.items()})
        _register(api.ask(IDS))
        yield api


def _register(found: dict[str, Any]) -> None:
    """Let texts and ids be some of the world's as well as any; and let there be values of our scalars."""
    ids = [node["id"] for page in found.values() for node in page["nodes"]]
    slugs = [node["slug"] for node in found["collectives"]["nodes"]]
    words = [
        "xdamman" + DOMAIN,
        "MANUAL",
        "BALANCE",
        "Europe/Berlin",
        "2026-01-01",
        "'; DROP TABLE x; --",
        "\0",
    ]
    text = st.one_of(st.text(max_size=40), st.sampled_from([*slugs, *words]), st.text("a\0\ud7ff😀%_'\"\\"))
    number = st.one_of(
        st.integers(-(2**63), 2**63 - 1),
        st.decimals(allow_nan=False, places=2),
        st.sampled_from(["1", "NaN", ""]),
    )
    moment = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda m: m.isoformat() + "Z")  # noqa: DTZ001 - the zone is written
    kinds = {
        "ID": st.one_of(st.sampled_from(ids), text),
        "String": text,
        "BigInt": number,
        "Decimal": number,
        "DateTime": st.one_of(moment, text),
        "Date": st.one_of(st.dates().map(str), text),
        "CurrencyCode": st.sampled_from(["USD", "EUR", "JPY", "CUR", "KWD", "XXX", "usd", ""]),
    }
    for name, values in kinds.items():
        schemathesis.graphql.scalar(name, values.map(nodes.String))
    entry = st.tuples(st.sampled_from(["iban", "", "x" * 300]), text)
    schemathesis.graphql.scalar("JSON", st.lists(entry, max_size=2, unique_by=lambda e: e[0]).map(_json))


def _json(entries: list[tuple[str, str]]) -> Any:
    return nodes.String(str(dict(entries)))


def faults(document: str, response: httpx.Response, viewer: str) -> list[str]:
    """Return what must not be in an answer; what the document itself says is no news."""
    found = [] if response.status_code < 500 else [f"status {response.status_code}"]
    for error in response.json().get("errors", []):
        code = error.get("extensions", {}).get("code")
        if code in {None, "INTERNAL_SERVER_ERROR"}:
            found.append(f"{code}: {error['message']}")
    if leak := LEAKED.search(response.text):
        found.append(f"tells {leak.group()}")
    if viewer == "anonymous" and DOMAIN in response.text and DOMAIN not in document:
        found.append("tells an address")
    return found


@pytest.mark.parametrize("viewer", ["anonymous", *VIEWERS])
def test_no_made_up_document_finds_a_fault_or_a_leak(api: Api, viewer: str) -> None:
    token = api.tokens.get(viewer)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    made = schemathesis.graphql.from_url(api.url)
    found: dict[str, list[str]] = {}
    asked = 0

    with httpx.Client(headers=headers, timeout=SECONDS) as client:
        for result in made.get_all_operations():
            assert isinstance(result, Ok)
            operation = result.ok()

            @seed(1)
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def sends(case: schemathesis.Case[Any]) -> None:
                nonlocal asked
                asked += 1
                response = client.post(api.url, json={"query": case.body})
                if wrong := faults(str(case.body), response, viewer):
                    found[str(case.body)] = wrong

            sends()
    assert found == {}
    assert asked >= EXAMPLES * 50
    assert [line for line in api.log.read_text().splitlines() if '"level":"ERROR"' in line] == []
    audit = api.ask(AUDIT)["ledgerAudit"]
    assert [check for check in audit["checks"] if check["violations"]] == []
