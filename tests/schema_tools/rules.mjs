// graphql-eslint over the committed SDL: every rule for schemas, and every rule of Relay's conventions.
// What is off or loosened has its reason beside it; single places are excepted in lint.mjs.
import graphql from "@graphql-eslint/eslint-plugin";

// Values and results without an identity of their own; everything else has an `id` and is a Node.
const VALUES = {
  types: [
    "Amount", "Balance", "FxRate", "HoursSum", "IssuanceCap", "PlatformPolicy", // figures at a moment
    "Currency", // its code identifies it
    "CommunityStats", "IssuerLiability", "LeaderboardEntry", "LiabilityReport", "WaitingHours", // reports
    "AccountStatement", "Clearing", "ClearingDebt", // reports on accounts
    "LedgerAudit", "LedgerAuditCheck", "Posting", // the book's lines, by account and seq
    "Attendance", "OrderAction", "OrderItem", "Settlement", // parts of an event or an order
    "BalanceChanged", "EventCheckIn", "OrderChanged", "TransactionPosted", // what happened, and where in the order
    "MutationError", "PageInfo", "RateLimit", "Session", "SignInChallenge", // of one answer
    "SecondFactors", // a person's own, of which there is one
    "ActValue", "Approval", // parts of an act or an order
    "ApprovalPolicy", // of one collective, by its currency
    "SignInProvider", "Tag", // its name identifies it
    "Card", "WaitingPayment", // of one gift, and of one order
    "Goal", // of one collective, by its kind
    "DonationQuote", // figures at a moment
    "PaymentInstructions", // of an order, which has the id
    "Highlight", "HighlightPart", // parts of a search result
  ],
  suffixes: ["Connection", "Edge", "Payload", "Result"],
};

export const schemaConfig = (schema) => [
  {
    files: ["**/*.graphql"],
    languageOptions: { parser: graphql.parser, parserOptions: { graphQLConfig: { schema } } },
    plugins: { "@graphql-eslint": graphql },
    rules: {
      ...graphql.configs["flat/schema-all"].rules,
      ...graphql.configs["flat/schema-relay"].rules,

      // Types are printed by the alphabet already; members stand as a person reads them, the id first.
      "@graphql-eslint/alphabetize": "off",
      // Forbids the root types that an API needs in order to write and to tell what happens.
      "@graphql-eslint/no-root-type": "off",
      // A mutation holds its locks on the ledger until its answer is made: what else is to be read is
      // asked for by the next request.
      "@graphql-eslint/require-field-of-type-query-in-mutation-result": "off",
      // Wants an argument `deletionDate` that `@deprecated` has not; the date stands in the reason, which
      // tests/schema/test_schema_quality.py checks.
      "@graphql-eslint/require-deprecation-date": "off",
      // Lists in order of time are read forward; `orderBy` turns them round.
      "@graphql-eslint/relay-arguments": ["error", { includeBoth: false }],
      // Bounded lists are plain; those that grow are connections.
      "@graphql-eslint/relay-edge-types": [
        "error",
        { withEdgeSuffix: true, shouldImplementNode: true, listTypeCanWrapOnlyEdgeType: false },
      ],
      "@graphql-eslint/strict-id-in-types": [
        "error",
        { acceptedIdNames: ["id"], acceptedIdTypes: ["ID"], exceptions: VALUES },
      ],
    },
  },
];
