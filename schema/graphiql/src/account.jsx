import { Button } from "@graphiql/react";
import { useEffect, useState } from "react";

import { perform } from "./fetcher.js";
import { useValue, viewer } from "./state.js";

const ME = "query Viewer { me { slug name } }";
const SIGN_IN = `mutation SignIn($input: SignInInput!) {
  signIn(input: $input) { user { slug name } challenge { ways } errors { message } }
}`;
const SIGN_OUT = "mutation SignOut { signOut { errors { message } } }";

/** Finds out who is signed in. A session that is over is told once: the answer clears its cookie. */
async function look() {
  try {
    viewer.set((await perform(ME)).me);
  } catch {
    viewer.set(null);
  }
}

async function signIn(input) {
  // The header has the session kept in a cookie, which no script can read, this one included.
  const { signIn: done } = await perform(SIGN_IN, { input }, { "Commonweal-Cookie": "1" });
  if (done.errors.length > 0) {
    throw new Error(done.errors[0].message);
  }
  if (done.challenge) {
    window.location.assign("sign-in"); // that page knows second factors
    return;
  }
  viewer.set(done.user);
}

async function signOut() {
  try {
    await perform(SIGN_OUT);
  } finally {
    await look(); // also where the session was over before
  }
}

function Form({ act, isBusy }) {
  const submit = (event) => {
    event.preventDefault();
    act(() => signIn(Object.fromEntries(new FormData(event.target))));
  };
  return (
    <form className="commonweal-form" onSubmit={submit}>
      <label>
        Email
        <input name="email" type="email" autoComplete="username" required />
      </label>
      <label>
        Password
        <input name="password" type="password" autoComplete="current-password" required />
      </label>
      <Button type="submit" disabled={isBusy}>
        {isBusy ? "Signing in …" : "Sign in"}
      </Button>
    </form>
  );
}

function Account() {
  const user = useValue(viewer);
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  useEffect(() => void look(), []);
  const act = async (work) => {
    setBusy(true);
    setProblem("");
    try {
      await work();
    } catch (error) {
      setProblem(error.message);
    } finally {
      setBusy(false);
    }
  };
  return (
    <section className="commonweal-panel" aria-busy={isBusy}>
      <h2>Account</h2>
      {user === undefined && <p role="status">Looking who you are …</p>}
      {user && (
        <>
          <p>
            Signed in as <b>{user.name}</b> ({user.slug}).
          </p>
          <Button type="button" disabled={isBusy} onClick={() => act(signOut)}>
            {isBusy ? "Signing out …" : "Sign out"}
          </Button>
        </>
      )}
      {user === null && <Form act={act} isBusy={isBusy} />}
      {problem && <p role="alert">{problem}</p>}
      <p className="commonweal-note">
        The browser keeps the session in a cookie. A token in the Headers tab goes before it.
      </p>
    </section>
  );
}

const Icon = () => (
  <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.8">
    <circle cx="12" cy="8" r="4" />
    <path d="M4 21c0-4.4 3.6-7 8-7s8 2.6 8 7" strokeLinecap="round" />
  </svg>
);

export const accountPlugin = { title: "Account", icon: Icon, content: Account };
