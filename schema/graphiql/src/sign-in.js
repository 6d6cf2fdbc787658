// The sign-in page: password, second factor and passkeys, over the same API that everybody uses.
import { startAuthentication, startRegistration } from "@simplewebauthn/browser";

import "../../server/pages.css";
import "./sign-in.css";

const texts = JSON.parse(document.documentElement.dataset.texts);
/** Says an English text in the reader's language, with values in the place of its {names}. */
const say = (text, values = {}) =>
  (texts[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

const find = (selector) => document.querySelector(selector);
const sections = ["#sign-in", "#factor", "#account"].map(find);
const CONFIRM = "CONFIRMATION_REQUIRED";

class Refused extends Error {
  constructor({ message, code, ways }) {
    super(message);
    Object.assign(this, { code, ways });
  }
}

/** Asks the API as who the browser is signed in as; a new session is kept in a cookie no script can read. */
async function ask(query, variables) {
  const answer = await fetch("graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json", "Commonweal-Cookie": "1" },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await answer.json();
  if (errors) {
    throw new Refused({ message: errors[0].message, ...errors[0].extensions });
  }
  return data;
}

/** Runs one mutation and returns its payload. */
async function act(name, fields, input) {
  const type = `${name[0].toUpperCase()}${name.slice(1)}Input`;
  const [head, given] = input === undefined ? ["", ""] : [`($input: ${type}!)`, "(input: $input)"];
  const query = `mutation${head} { ${name}${given} { ${fields} errors { message code } } }`;
  const payload = (await ask(query, { input }))[name];
  if (payload.errors.length > 0) {
    throw new Refused(payload.errors[0]);
  }
  return payload;
}

function show(section) {
  sections.forEach((each) => (each.hidden = each !== section));
  section.querySelector("h2").focus();
}

let running = 0;

/** Says that work is going on, so that nobody presses a button twice. */
function setBusy(change) {
  running += change;
  find("main").setAttribute("aria-busy", String(running > 0));
  find("#working").textContent = running > 0 ? say("One moment …") : "";
  document.querySelectorAll("main button").forEach((button) => (button.disabled = running > 0));
}

/** Runs what a person asked for; says what went wrong, and asks to confirm where that is needed. */
async function attempt(work) {
  find("#problem").textContent = "";
  find("#done").textContent = "";
  setBusy(1);
  try {
    await work();
  } catch (problem) {
    if (problem.code === CONFIRM) {
      showFactor(problem.ways, undefined, () => attempt(work));
    } else {
      find("#problem").textContent = say(problem.message);
    }
  } finally {
    setBusy(-1);
  }
}

const on = (selector, event, work) =>
  find(selector).addEventListener(event, (happened) => {
    happened.preventDefault();
    const given = happened.target instanceof HTMLFormElement ? fieldsOf(happened.target) : {};
    attempt(() => work(given));
  });

function fieldsOf(form) {
  const filled = [...new FormData(form)].filter(([, value]) => value !== "");
  form.querySelectorAll("input:not([type=email])").forEach((input) => (input.value = ""));
  return Object.fromEntries(filled);
}

// --- signing in, and showing a factor ---

let pending = null;

/** Asks for a factor: to complete the sign-in of a challenge, or to confirm the session. */
function showFactor(ways, challenge, then) {
  pending = { challenge, then };
  const form = find("#factor");
  form.querySelectorAll("[data-way]").forEach((each) => (each.hidden = !ways.includes(each.dataset.way)));
  show(form);
}

async function giveFactor(given) {
  const { challenge, then } = pending;
  if (challenge === undefined) {
    await act("confirmSession", "session { id }", given);
  } else {
    await act("completeSignIn", "session { expiresAt }", { challenge, ...given });
  }
  await showAccount();
  await then?.();
}

on("#sign-in", "submit", async (given) => {
  const payload = await act("signIn", "session { expiresAt } challenge { token ways }", given);
  if (payload.challenge) {
    showFactor(payload.challenge.ways, payload.challenge.token);
  } else {
    await showAccount();
  }
});

on("#sign-in [data-act=passkey]", "click", async () => {
  const { options } = await act("beginPasskeySignIn", "options", {});
  const answer = await startAuthentication({ optionsJSON: JSON.parse(options) });
  await act("signInWithPasskey", "session { expiresAt }", { credential: JSON.stringify(answer) });
  await showAccount();
});

on("#factor", "submit", giveFactor);

on("#factor [data-act=passkey]", "click", async () => {
  const { challenge } = pending;
  const { options } = await (challenge === undefined
    ? act("beginPasskeyConfirmation", "options")
    : act("beginPasskeySignIn", "options", { challenge }));
  const answer = await startAuthentication({ optionsJSON: JSON.parse(options) });
  await giveFactor({ passkey: JSON.stringify(answer) });
});

on("#factor [data-act=back]", "click", () => start());

// --- the account ---

function showCodes(codes) {
  if (codes.length > 0) {
    find("#codes ul").replaceChildren(...codes.map((code) => element("li", code)));
    find("#codes").hidden = false;
  }
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function passkeyItem({ id, name }) {
  const item = element("li", `${name} `);
  const button = element("button", say("Remove"));
  button.type = "button";
  button.setAttribute("aria-label", say("Remove the passkey {name}", { name }));
  button.addEventListener("click", () =>
    attempt(async () => {
      await act("removePasskey", "passkey { id }", { id });
      await showAccount(say("The passkey is removed."));
    }),
  );
  item.append(button);
  return item;
}

async function showAccount(done = "") {
  const { me, passkeys, secondFactors } = await ask(
    "{ me { name slug } passkeys { id name } secondFactors { totpSince recoveryCodesLeft } }",
  );
  if (!me) {
    show(find("#sign-in"));
    return;
  }
  find("#viewer").textContent = `${me.name} (${me.slug})`;
  find("#passkeys").replaceChildren(...passkeys.map(passkeyItem));
  const hasApp = Boolean(secondFactors?.totpSince);
  find("#app").textContent = hasApp
    ? say("In use. Recovery codes left: {count}.", { count: secondFactors.recoveryCodesLeft })
    : say("Not set up.");
  find("[data-act=enroll]").hidden = hasApp;
  find("[data-act=disable]").hidden = !hasApp;
  find("#activate").hidden = true;
  find("#done").textContent = done;
  show(find("#account"));
}

on("#add-passkey", "submit", async ({ name }) => {
  const { options } = await act("beginPasskeyRegistration", "options");
  const answer = await startRegistration({ optionsJSON: JSON.parse(options) });
  const credential = JSON.stringify(answer);
  const { recoveryCodes } = await act("registerPasskey", "recoveryCodes", { credential, name });
  await showAccount(say("The passkey is added."));
  showCodes(recoveryCodes);
});

on("[data-act=enroll]", "click", async () => {
  const { secret, qrCode } = await act("enrollTotp", "secret qrCode");
  find("#qr").src = qrCode;
  find("#secret").textContent = secret;
  find("#activate").hidden = false;
  find("#activate input").focus();
});

on("#activate", "submit", async ({ code }) => {
  const { recoveryCodes } = await act("activateTotp", "recoveryCodes", { code });
  await showAccount(say("The authenticator app is your second factor."));
  showCodes(recoveryCodes);
});

on("[data-act=disable]", "click", async () => {
  await act("disableTotp", "");
  await showAccount(say("The authenticator app is removed."));
});

on("[data-act=sign-out]", "click", async () => {
  await act("signOut", "user { slug }");
  find("#codes").hidden = true;
  await start();
});

/** Goes on with a sign-in that began at a provider: what it still needs stands behind the #. */
function takeOver() {
  const given = new URLSearchParams(location.hash.slice(1));
  const [challenge, ways] = [given.get("challenge"), given.get("ways")];
  if (challenge && ways) {
    history.replaceState(null, "", location.pathname);
    showFactor(ways.split(","), challenge);
  }
  return Boolean(challenge && ways);
}

async function offerProviders() {
  const { signInProviders } = await ask("{ signInProviders { label path } }");
  const links = signInProviders.map(({ label, path }) => {
    const link = element("a", say("Sign in with {label}", { label }));
    link.href = `${path}?next=/sign-in`;
    return link;
  });
  find("#providers").replaceChildren(...links);
}

async function start() {
  await Promise.allSettled([offerProviders()]);
  if (takeOver()) {
    return;
  }
  try {
    await showAccount();
  } catch {
    show(find("#sign-in")); // an old session that is over
  }
}

attempt(start);
