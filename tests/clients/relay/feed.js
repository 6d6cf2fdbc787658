// What the Relay client asks; relay-compiler reads the documents here, nothing runs this file.
import { graphql } from "relay-runtime";

graphql`
  query feedQuery($slug: String!, $count: Int!) {
    collective(slug: $slug) {
      id
      name
      ...feed_head
      ...feed_transactions @arguments(count: $count)
    }
  }
`;

// A page more is asked of the node itself: feedPageQuery is made by the compiler.
graphql`
  fragment feed_transactions on Collective
  @refetchable(queryName: "feedPageQuery")
  @argumentDefinitions(count: { type: "Int", defaultValue: 20 }, cursor: { type: "String" }) {
    transactions(first: $count, after: $cursor) @connection(key: "feed_transactions") {
      edges {
        node {
          id
          kind
          amount {
            value
            currency
          }
        }
      }
    }
  }
`;

graphql`
  fragment feed_head on Collective @refetchable(queryName: "feedHeadRefetchQuery") {
    id
    description
    balances {
      currency
      available {
        value
      }
    }
  }
`;

graphql`
  mutation feedDescribeMutation($input: UpdateCollectiveInput!) {
    updateCollective(input: $input) {
      collective {
        id
        description
      }
      errors {
        code
        path
      }
    }
  }
`;

graphql`
  query feedNamesQuery($after: String) {
    collectives(first: 100, after: $after) @connection(key: "feed_collectives") {
      edges {
        node {
          id
          slug
        }
      }
    }
  }
`;
