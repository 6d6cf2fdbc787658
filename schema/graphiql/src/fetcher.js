import { createGraphiQLFetcher } from "@graphiql/toolkit";

import { lastAnswer, shownSql } from "./state.js";

// The page stands at the API's own address, also behind a proxy that adds a prefix.
const url = window.location.pathname;
const live = new URL(url, window.location.href);
live.protocol = live.protocol.replace("http", "ws");

/** Asks over HTTP. The answer's cost and SQL go to the panel, unless somebody asked for them by hand. */
async function ask(address, options) {
  const { operationName } = JSON.parse(options.body);
  if (operationName === "IntrospectionQuery") {
    return fetch(address, options);
  }
  const wished = { "Commonweal-Cost": "1", ...(shownSql.get() && { "Commonweal-Explain": "1" }) };
  const headers = new Headers(options.headers);
  const byHand = { cost: headers.has("Commonweal-Cost"), sql: headers.has("Commonweal-Explain") };
  for (const [name, value] of Object.entries(wished)) {
    headers.set(name, headers.get(name) ?? value);
  }
  const started = performance.now();
  const answer = await fetch(address, { ...options, headers });
  const text = await answer.text();
  const ms = performance.now() - started;
  const body = JSON.parse(text);
  const { cost, sql, ...extensions } = body.extensions ?? {};
  const limits = [...answer.headers].filter(([name]) => /^(ratelimit|retry-after)/.test(name));
  lastAnswer.set({
    operationName, status: answer.status, ms, bytes: new Blob([text]).size, cost, sql, limits,
    askedForSql: headers.has("Commonweal-Explain"),
  });
  const shown = {
    ...extensions, ...(byHand.cost && cost && { cost }), ...(byHand.sql && sql && { sql }),
  };
  const { extensions: _, ...rest } = body;
  return Response.json(Object.keys(shown).length > 0 ? { ...rest, extensions: shown } : rest);
}

export const fetcher = createGraphiQLFetcher({
  url,
  fetch: ask,
  subscriptionUrl: live.href, // graphql-transport-ws; the headers of the Headers tab open it
  enableIncrementalDelivery: false, // the API answers every operation whole
});

/** Asks for the page itself, as who the browser is signed in as. */
export async function perform(query, variables, headers) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json", ...headers },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await answer.json();
  if (errors) {
    throw new Error(errors[0].message, { cause: errors[0].extensions?.code });
  }
  return data;
}
