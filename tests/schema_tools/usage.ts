// How a program uses what graphql-codegen makes of the schema. It is compiled, never run; a line that must
// not compile says so.
import type { ResultOf, TypedDocumentNode, VariablesOf } from "@graphql-typed-document-node/core";
import {
  DonateDocument,
  FeedDocument,
  type CollectiveHeadFragment,
  type OrderStatus,
} from "./node_modules/.generated/operations.js";
import type { CreateOfferInput } from "./node_modules/.generated/schema.js";

declare function execute<Result, Variables>(
  document: TypedDocumentNode<Result, Variables>,
  variables: Variables,
): Promise<Result>;

export async function feed(after: string | null): Promise<string[]> {
  const { collective } = await execute(FeedDocument, { slug: "webpack", first: 20, after });
  if (!collective) return [];
  return (collective.transactions?.edges ?? []).map(({ node }) => {
    const line: string = `${node.createdAt} ${node.amount.value} ${node.amount.currency}`;
    // @ts-expect-error: money comes in exact strings, never in numbers
    const wrong: number = node.amount.minorUnits;
    // @ts-expect-error: what the viewer may not see is null
    const to: string = node.toCollective.slug;
    return [line, wrong, to].join(" ");
  });
}

export function kindOf(collective: CollectiveHeadFragment): string {
  // The type name tells which of the types it is, and with it which fields there are.
  switch (collective.__typename) {
    case "Event":
      return `until ${collective.endsAt}`;
    case "Business":
      return collective.offers?.nodes.map(({ item }) => item).join(", ") ?? "";
    default:
      // @ts-expect-error: others than events have no end
      return collective.endsAt;
  }
}

export async function donate(value: string): Promise<OrderStatus | undefined> {
  const input: VariablesOf<typeof DonateDocument>["input"] = {
    from: { slug: "xdamman" },
    to: { slug: "webpack" },
    amount: { value, currency: "USD" },
  };
  const result: ResultOf<typeof DonateDocument> = await execute(DonateDocument, { input });
  for (const { code, path } of result.donate.errors) console.log(code, path?.join("."));
  // @ts-expect-error: an amount has a currency
  const noCurrency: typeof input.amount = { value };
  return noCurrency ? undefined : result.donate.order?.status;
}

// What has a default may be left out.
export const offer: CreateOfferInput = { business: { id: "col_x" }, item: "Tea", currentsSharePercent: 50 };
// @ts-expect-error: a reference is an id or a slug, one of them
export const both: CreateOfferInput["business"] = { id: "col_x", slug: "greenbiz" };
