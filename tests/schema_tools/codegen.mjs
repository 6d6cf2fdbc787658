// What graphql-codegen is asked for: the types of the schema and of the sample operations.
// Scalars stand as they come in JSON: exact numbers and moments are strings.
const text = { input: "string", output: "string" };

const config = {
  strictScalars: true,
  useTypeImports: true,
  enumsAsTypes: true,
  scalars: {
    BigInt: text,
    CurrencyCode: text,
    Date: text,
    DateTime: text,
    Decimal: text,
    JSON: { input: "Record<string, unknown>", output: "Record<string, unknown>" },
  },
};

export default {
  schema: "../../schema/schema.graphql",
  documents: "operations/*.graphql",
  generates: {
    "node_modules/.generated/schema.ts": { plugins: ["typescript"], config },
    "node_modules/.generated/operations.ts": {
      plugins: ["typescript-operations", "typed-document-node"],
      config,
    },
  },
};
