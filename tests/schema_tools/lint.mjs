// Runs graphql-eslint and graphql-schema-linter over the committed SDL; prints one JSON object a finding.
// usage: node lint.mjs [SDL]
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ESLint } from "eslint";
import { schemaConfig } from "./rules.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const [given = join(HERE, "..", "..", "schema", "schema.graphql")] = process.argv.slice(2);
const sdl = resolve(given);
const require = createRequire(import.meta.url);

// Single places that a rule of graphql-eslint finds, by the beginning of what it says.
const EXCEPTED = [
  // Fixed by the design: an event is a Collective, and these are its events.
  ["no-typename-prefix", 'Field "events" starts with the name of the parent type "Event"'],
  // Fixed by the design: of a Member row, who belongs to the collective.
  ["no-typename-prefix", 'Field "member" starts with the name of the parent type "Member"'],
  // Who acted: the field's standard word.
  ["no-typename-prefix", 'Field "actor" starts with the name of the parent type "Act"'],
  // An act is found through its log alone.
  ["relay-edge-types", "Edge type's field `node` must implement `Node` interface", "type ActEdge "],
  // An attendance is named by its event and its user, and found through the event alone.
  ["relay-edge-types", "Edge type's field `node` must implement `Node` interface", "type AttendanceEdge "],
  // A posting is found by its account and its seq.
  ["relay-edge-types", "Edge type's field `node` must implement `Node` interface", "type PostingEdge "],
  // A job is found through the list of jobs alone.
  ["relay-edge-types", "Edge type's field `node` must implement `Node` interface", "type JobEdge "],
  // A search result is of one search; what it found is a Node.
  ["relay-edge-types", "Edge type's field `node` must implement `Node` interface", "type SearchResultEdge "],
  // A mutation that fails at the top undoes all others of its operation, so none of them has an answer.
  ["require-nullable-result-in-root", /^Unexpected non-null result type "\w+Payload" in type "Mutation"$/],
];

// graphql-schema-linter, all its rules but:
const OFF = [
  // Members stand as a person reads them, the id first.
  "enum-values-sorted-alphabetically",
  "input-object-fields-sorted-alphabetically",
  "interface-fields-sorted-alphabetically",
  "type-fields-sorted-alphabetically",
];

function say(tool, rule, line, message) {
  console.log(JSON.stringify({ tool, rule, line, message }));
}

async function eslint() {
  const config = schemaConfig(sdl);
  const linter = new ESLint({ cwd: dirname(sdl), overrideConfigFile: true, overrideConfig: config });
  const [result] = await linter.lintFiles([sdl]);
  const lines = readFileSync(sdl, "utf8").split("\n");
  const used = new Set();
  for (const { ruleId, line, message } of result.messages) {
    const rule = (ruleId ?? "none").replace("@graphql-eslint/", "");
    const excepted = EXCEPTED.find(
      ([name, said, at]) =>
        name === rule &&
        (said instanceof RegExp ? said.test(message) : message.startsWith(said)) &&
        (at === undefined || lines[line - 1].startsWith(at)),
    );
    if (excepted) used.add(excepted);
    else say("graphql-eslint", rule, line, message);
  }
  for (const excepted of EXCEPTED.filter((one) => !used.has(one)))
    say("graphql-eslint", excepted[0], 0, `The exception is not needed: ${excepted[1]}`);
}

async function schemaLinter() {
  const home = dirname(require.resolve("graphql-schema-linter/package.json"));
  const { run } = require(join(home, "lib", "runner.js"));
  const rules = readdirSync(join(home, "lib", "rules")).map((f) => f.replace(".js", "").replaceAll("_", "-"));
  for (const name of OFF.filter((rule) => !rules.includes(rule)))
    say("graphql-schema-linter", name, 0, "There is no such rule");
  const wanted = rules.filter((rule) => !OFF.includes(rule));
  let printed = "";
  const out = { write: (text) => Boolean((printed += text)) };
  await run(out, process.stdin, out, ["node", "lint", "--format", "json", "--rules", wanted.join(","), sdl]);
  for (const { rule, location, message } of JSON.parse(printed).errors)
    say("graphql-schema-linter", rule, location.line, message);
}

await eslint();
await schemaLinter();
