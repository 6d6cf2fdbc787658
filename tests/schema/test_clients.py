"""Other people's clients against a live server with the demo world: Apollo, urql, Relay, Python gql."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport

from tests import live_server, node_runner
from tests.conftest import MakeDatabase

ROOT = Path(__file__).parents[2]
SHOWN = "http://127.0.0.1:8000/graphql"


@pytest.fixture(scope="module")
def url(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return where a server with the demo world is."""
    folder = tmp_path_factory.mktemp("clients")
    with live_server.run_server(make_database(), folder, demo=True) as server:
        yield server.url


def runs(script: str, url: str) -> None:
    """Run a client's script, which asserts what it sees."""
    assert node_runner.run_script(node_runner.require_node(), script, url).splitlines()[-1] == "ok"


def test_apollo_client_persists_queries_and_normalises_its_cache(url: str) -> None:
    runs("apollo.mjs", url)


def test_urql_sends_post_get_and_persisted_queries(url: str) -> None:
    runs("urql.mjs", url)


def test_relay_pages_refetches_and_updates_its_store(url: str) -> None:
    node_runner.compile_for_relay()
    runs("relay.mjs", url)


def snippets() -> list[tuple[str, str]]:
    """Return the language and the code of each snippet of docs/clients.md."""
    return re.findall(r"```(js|python)\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("language", "code"), snippets(), ids=["Apollo", "urql", "Relay", "gql"])
def test_each_snippet_of_the_clients_page_runs(url: str, language: str, code: str) -> None:
    assert SHOWN in code
    code = code.replace(SHOWN, url)
    if language == "python":
        command = [sys.executable, "-c", code]
        printed = subprocess.check_output(command, text=True, timeout=node_runner.TIMEOUT_SECONDS)
    else:
        printed = node_runner.run_script(node_runner.require_node(), "--input-type=module", "--eval", code)
    assert printed == "Webpack\n"


REFUSED = """
import { CombinedGraphQLErrors } from "@apollo/client/errors";
import { CombinedError } from "@urql/core";
const errors = [{ message: "No", extensions: { code: "FORBIDDEN" } }];
const payload = { errors: [{ code: "INVALID_INPUT", message: "Bad", path: ["input", "to"] }] };
const results = [
  { data: { donate: payload } },
  { error: new CombinedGraphQLErrors({ errors }) },
  { error: new CombinedError({ graphQLErrors: errors }) },
  { data: { donate: { errors: [] } } },
];
for (const result of results)
  console.log(refusals(result, "donate").map(({ code, path }) => [code, path?.join(".")].join(" ")).join());
try {
  refusals({ error: new CombinedError({ networkError: new Error("away") }) }, "donate");
} catch (error) {
  console.log(error.message);
}
"""


def test_the_pages_function_collects_refusals_of_both_clients() -> None:
    (function,) = re.findall(
        r"```javascript\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL
    )
    printed = node_runner.run_script(
        node_runner.require_node(), "--input-type=module", "--eval", function + REFUSED
    )
    assert printed.splitlines() == [
        "INVALID_INPUT input.to",
        "FORBIDDEN ",
        "FORBIDDEN ",
        "",
        "[Network] away",
    ]


SIGN_IN = """mutation SignIn($input: SignInInput!) {
    signIn(input: $input) { session { token } errors { code } } }"""
FEED = """query Feed($slug: String!) {
    collective(slug: $slug) { name transactions(first: 3) { nodes { createdAt amount { value } } } } }"""
DONATE = "mutation Donate($input: DonateInput!) { donate(input: $input) { order { id status } } }"
DONATION = {
    "from": {"slug": "xdamman"},
    "to": {"slug": "webpack"},
    "amount": {"value": "1.00", "currency": "USD"},
}


async def signed_in(url: str) -> dict[str, str]:
    """Return the header of a signed-in user."""
    arguments = {"input": {"email": "xdamman@commonweal.test", "password": "oc"}}
    async with Client(transport=HTTPXAsyncTransport(url=url)) as session:
        rows = await session.execute(GraphQLRequest(SIGN_IN, variable_values=arguments))
    return {"Authorization": f"Bearer {rows['signIn']['session']['token']}"}


@pytest.mark.parametrize("transport", [HTTPXAsyncTransport, AIOHTTPTransport])
async def test_python_gql_introspects_queries_and_donates(
    url: str, transport: type[HTTPXAsyncTransport | AIOHTTPTransport]
) -> None:
    headers = await signed_in(url)
    client = Client(transport=transport(url=url, headers=headers), fetch_schema_from_transport=True)
    async with client as session:
        assert client.schema is not None
        assert "Collective" in client.schema.type_map
        rows = await session.execute(GraphQLRequest(FEED, variable_values={"slug": "webpack"}))
        assert rows["collective"]["name"] == "Webpack"
        assert len(rows["collective"]["transactions"]["nodes"]) == 3
        result = await session.execute(GraphQLRequest(DONATE, variable_values={"input": DONATION}))
        assert result["donate"]["order"]["status"] == "PAID"


async def test_python_gql_raises_the_servers_errors(url: str) -> None:
    async with Client(transport=HTTPXAsyncTransport(url=url)) as session:
        with pytest.raises(TransportQueryError) as raised:
            await session.execute(GraphQLRequest(DONATE, variable_values={"input": DONATION}))
    assert raised.value.errors is not None
    assert raised.value.errors[0]["extensions"]["code"] == "UNAUTHENTICATED"
