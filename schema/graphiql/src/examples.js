// The tabs that a first visit opens, narrow enough for half a screen. Names are those of the demo
// world; its passwords are all `oc`.
const ME = `# Who is asking? null until you sign in: in the
# panel Account, at the left, or by a token in
# the Headers tab, below.
query Me {
  me {
    id
    slug
    name
  }
}
`;

const SIGN_IN = `# For programs. Answers a session token. To use
# it, put it in the Headers tab (below) of the
# other queries:
#   { "Authorization": "Bearer <token>" }
# Headers are forgotten with the page.
mutation SignIn {
  signIn(
    input: {
      email: "xdamman@commonweal.test"
      password: "oc"
    }
  ) {
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

const COLLECTIVE = `# A collective and what it holds: a balance
# for each currency.
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

const FEED = `# The newest transactions. For the next page
# add the argument after: <endCursor>.
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

// What the headers editor of every new tab holds; comments are allowed there.
export const HEADERS = `{
  // "Authorization": "Bearer <token of signIn>"
}
`;

export const EXAMPLES = [ME, SIGN_IN, COLLECTIVE, FEED].map((query) => ({ query }));
