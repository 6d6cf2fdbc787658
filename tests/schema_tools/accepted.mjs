// A rule of graphql-inspector: breaking changes that schema/accepted_changes.json names are let through.
// An entry that names no change any more is an error, so that the list is empty after each release.
import { readFileSync } from "node:fs";

const place = process.env.ACCEPTED_CHANGES ?? new URL("../../schema/accepted_changes.json", import.meta.url);

// As the tool prints it, which drops the quotes.
const printed = ({ message }) => message.replaceAll("'", "");

export default function accepted({ changes }) {
  const entries = JSON.parse(readFileSync(place, "utf8"));
  for (const entry of entries) {
    if (!entry.reason) throw new Error(`An accepted change needs a reason: ${entry.change}`);
    if (!changes.some((one) => printed(one) === entry.change))
      throw new Error(`Accepted, but there is no such change: ${entry.change}`);
  }
  const named = new Set(entries.map(({ change }) => change));
  return changes.map((one) =>
    named.has(printed(one)) ? { ...one, criticality: { ...one.criticality, level: "DANGEROUS" } } : one,
  );
}
