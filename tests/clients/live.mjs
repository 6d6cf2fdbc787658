// Follows a collective's transactions with graphql-ws or graphql-sse; prints one JSON object a line, first of all
// what a query says. Ends after so many events.
// usage: node live.mjs ws|sse ADDRESS TOKEN SLUG AFTER COUNT
import { createClient as sse } from "graphql-sse";
import { createClient as ws } from "graphql-ws";
import WebSocket from "ws";

const [kind, address, token, slug, after, count] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${token}` };
const client =
  kind === "ws"
    ? ws({ url: `ws://${address}/graphql`, webSocketImpl: WebSocket, connectionParams: headers })
    : sse({ url: `http://${address}/graphql`, headers });
const say = (what) => console.log(JSON.stringify(what));

for await (const answer of client.iterate({ query: "{ me { slug } }" })) say(answer);

const told = client.iterate({
  query: `subscription($c: CollectiveRef!, $after: String) {
    transactionPosted(collective: $c, after: $after) { position transaction { amount { value } } } }`,
  variables: { c: { slug }, after },
});
let left = Number(count);
for await (const answer of told) {
  say(answer);
  left -= 1;
  if (left === 0) break; // which completes the subscription
}

try {
  const lost = { query: "subscription { orderChanged(id: \"ord_a\") { position } }" };
  for await (const answer of client.iterate(lost)) say(answer);
} catch (errors) {
  say({ errors: Array.isArray(errors) ? errors : [{ message: String(errors) }] });
}
await client.dispose();
