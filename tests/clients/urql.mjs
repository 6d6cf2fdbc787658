// urql against a live server with the demo world: plain, with persisted queries, with a mutation.
// usage: node urql.mjs URL
import assert from "node:assert/strict";
import { Client, cacheExchange, fetchExchange, gql } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";
import { recording, signIn, url } from "./common.mjs";

const ONE = gql`
  query One($slug: String!) {
    collective(slug: $slug) {
      id
      name
      description
    }
  }
`;
const DESCRIBE = gql`
  mutation Describe($input: UpdateCollectiveInput!) {
    updateCollective(input: $input) {
      collective {
        id
        description
      }
      errors {
        code
      }
    }
  }
`;

// By default urql sends words by GET, which needs a header; without one they go by POST.
const plain = recording();
const simple = new Client({ url, fetch: plain.fetchFn, preferGetMethod: false, exchanges: [fetchExchange] });
const first = await simple.query(ONE, { slug: "webpack" });
assert.equal(first.data.collective.name, "Webpack");
assert.deepEqual(plain.requests.map(({ method }) => method), ["POST"]);
const bare = await new Client({ url, exchanges: [fetchExchange] }).query(ONE, { slug: "webpack" });
assert.equal(bare.error.graphQLErrors[0].extensions.code, "PREFLIGHT_REQUIRED");

const headers = { "commonweal-preflight": "1" };
const gets = recording();
const getting = new Client({
  url, fetch: gets.fetchFn, preferGetMethod: "force", fetchOptions: { headers }, exchanges: [fetchExchange],
});
assert.equal((await getting.query(ONE, { slug: "webpack" })).data.collective.name, "Webpack");
assert.deepEqual(gets.requests.map(({ method }) => method), ["GET"]);

// Persisted queries: the hash by GET; the document beside it, once, by GET as well.
const token = await signIn("webpack-admin@commonweal.test");
const { requests, fetchFn } = recording();
const client = new Client({
  url,
  fetch: fetchFn,
  preferGetMethod: false,
  fetchOptions: () => ({ headers: { ...headers, authorization: `Bearer ${token}` } }),
  exchanges: [cacheExchange, persistedExchange({ preferGetForPersistedQueries: true }), fetchExchange],
});
for (const slug of ["wwcodeberlin", "opensource"])
  assert.equal((await client.query(ONE, { slug })).data.collective.id.startsWith("col_"), true);
assert.deepEqual(
  requests.map(({ method, address }) => [method, address.searchParams.has("query")]),
  [["GET", false], ["GET", true], ["GET", false]],
);

// A mutation; what it changes is asked for again, for the cache holds it no longer.
await client.query(ONE, { slug: "webpack" });
const input = { collective: { slug: "webpack" }, description: "Told by urql" };
const done = await client.mutation(DESCRIBE, { input });
assert.deepEqual(done.data.updateCollective.errors.map(({ code }) => code), []);
const after = await client.query(ONE, { slug: "webpack" });
assert.equal(after.data.collective.description, "Told by urql");

const wrong = await client.query(gql`{ noSuchField }`, {});
assert.equal(wrong.error.graphQLErrors[0].extensions.code, "BAD_REQUEST");
console.log("ok");
