// Runs the audits of the npm package `graphql-http` on a server and prints one JSON object a line.
// usage: node audit.mjs URL
import { serverAudits } from "graphql-http";

const [url] = process.argv.slice(2);

// A GET of a document in words needs this header; the audits know nothing of it.
const fetchFn = (address, { method = "GET", headers = {}, ...rest } = {}) =>
  fetch(address, {
    method,
    headers: method === "GET" ? { ...headers, "commonweal-preflight": "1" } : headers,
    ...rest,
  });

for (const { id, name, fn } of serverAudits({ url, fetchFn })) {
  const { status, reason } = await fn();
  console.log(JSON.stringify({ id, name, status, reason }));
}
