// What the scripts of clients share: the requests that they make, recorded, and a sign-in.
export const [url] = process.argv.slice(2);

export function recording() {
  const requests = [];
  const fetchFn = async (address, options = {}) => {
    const body = options.body ? JSON.parse(options.body) : undefined;
    const response = await fetch(address, options);
    const { method = "GET" } = options;
    requests.push({ method, address: new URL(address), body, status: response.status });
    return response;
  };
  return { requests, fetchFn };
}

export async function signIn(email) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      query: "mutation($i: SignInInput!) { signIn(input: $i) { session { token } } }",
      variables: { i: { email, password: "oc" } },
    }),
  });
  return (await response.json()).data.signIn.session.token;
}
