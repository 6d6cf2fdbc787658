// Apollo Client 4 against a live server with the demo world: persisted queries, cache, mutation.
// usage: node apollo.mjs URL
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { SetContextLink } from "@apollo/client/link/context";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { recording, signIn, url } from "./common.mjs";

const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const { requests, fetchFn } = recording();
let token;

const bearer = new SetContextLink(({ headers }) => ({
  headers: token ? { ...headers, authorization: `Bearer ${token}` } : headers,
}));
const persisted = new PersistedQueryLink({ sha256, useGETForHashedQueries: true });
const client = new ApolloClient({
  cache: new InMemoryCache({ possibleTypes: await possibleTypes() }),
  link: ApolloLink.from([persisted, bearer, new HttpLink({ uri: url, fetch: fetchFn })]),
});

async function possibleTypes() {
  const query = "{ __schema { types { name possibleTypes { name } } } }";
  const headers = { "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify({ query }) });
  const { types } = (await response.json()).data.__schema;
  return Object.fromEntries(
    types.filter((one) => one.possibleTypes).map((one) => [one.name, one.possibleTypes.map(({ name }) => name)]),
  );
}

function taken() {
  return requests.splice(0);
}

const HEAD = gql`
  fragment Head on Collective {
    id
    slug
    name
    description
  }
`;
const ONE = gql`
  query One($slug: String!) {
    collective(slug: $slug) {
      ...Head
      balances {
        currency
        available {
          value
        }
      }
    }
  }
  ${HEAD}
`;

// An unknown hash is asked for by GET, then sent with its document by POST; from then on the hash is enough.
const first = await client.query({ query: ONE, variables: { slug: "webpack" } });
assert.equal(first.data.collective.name, "Webpack");
let made = taken();
assert.deepEqual(made.map(({ method }) => method), ["GET", "POST"]);
assert.equal(made[0].address.searchParams.has("query"), false);
assert.match(made[1].body.extensions.persistedQuery.sha256Hash, /^[0-9a-f]{64}$/);
await client.query({ query: ONE, variables: { slug: "wwcodeberlin" } });
made = taken();
assert.deepEqual(made.map(({ method, status }) => [method, status]), [["GET", 200]]);
assert.equal(made[0].address.searchParams.has("query"), false);

// One object, one entry: by whatever path it came.
await client.query({ query: ONE, variables: { slug: "webpack" } });
assert.equal(taken().length, 0);
const key = client.cache.identify(first.data.collective);
assert.equal(key, `Community:${first.data.collective.id}`);
const byNode = gql`
  query Again($id: ID!) {
    node(id: $id) {
      ... on Community {
        id
        description
      }
    }
  }
`;
const entries = () => Object.keys(client.cache.extract()).filter((entry) => entry === key).length;
await client.query({ query: byNode, variables: { id: first.data.collective.id } });
assert.equal(entries(), 1);
taken();

// What a mutation answers changes what is watched, without another question. It is never a GET.
token = await signIn("webpack-admin@commonweal.test");
const seen = [];
const watching = client
  .watchQuery({ query: ONE, variables: { slug: "webpack" } })
  .subscribe(({ data }) => data?.collective && seen.push(data.collective.description));
const describe = gql`
  mutation Describe($input: UpdateCollectiveInput!) {
    updateCollective(input: $input) {
      collective {
        id
        description
      }
      errors {
        code
        path
      }
    }
  }
`;
const input = { collective: { slug: "webpack" }, description: "Told by Apollo" };
const done = await client.mutate({ mutation: describe, variables: { input } });
assert.deepEqual(done.data.updateCollective.errors, []);
await new Promise((resolve) => setTimeout(resolve, 50));
assert.equal(seen.at(-1), "Told by Apollo");
assert.deepEqual([...new Set(taken().map(({ method }) => method))], ["POST"]);
watching.unsubscribe();

// What a mutation refuses is data; what cannot run is an error with a code.
const twice = { collective: { slug: "no-such-one" }, description: "x" };
const refused = await client.mutate({ mutation: describe, variables: { input: twice } });
assert.deepEqual(refused.data.updateCollective.errors.map(({ code }) => code), ["NOT_FOUND"]);
const wrong = gql`
  query Wrong {
    noSuchField
  }
`;
await assert.rejects(client.query({ query: wrong }), (error) => {
  assert.ok(CombinedGraphQLErrors.is(error));
  assert.equal(error.errors[0].extensions.code, "BAD_REQUEST");
  return true;
});
token = "not-a-token";
await assert.rejects(client.query({ query: ONE, variables: { slug: "opensource" } }), /./);
assert.equal(taken().at(-1).status, 401);
console.log("ok");
