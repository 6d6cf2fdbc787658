// A page that takes a gift, without a build and without a framework: everything it does is GraphQL that any site can do.
const PAGE = `query($slug: String!) { me { slug name } collective(slug: $slug) { name description currency
  host { slug ... on Nonprofit { paymentMethods { id name type provider } }
    ... on Business { paymentMethods { id name type provider } } }
  ... on Community { tiers { id name type interval amount { value } isArchived } }
  ... on Nonprofit { tiers { id name type interval amount { value } isArchived } } } }`;
const QUOTE = `query($to: CollectiveRef!, $amount: AmountInput!, $payWith: PaymentMethodRef, $tip: AmountInput) {
  donationQuote(to: $to, amount: $amount, payWith: $payWith, tip: $tip) { processorFee { value currency }
    platformFee { value currency } hostFee { value currency } net { value currency } total { value currency } } }`;
const FIELDS = `order { id status } clientSecret redirectUrl providerAccount
  paymentInstructions { reference amount { value currency } accountHolder iban qrCode } errors { message }`;
const GUEST = `mutation($i: DonateAsGuestInput!) { gift: donateAsGuest(input: $i) { ${FIELDS} } }`;
const MEMBER = `mutation($i: DonateInput!) { gift: donate(input: $i) { ${FIELDS} } }`;
const STATUS = "query($id: ID!) { order(id: $id) { status } }";
const DUE = `query($id: ID!) { order(id: $id) { status
  waitingPayment { provider account clientSecret amount { value currency } } } }`;

const $ = (id) => document.getElementById(id);
const slug = decodeURIComponent(location.pathname.split("/").pop());
const key = crypto.randomUUID();
const state = { me: null, currency: "", asked: 0, providers: {}, given: "" };
const stripeKey = document.querySelector('meta[name="stripe-key"]')?.content; // only where Stripe is offered
const { lang, dataset } = document.documentElement;
const texts = JSON.parse(dataset.texts);

