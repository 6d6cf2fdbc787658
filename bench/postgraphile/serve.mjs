// PostGraphile 5 on the tables, as its documentation sets it up for production: the Amber preset, no GraphiQL.
// Where the database is comes from PGHOST, PGUSER and PGDATABASE. Prints its address, as `commonweal serve` does.
import { createServer } from "node:http";

import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { jsonPgSmartTags } from "postgraphile/utils";

// A transaction has no foreign keys to its four collectives (models/ledger.py tells why): PostGraphile is told of
// the relations.
const sides = ["from_collective_id", "to_collective_id", "from_host_id", "to_host_id"];
const tags = jsonPgSmartTags({
  version: 1,
  config: {
    class: {
      transaction: { tags: { foreignKey: sides.map((column) => `(${column}) references collective (id)`) } },
    },
  },
});

const preset = {
  extends: [PostGraphileAmberPreset],
  plugins: [tags],
  // It hides what no whole index serves, so also what our partial ones do: a collective's open member rows.
  disablePlugins: ["PgIndexBehaviorsPlugin"],
  pgServices: [
    makePgService({
      // As many connections as one process of ours has.
      poolConfig: { host: process.env.PGHOST, user: process.env.PGUSER, database: process.env.PGDATABASE, max: 8 },
      schemas: ["public"],
    }),
  ],
  grafserv: { graphiql: false, websockets: false, watch: false },
};

const service = postgraphile(preset).createServ(grafserv);
const server = createServer();
server.on("error", (error) => {
  throw error;
});
await service.addTo(server);
server.listen(0, "127.0.0.1", () => {
  const { address, port } = server.address();
  console.log(`PostGraphile at http://${address}:${port}/graphql`);
});
