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
from tests.conftest import Database, MakeDatabase

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
    database: Database
    tokens: dict[str, str] = field(default_factory=dict)
    """Tokens of the viewers, created first because random sign-ins lock accounts for a while."""

    def query(self, query: str, token: str | None = None, **variables: Any) -> dict[str, Any]:
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
        session = self.query(SIGN_IN, i=who)["signIn"]["session"]["token"]
        expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        results = {"name": "made-up documents", "scopes": self.scopes(), "expiresAt": expires}
        token: str = self.query(TOKEN, session, i=results)["createAccessToken"]["token"]
        return token

    def scopes(self) -> list[str]:
        """Return the names of all scopes."""
        result = self.query('{ __type(name: "Scope") { enumValues { name } } }')
        return [value["name"] for value in result["__type"]["enumValues"]]


@pytest.fixture(scope="module")
def api(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Return a server, and register strategies for values from its data."""
    folder = tmp_path_factory.mktemp("schemathesis")
    database = make_database()
    with live_server.run_server(database, folder, demo=True) as server:
        api = Api(server.url, server.log, database)
        api.tokens.update({viewer: api.token(name) for viewer, name in VIEWERS.items()})
        _register(api.query(IDS))
        yield api


def _register(data: dict[str, Any]) -> None:
    """Register strategies for scalars, and for texts and ids that include existing ones."""
    ids = [node["id"] for page in data.values() for node in page["nodes"]]
    slugs = [node["slug"] for node in data["collectives"]["nodes"]]
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
    first, last = datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2100-01-01")
    timestamp = st.datetimes(first, last).map(lambda time: time.isoformat() + "Z")
    kinds = {
        "ID": st.one_of(st.sampled_from(ids), text),
        "String": text,
        "BigInt": number,
        "Decimal": number,
        "DateTime": st.one_of(timestamp, text),
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
    result = [] if response.status_code < 500 else [f"status {response.status_code}"]
    for error in response.json().get("errors", []):
        code = error.get("extensions", {}).get("code")
        if code in {None, "INTERNAL_SERVER_ERROR"}:
            result.append(f"{code}: {error['message']}")
    if leak := LEAKED.search(response.text):
        result.append(f"tells {leak.group()}")
    if viewer == "anonymous" and DOMAIN in response.text and DOMAIN not in document:
        result.append("tells an address")
    return result


@pytest.mark.parametrize("viewer", ["anonymous", *VIEWERS])
def test_random_documents_cause_no_internal_error_and_no_leak(api: Api, viewer: str) -> None:
    token = api.tokens.get(viewer)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    created = schemathesis.graphql.from_url(api.url)
    results: dict[str, list[str]] = {}
    asked = 0

    with httpx.Client(headers=headers, timeout=SECONDS) as client:
        for result in created.get_all_operations():
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
                    results[str(case.body)] = wrong

            sends()
    assert results == {}
    assert asked >= EXAMPLES * 50
    assert [line for line in api.log.read_text().splitlines() if '"level":"ERROR"' in line] == []
    live_server.run_audit(api.database)
    audit = api.query(AUDIT)["ledgerAudit"]
    assert [check for check in audit["checks"] if check["violations"]] == []
