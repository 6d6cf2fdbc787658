// Examples by section, each narrow enough for half a screen. Names are those of the demo world; its
// passwords are all `oc`.
const query = (name, about, text, variables) => ({
  name,
  about,
  query: `# ${about}\n${text.trim()}\n`,
  variables: variables ? `${JSON.stringify(variables, null, 2)}\n` : undefined,
});

export const SECTIONS = [
  {
    title: "Look around",
    examples: [
      query("Me", "Who is asking? null until you sign in.", `
query Me {
  me { id slug name }
}`),
      query("Collective", "A collective and what it holds, by currency.", `
query Collective($slug: String!) {
  collective(slug: $slug) {
    id
    name
    currency
    host { slug }
    balances { currency available { value } }
  }
}`, { slug: "webpack" }),
      query("Feed", "The newest transactions, a page at a time.", `
query Feed($first: Int!, $after: String) {
  transactions(first: $first, after: $after) {
    nodes {
      id
      kind
      amount { value currency }
      fromCollective { slug }
      toCollective { slug }
      createdAt
    }
    pageInfo { hasNextPage endCursor }
  }
}`, { first: 20, after: null }),
      query("Search", "Communities by a word of their names.", `
query Search($text: String!) {
  collectives(first: 10, filter: { search: $text, type: [COMMUNITY] }) {
    nodes { slug name tags }
  }
}`, { text: "web" }),
      query("Members", "Who belongs to a collective, and as what.", `
query Members($slug: String!, $roles: [MemberRole!]) {
  collective(slug: $slug) {
    members(role: $roles, first: 10) {
      nodes { role since member { slug name } }
    }
  }
}`, { slug: "webpack", roles: ["ADMIN", "BACKER"] }),
    ],
  },
  {
    title: "Give and pay",
    examples: [
      query("SignIn", "For programs: a token for the Headers tab. Here, the panel Account is enough.", `
mutation SignIn($input: SignInInput!) {
  signIn(input: $input) {
    user { slug name }
    session { token expiresAt }
    errors { code message }
  }
}`, { input: { email: "xdamman@commonweal.test", password: "oc" } }),
      query("Donate", "Sign in as xdamman first. dryRun stores nothing: remove it to give.", `
mutation Donate($input: DonateInput!) {
  donate(input: $input) {
    order {
      id
      status
      transactions {
        toCollectiveAmount { value currency }
        hostFeeInHostCurrency { value currency }
      }
    }
    errors { code message path }
  }
}`, {
        input: {
          from: { slug: "xdamman" },
          to: { slug: "webpack" },
          amount: { value: "1.00", currency: "USD" },
          description: "For the docs",
          dryRun: true,
        },
      }),
      query("SubmitExpense", "A bill for a collective to pay, tried out.", `
mutation SubmitExpense($input: SubmitExpenseInput!) {
  submitExpense(input: $input) {
    order { id status items { description amount { value } } }
    errors { code message path }
  }
}`, {
        input: {
          from: { slug: "webpack" },
          to: { slug: "xdamman" },
          items: [{ description: "Stickers", amount: { value: "12.50", currency: "USD" } }],
          dryRun: true,
        },
      }),
      query("Orders", "What a collective was promised and is asked for.", `
query Orders($slug: String!, $status: [OrderStatus!]) {
  collective(slug: $slug) {
    orders(first: 10, filter: { status: $status }) {
      nodes {
        id
        type
        status
        amount { value currency }
        from { slug }
        to { slug }
      }
    }
  }
}`, { slug: "webpack", status: ["PENDING", "APPROVED", "PAID"] }),
      query("MyHistory", "Your newest orders, with who did what.", `
query MyHistory($first: Int!) {
  me {
    orders(first: $first) {
      nodes {
        type
        status
        amount { value currency }
        actions { type at actor { slug } }
      }
    }
  }
}`, { first: 5 }),
    ],
  },
  {
    title: "Volunteer",
    examples: [
      query("Community", "Hours given, currents accepted, volunteers.", `
query Community($period: Period!) {
  communityStats(period: $period) {
    issued { value }
    accepted { value }
    activeVolunteers
  }
}`, { period: "ALL_TIME" }),
      query("Leaderboard", "Who gave or accepted most.", `
query Leaderboard($by: LeaderboardBy!, $period: Period!) {
  leaderboard(by: $by, period: $period, first: 10) {
    rank
    amount { value }
    collective { slug name }
  }
}`, { by: "VOLUNTEER", period: "ALL_TIME" }),
      query("Offers", "What businesses give for currents.", `
query Offers($search: String) {
  offers(first: 10, filter: { search: $search }) {
    nodes { id item currentsSharePercent business { slug name } }
  }
}`, { search: null }),
      query("Events", "Coming and past events of a nonprofit.", `
query Events($slug: String!, $from: DateTime) {
  collective(slug: $slug) {
    events(first: 10, from: $from) {
      nodes { slug name startsAt endsAt timezone }
    }
  }
}`, { slug: "greatdeeds", from: null }),
    ],
  },
  {
    title: "Know the rules",
    examples: [
      query("Currencies", "Currencies, and how many digits each has.", `
query Currencies {
  currencies { code name exponent kind }
}`),
      query("Rate", "An exchange rate, now or at a moment.", `
query Rate($from: CurrencyCode!, $to: CurrencyCode!, $at: DateTime) {
  fxRate(from: $from, to: $to, at: $at) { rate validFrom source }
}`, { from: "EUR", to: "USD", at: null }),
      query("Policy", "Fees and limits of this installation.", `
query Policy {
  platformPolicy {
    platformFeeBps
    usdPerCurrent
    checkInMinutes
    validFrom
  }
}`),
      query("Cost", "What a query costs, and what you have left.", `
query Cost {
  rateLimit { cost limit remaining resetAt }
}`),
    ],
  },
  {
    title: "Watch and run",
    examples: [
      query("Balances", "Live: run it, then give something in another tab.", `
subscription Balances($slug: String!) {
  balanceChanged(collective: { slug: $slug }) {
    balances { currency available { value } }
  }
}`, { slug: "xdamman" }),
      query("Books", "For admins of a host: the accounts of its book.", `
query Books($slug: String!) {
  collective(slug: $slug) {
    ... on Organization {
      ledgerAccounts { kind currency owner { slug } balance { value } }
    }
  }
}`, { slug: "commonweal" }),
    ],
  },
];

// What the headers editor of every new tab holds; comments are allowed there.
export const HEADERS = `{
  // "Authorization": "Bearer <token of signIn>"
}
`;

/** The query that a link asks for: ?query=, with ?variables=; or #q=, with #v=, which no server ever sees. */
export function linked() {
  const [search, hash] = [location.search, location.hash.slice(1)].map((text) => new URLSearchParams(text));
  const text = hash.get("q") ?? search.get("query");
  const variables = hash.get("v") ?? search.get("variables");
  return text ? { query: text, variables: variables ?? undefined } : undefined;
}
