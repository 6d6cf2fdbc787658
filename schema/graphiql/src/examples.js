// The tabs that a first visit opens. Names are those of the demo world; its passwords are all `oc`.
const ME = `# Who is asking? Answers null until a token stands in the Headers tab below:
# sign in with the SignIn tab, then put its token there.
query Me {
  me {
    id
    slug
    name
  }
}
`;

const ME_HEADERS = `{
  // "Authorization": "Bearer <the token of signIn>"
}
`;

const SIGN_IN = `# Answers a session token. To use it, write in the Headers tab (below) of any query:
#   { "Authorization": "Bearer <token>" }
# Headers are forgotten when the page is closed, unless the settings say otherwise.
mutation SignIn {
  signIn(input: { email: "xdamman@commonweal.test", password: "oc" }) {
    user {
      slug
      name
    }
    session {
      token
      expiresAt
    }
    errors {
      code
      message
    }
  }
}
`;

const COLLECTIVE = `# A collective and what it holds, one balance for each currency.
query Collective {
  collective(slug: "webpack") {
    id
    name
    currency
    balances {
      currency
      available {
        value
      }
    }
  }
}
`;

const FEED = `# The newest transactions. For the next page, give endCursor as \`after\`.
query Feed {
  transactions(first: 20) {
    nodes {
      id
      kind
      amount {
        value
        currency
      }
      fromCollective {
        slug
      }
      toCollective {
        slug
      }
      createdAt
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
`;

export const EXAMPLES = [
  { query: ME, headers: ME_HEADERS },
  { query: SIGN_IN },
  { query: COLLECTIVE },
  { query: FEED },
];