/** Returns an English text in the reader's language, with its values. */
const say = (text, values = {}) =>
  (texts[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
const complain = (error) => { $("problem").textContent = say(error.message); };

async function ask(query, variables) {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/graphql-response+json" },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  if (!data || errors?.length) throw new Error(errors[0].message);
  return data;
}

const entered = (id) => $(id).value.trim();
const moneyOf = (id) => ({
  value: lang === "en" ? entered(id) : entered(id).replace(",", "."),
  currency: state.currency,
});
const amount = () => moneyOf("amount");
const tip = () => (entered("tip") ? moneyOf("tip") : null);
const payWith = () => ($("method").value === "MANUAL" ? { type: "MANUAL" } : { id: $("method").value });
const isCard = () => $("method").value !== "MANUAL";
const provider = () => state.providers[$("method").value];
const decimals = (value) => value.split(".")[1]?.length ?? 0;
const number = (value) => Number(value).toLocaleString(lang, { minimumFractionDigits: decimals(value) });
const text = (money) => `${number(money.value)} ${money.currency}`;

function option(select, value, label) {
  const element = document.createElement("option");
  element.value = value;
  element.textContent = label;
  select.append(element);
}

async function showQuote() {
  const asked = ++state.asked;
  $("card").hidden = provider() !== "FAKE";
  try {
    const wanted = { to: { slug }, amount: amount(), payWith: payWith(), tip: tip() };
    const { donationQuote: quote } = await ask(QUOTE, wanted);
    if (asked !== state.asked) return;
    const total = tip() ? `${say("You pay {total} with the tip.", { total: text(quote.total) })} ` : "";
    $("quote").textContent = total + say("{net} arrive. Fees: payment {payment}, host {host}, platform {platform}.", {
      net: text(quote.net),
      payment: text(quote.processorFee),
      host: text(quote.hostFee),
      platform: text(quote.platformFee),
    });
  } catch (error) {
    if (asked === state.asked) $("quote").textContent = say(error.message);
  }
}

function chooseTier(tier) {
  if (tier?.amount) $("amount").value = tier.amount.value;
  $("incognito").disabled = tier?.type === "TICKET"; // which registers its holder by name
  if ($("incognito").disabled) $("incognito").checked = false;
  if (!state.me) return showQuote(); // guests give once
  $("interval").disabled = Boolean(tier?.interval) || ["TICKET", "PRODUCT"].includes(tier?.type);
  if ($("interval").disabled) $("interval").value = tier.interval ?? "";
  return showQuote();
}

function beginAnew() {
  $("gift").dataset.try = Number($("gift").dataset.try) + 1;
}

// After a lost answer the key stays, so that a second click is the same gift; what was changed is another one.
function withKey(gift) {
  const given = JSON.stringify(gift);
  if (state.given && state.given !== given) beginAnew();
  state.given = given;
  return { ...gift, idempotencyKey: key + $("gift").dataset.try };
}

async function give(event) {
  event.preventDefault();
  $("problem").textContent = "";
  $("give").disabled = true;
  try {
    const input = { to: { slug }, amount: amount(), payWith: payWith() };
    if (tip()) input.platformTip = tip();
    if ($("tier").value) input.tier = $("tier").value;
    if ($("incognito").checked) input.isIncognito = true;
    const repeated = $("interval").value ? { interval: $("interval").value } : {};
    const guest = () => ({ ...input, email: $("email").value, name: $("name").value });
    const { gift } = state.me
      ? await ask(MEMBER, { i: withKey({ ...input, ...repeated, from: { slug: state.me.slug } }) })
      : await ask(GUEST, { i: withKey(guest()) });
    if (gift.errors.length) {
      beginAnew(); // nothing was stored
      throw new Error(gift.errors.map((error) => say(error.message)).join(" "));
    }
    if (gift.redirectUrl) return location.assign(gift.redirectUrl);
    if (gift.paymentInstructions) return showTransfer(gift.paymentInstructions);
    await (provider() === "STRIPE" ? showStripe(gift) : pay(gift, false));
  } catch (error) {
    complain(error);
  } finally {
    $("give").disabled = false;
  }
}

// A period of a recurring gift that the bank refused, or wants confirmed: its giver pays with this or another card.
async function showDue(id) {
  const { order } = await ask(DUE, { id });
  if (order?.status === "PAID") return wait(id);
  const due = order?.waitingPayment;
  if (!due) throw new Error("Nothing waits here. Sign in as the giver, then open the link again.");
  $("result").textContent = say("Your gift of {amount} waits for you.", { amount: text(due.amount) });
  const gift = { order: { id }, clientSecret: due.clientSecret, providerAccount: due.account, isDue: true };
  if (due.provider === "STRIPE") return showStripe(gift);
  $("terms").hidden = true;
  $("card").hidden = $("gift").hidden = false;
  $("gift").onsubmit = (event) => {
    event.preventDefault();
    $("problem").textContent = "";
    pay(gift, false).catch(complain);
  };
}

async function pay(gift, stepDone) {
  const response = await fetch("/fake-provider/pay", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ clientSecret: gift.clientSecret, number: $("number").value, stepDone }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.errors[0].message);
  if (answer.outcome === "DECLINED") {
    beginAnew();
    throw new Error("The card was declined. Try another one.");
  }
  $("gift").hidden = true;
  $("step").hidden = answer.outcome !== "NEEDS_STEP";
  if (answer.outcome === "NEEDS_STEP") {
    $("confirm").onclick = () => pay(gift, true).catch(complain);
    return;
  }
  await showWait(gift.order.id, gift.isDue);
}

// Stripe's own form, in frames of Stripe's: what is typed there never reaches this page.
async function showStripe(gift) {
  await loadStripe();
  const stripe = Stripe(stripeKey, { stripeAccount: gift.providerAccount });
  const elements = stripe.elements({ clientSecret: gift.clientSecret });
  elements.create("payment").mount("#stripe-form");
  $("gift").hidden = true;
  $("stripe").hidden = false;
  const comeBack = new URL(`?order=${encodeURIComponent(gift.order.id)}&back=1`, location.href).href;
  $("stripe").onsubmit = async (event) => {
    event.preventDefault();
    $("problem").textContent = "";
    $("pay").disabled = true;
    const confirmParams = { return_url: comeBack };
    const { error } = await stripe.confirmPayment({ elements, confirmParams, redirect: "if_required" });
    $("pay").disabled = false;
    if (error) $("problem").textContent = error.message;
    else await showWait(gift.order.id, gift.isDue).catch(complain);
  };
}

function loadStripe() {
  if (window.Stripe) return Promise.resolve();
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = "https://js.stripe.com/v3/";
    script.onload = done;
    script.onerror = () => failed(new Error("Stripe's form cannot be loaded. Try again, or pay in another way."));
    document.head.append(script);
  });
}

