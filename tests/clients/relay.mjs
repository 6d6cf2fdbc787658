// The Relay runtime against a live server with the demo world, with what relay-compiler made of relay/.
// usage: node relay.mjs URL
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import relay from "relay-runtime";
import { recording, signIn, url } from "./common.mjs";

const { Environment, Network, RecordSource, Store } = relay;
const { commitMutation, createOperationDescriptor, fetchQuery, getRequest, getSingularSelector } = relay;
const compiled = (name) => createRequire(import.meta.url)(`./node_modules/.relay/${name}.graphql.js`);

const token = await signIn("webpack-admin@commonweal.test");
const { requests, fetchFn } = recording();
const network = Network.create(async ({ text }, variables) => {
  const response = await fetchFn(url, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify({ query: text, variables }),
  });
  return response.json();
});
const environment = new Environment({ network, store: new Store(new RecordSource()) });

const query = compiled("feedQuery");
const variables = { slug: "webpack", count: 2 };
const operation = createOperationDescriptor(getRequest(query), variables);
const kept = environment.retain(operation);
await fetchQuery(environment, query, variables).toPromise();
const { collective } = environment.lookup(operation.fragment).data;
assert.equal(collective.name, "Webpack");

const read = (fragment) =>
  environment.lookup(getSingularSelector(compiled(fragment), collective)).data;
const page = () => read("feed_transactions").transactions;
const ids = () => page().edges.map(({ node }) => node.id);

// A page more is asked of the node, and the connection grows by it: as usePaginationFragment does.
const whole = [...ids()];
assert.equal(whole.length, 2);
while (page().pageInfo.hasNextPage) {
  const next = { id: collective.id, count: 2, cursor: page().pageInfo.endCursor };
  await fetchQuery(environment, compiled("feedPageQuery"), next).toPromise();
  const grown = ids();
  assert.deepEqual(grown.slice(0, whole.length), whole);
  assert.ok(grown.length > whole.length);
  whole.splice(0, whole.length, ...grown);
  if (whole.length >= 6) break;
}
assert.ok(whole.length >= 4);
assert.equal(new Set(whole).size, whole.length);

// The store is by id: a mutation's answer is seen by every fragment on that record.
const seen = [];
const watched = environment.subscribe(
  environment.lookup(getSingularSelector(compiled("feed_head"), collective)),
  ({ data }) => seen.push(data.description),
);
const input = { collective: { id: collective.id }, description: "Told by Relay" };
const answer = await new Promise((onCompleted, onError) =>
  commitMutation(environment, {
    mutation: compiled("feedDescribeMutation"), variables: { input }, onCompleted, onError,
  }),
);
assert.deepEqual(answer.updateCollective.errors, []);
assert.equal(seen.at(-1), "Told by Relay");
watched.dispose();

// A fragment that can be fetched again, by the node's id alone.
const asked = requests.length;
await fetchQuery(environment, compiled("feedHeadRefetchQuery"), { id: collective.id }).toPromise();
assert.equal(requests.length, asked + 1);
assert.equal(read("feed_head").description, "Told by Relay");

// A connection at the root, through the connection handler.
const names = createOperationDescriptor(getRequest(compiled("feedNamesQuery")), {});
await fetchQuery(environment, compiled("feedNamesQuery"), {}).toPromise();
const slugs = environment.lookup(names.fragment).data.collectives.edges.map(({ node }) => node.slug);
assert.ok(slugs.includes("webpack"));
kept.dispose();
console.log("ok");