async function showWait(id, wasRefused = false) {
  $("gift").hidden = $("stripe").hidden = true;
  $("result").textContent = say("The payment is on its way …");
  try {
    await wait(id, wasRefused);
  } catch (error) {
    $("result").textContent = "";
    throw error;
  }
}

/** Shows the form once more, under a new key; returns the problem for who throws it. */
function offerAnew(problem) {
  beginAnew();
  $("gift").hidden = false;
  showQuote();
  return new Error(problem);
}

// Only the provider's word pays the order, so the page asks for it, and stops after a while.
async function wait(id, wasRefused = false) {
  for (let tries = 0; tries < 60; tries++) {
    const { order } = await ask(STATUS, { id });
    if (order?.status === "PAID") {
      $("result").textContent = say("Thank you! Your donation is complete. The receipt comes by mail.");
      return;
    }
    if (order?.status === "FAILED" && !wasRefused) throw offerAnew("The payment was refused.");
    if (order?.status === "CANCELLED") throw offerAnew("This payment has ended, or there is none.");
    await new Promise((done) => setTimeout(done, 1000));
  }
  $("result").textContent = say(
    "The payment is not complete yet. The receipt comes by mail once it is; without one within a day, nothing was paid.",
  );
}

function showTransfer(instructions) {
  $("gift").hidden = true;
  $("due").textContent = text(instructions.amount);
  $("holder").textContent = instructions.accountHolder ?? say("as agreed with the host");
  $("iban").textContent = instructions.iban ?? say("as agreed with the host");
  $("reference").textContent = instructions.reference;
  if (instructions.qrCode) {
    $("code").src = instructions.qrCode;
    $("code").hidden = false;
  }
  $("transfer").hidden = false;
  $("result").textContent = $("interval").value
    ? say("Thank you! Please transfer the amount with this reference. A mail asks for each further transfer.")
    : say("Thank you! Please transfer the amount with this reference. The receipt comes by mail.");
}

async function start() {
  const { me, collective } = await ask(PAGE, { slug });
  if (!collective) throw new Error("There is no such collective.");
  if (!collective.host) throw new Error("This collective takes no donations now.");
  Object.assign(state, { me, currency: collective.currency });
  document.title = `${say("Give to {name}", { name: collective.name })} · Commonweal`;
  $("title").textContent = say("Give to {name}", { name: collective.name });
  $("about").textContent = collective.description ?? "";
  $("currency").textContent = $("tip-currency").textContent = collective.currency;
  const known = stripeKey ? ["FAKE", "STRIPE"] : ["FAKE"];
  for (const method of collective.host.paymentMethods ?? []) {
    if (!known.includes(method.provider)) continue;
    state.providers[method.id] = method.provider;
    option($("method"), method.id, method.name);
  }
  option($("method"), "MANUAL", say("Bank transfer"));
  for (const tier of collective.tiers ?? []) if (!tier.isArchived) option($("tier"), tier.id, tier.name);
  $("tier").onchange = () => chooseTier(collective.tiers.find((each) => each.id === $("tier").value));
  if (me) {
    $("guest").replaceChildren(say("You give as {name}.", { name: me.name }));
    $("repeats").hidden = false;
  }
  $("amount").oninput = $("tip").oninput = $("method").onchange = showQuote;
  $("gift").dataset.try = 0;
  $("gift").onsubmit = give;
  const asked = new URLSearchParams(location.search); // from a bank's page, or from a mail
  const order = asked.get("order");
  history.replaceState(null, "", location.pathname);
  if (asked.get("redirect_status") === "failed") throw offerAnew("The payment was refused.");
  if (order) return asked.has("back") ? showWait(order, true) : showDue(order);
  $("gift").hidden = false;
  await showQuote();
}

start().catch(complain);
