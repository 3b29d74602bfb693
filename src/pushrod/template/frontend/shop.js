// The page: it gets everything from the API and keeps only what it shows.
//
// Basket and login are in the session, on the server. An order keeps its key until it is answered, so that a retry, by a
// click or automatic, never orders twice. Status changes arrive as server-sent events.

const CURRENCY = "EUR";
const DRAWN = new Set(["blanket", "chair", "clock", "desk", "lamp", "mug", "plant"]); // in pictures.svg
const STATUSES = ["placed", "paid", "packed", "shipped"];

const by = (id) => document.getElementById(id);
const money = new Intl.NumberFormat("en", { style: "currency", currency: CURRENCY });
const price = (cents) => money.format(cents / 100);
const day = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

const products = new Map(); // by id
const orders = new Map(); // by id
let session = { email: null, csrf: "" };
let basket = new Map(); // how many, by product id
let next = null; // where the next page of the catalogue starts
let events = null;

// ---- the API ---------------------------------------------------------------------------------------------------

class Problem extends Error {
  constructor(status, body) {
    const text = body.detail || body.title || "that did not work; please try again";
    super(`${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`);
    this.status = status;
    this.body = body;
  }
}

// Repeats a request that is safe to repeat while the server is unavailable; refreshes a form's token once.

async function ask(method, path, body, headers = {}) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await askOnce(method, path, body, headers);
    } catch (problem) {
      if (problem.status === 403 && method !== "GET" && attempt === 1) {
        session = await askOnce("GET", "/session"); // a login in another window changed the token
        continue;
      }
      const passing = !problem.status || problem.status >= 500; // no connection, or the server is unavailable
      const repeatable = method !== "POST" || headers["Idempotency-Key"];
      if (!passing || !repeatable || attempt === 4) throw problem;
      await new Promise((done) => setTimeout(done, 300 * 2 ** attempt));
    }
  }
}

async function askOnce(method, path, body, headers = {}) {
  const request = {
    method,
    headers: {
      ...(body !== undefined && { "Content-Type": "application/json" }),
      ...(method !== "GET" && { "X-CSRF-Token": session.csrf }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  };
  const response = await fetch(`/api${path}`, request).catch(() => {
    throw new Problem(0, { detail: "the shop cannot be reached; please try again" });
  });
  if (response.ok) return response.status === 204 ? null : response.json();
  throw new Problem(response.status, await response.json().catch(() => ({})));
}

// ---- the catalogue ---------------------------------------------------------------------------------------------

async function loadProducts(after = "") {
  const page = await ask("GET", `/products?limit=24${after && `&after=${encodeURIComponent(after)}`}`);
  for (const product of page.items) products.set(product.id, product);
  next = page.next;
  by("more").hidden = !next;
  by("products").setAttribute("aria-busy", "false");
  showProducts();
}

function showProducts() {
  const list = by("products");
  const shown = new Map([...list.children].map((item) => [Number(item.dataset.id), item]));
  for (const product of products.values()) {
    const item = shown.get(product.id) ?? list.appendChild(newProduct(product));
    item.querySelector("h2").textContent = product.name;
    item.querySelector(".price").textContent = price(product.price_cents);
    const stock = item.querySelector(".stock");
    stock.textContent = product.stock > 3 ? "In stock" : product.stock > 0 ? `Only ${product.stock} left` : "Sold out";
    stock.classList.toggle("few", product.stock <= 3);
    item.querySelector("button").disabled = product.stock === 0;
  }
}

function newProduct(product) {
  const item = by("product").content.firstElementChild.cloneNode(true);
  item.dataset.id = product.id;
  item.querySelector("use").setAttribute("href", `/pictures.svg#${picture(product)}`);
  item.querySelector(".hidden").textContent = ` ${product.name} to the basket`;
  item.querySelector("button").addEventListener("click", () => add(product.id, 1));
  return item;
}

function picture(product) {
  const word = (product.picture ?? product.name.split(" ").at(-1)).toLowerCase();
  return DRAWN.has(word) ? word : "parcel";
}

// ---- the basket ------------------------------------------------------------------------------------------------

const items = () => [...basket].map(([product_id, quantity]) => ({ product_id, quantity }));

async function loadBasket() {
  keepBasket(await ask("GET", "/basket"));
  const unknown = [...basket.keys()].filter((id) => !products.has(id));
  await Promise.all(
    unknown.map(async (id) => products.set(id, await ask("GET", `/products/${id}`).catch(() => undefined))),
  );
  for (const id of unknown) if (!products.get(id)) products.delete(id);
  showBasket();
}

function keepBasket(answer) {
  basket = new Map(answer.items.map((item) => [item.product_id, item.quantity]));
}

let saving = Promise.resolve(); // one change at a time, so that the last click wins

async function add(id, change) {
  await known;
  const quantity = (basket.get(id) ?? 0) + change;
  if (quantity > 0) basket.set(id, quantity);
  else basket.delete(id);
  showBasket();
  say(`${products.get(id)?.name}: ${Math.max(quantity, 0)} in the basket`);
  saving = saving.then(() => ask("PUT", "/basket", { items: items() })).catch(complain);
}

function showBasket() {
  const lines = [...basket].filter(([id]) => products.has(id));
  const list = by("lines");
  const focused = document.activeElement?.closest?.("[data-id]")?.dataset.id;
  const button = document.activeElement?.classList.contains("less") ? ".less" : ".more";
  list.replaceChildren(...lines.map(([id, quantity]) => newLine(products.get(id), quantity)));
  if (focused && list.querySelector(`[data-id="${focused}"]`)) list.querySelector(`[data-id="${focused}"] ${button}`).focus();
  const count = lines.reduce((sum, [, quantity]) => sum + quantity, 0);
  by("basket-count").textContent = count;
  by("basket-count").hidden = count === 0;
  by("basket-empty").hidden = count > 0;
  by("basket-full").hidden = count === 0;
  by("total").textContent = price(lines.reduce((sum, [id, n]) => sum + n * products.get(id).price_cents, 0));
}

function newLine(product, quantity) {
  const item = by("line").content.firstElementChild.cloneNode(true);
  item.dataset.id = product.id;
  item.querySelector(".name").textContent = product.name;
  item.querySelector(".amount").textContent = price(quantity * product.price_cents);
  item.querySelector("[role=group]").setAttribute("aria-label", `How many: ${product.name}`);
  item.querySelector("output").textContent = quantity;
  for (const [name, change, label] of [["less", -1, "One less"], ["more", 1, "One more"]]) {
    const step = item.querySelector(`.${name}`);
    step.setAttribute("aria-label", `${label}: ${product.name}`);
    step.addEventListener("click", () => add(product.id, change));
  }
  return item;
}

// ---- checkout --------------------------------------------------------------------------------------------------

// Kept as long as the tab, so that a reload between the click and the answer retries with the same key.
function orderKey(body) {
  const kept = JSON.parse(sessionStorage.getItem("order") ?? "{}");
  if (kept.body === body) return kept.key;
  // Not randomUUID(), which a page without TLS does not have.
  const key = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem("order", JSON.stringify({ body, key }));
  return key;
}

async function placeOrder() {
  await saving;
  const body = { items: items() };
  try {
    const order = await ask("POST", "/orders", body, { "Idempotency-Key": orderKey(JSON.stringify(body)) });
    sessionStorage.removeItem("order");
    return order;
  } catch (problem) {
    if (problem.status < 500) sessionStorage.removeItem("order"); // refused; otherwise the outcome is unknown
    throw problem;
  }
}

async function checkout() {
  by("checkout-problem").textContent = "";
  if (!session.email) return openAccount(true);
  const button = by("checkout");
  button.disabled = true;
  try {
    const order = await placeOrder();
    basket = new Map();
    saving = saving.then(() => ask("PUT", "/basket", { items: [] })).catch(complain);
    showBasket();
    keepOrder(order);
    say(`Order ${order.id} is placed.`);
    by("orders").focus({ preventScroll: true });
    by("orders").scrollIntoView({ block: "nearest" });
  } catch (problem) {
    if (problem.status === 401) return openAccount(true); // the session is over
    by("checkout-problem").textContent = problem.status === 409 ? shortage(problem) : problem.message;
  } finally {
    button.disabled = false;
  }
  await loadProducts();
}

function shortage(problem) {
  const lines = (problem.body.items ?? []).map(({ product_id, stock }) => {
    const name = products.get(product_id)?.name ?? "product";
    return stock ? `${name}: only ${stock} left.` : `${name}: sold out.`;
  });
  return lines.join(" ") || problem.message;
}

// ---- orders and their events -----------------------------------------------------------------------------------

async function loadOrders() {
  const page = await ask("GET", "/orders");
  for (const order of page.items ?? page) keepOrder(order);
  showOrders();
}

// A status never goes back: a response may be older than an event that arrived meanwhile.
function keepOrder(order) {
  const known = orders.get(order.id);
  const later = known && STATUSES.indexOf(known.status) > STATUSES.indexOf(order.status);
  orders.set(order.id, { ...known, ...order, ...(later && { status: known.status }) });
  showOrders();
}

function showOrders() {
  by("orders-note").hidden = orders.size > 0;
  by("orders-note").textContent = session.email ? "No orders yet." : "Sign in to see your orders.";
  const newest = [...orders.values()].sort((a, b) => b.created_at.localeCompare(a.created_at)).slice(0, 10);
  by("order-list").replaceChildren(...newest.map(newOrder));
}

function newOrder(order) {
  const item = by("order").content.firstElementChild.cloneNode(true);
  item.dataset.id = order.id;
  item.dataset.status = order.status;
  item.querySelector("strong").textContent = `Order ${order.id}`;
  item.querySelector(".what span").textContent = price(order.total_cents);
  item.querySelector(".when").textContent = day.format(new Date(order.created_at));
  const reached = STATUSES.indexOf(order.status);
  for (const [at, step] of [...item.querySelectorAll(".progress li")].entries()) {
    step.classList.toggle("done", at < reached);
    if (at === reached) step.setAttribute("aria-current", "step");
  }
  return item;
}

function listen() {
  events = new EventSource("/api/events"); // the browser reconnects on its own, with Last-Event-ID
  events.addEventListener("open", () => {
    by("live").hidden = false;
    loadOrders().catch(complain);
    loadRelease();
  });
  events.addEventListener("order", ({ data }) => {
    const { order_id: id, status } = JSON.parse(data);
    if (!orders.has(id)) return loadOrders().catch(complain);
    keepOrder({ id, status });
    return say(`Order ${id} is ${status}.`);
  });
  events.addEventListener("error", ({ target }) => {
    by("live").hidden = true;
    if (target.readyState === EventSource.CLOSED && target === events) setTimeout(refresh, 2000); // refused
  });
}

function stopListening() {
  events?.close();
  events = null;
  by("live").hidden = true;
}

// ---- the account -----------------------------------------------------------------------------------------------

let ordering = false; // whether the visitor was about to order when asked to log in

function openAccount(toOrder = false) {
  ordering = toOrder;
  by("account-problem").textContent = "";
  by("account").showModal();
}

async function enter(event) {
  event.preventDefault();
  const path = event.submitter?.id === "register" ? "/users" : "/session";
  const body = { email: by("email").value, password: by("password").value };
  try {
    await saving;
    await ask("POST", path, body);
  } catch (problem) {
    by("account-problem").textContent = problem.message;
    return;
  }
  by("password").value = "";
  by("account").close();
  await refresh();
  say(`Signed in as ${session.email}.`);
  if (ordering && basket.size) await checkout();
}

async function leave() {
  await ask("DELETE", "/session").catch(complain);
  await refresh();
  say("Signed out.");
}

// Everything that depends on the visitor: session, basket, orders, events.
async function refresh() {
  stopListening();
  try {
    session = await ask("GET", "/session");
    by("sign-in").hidden = Boolean(session.email);
    by("sign-out").hidden = by("who").hidden = !session.email;
    by("who").textContent = session.email ?? "";
    orders.clear();
    showOrders();
    await loadBasket();
    if (session.email) {
      await loadOrders();
      listen();
    }
  } catch (problem) {
    complain(problem);
    setTimeout(refresh, 3000);
  }
}

// ---- the page --------------------------------------------------------------------------------------------------

async function loadRelease() {
  const about = await ask("GET", "/").catch(() => ({}));
  const release = about.release ? ` · release ${about.release}` : "";
  by("release").textContent = `${about.message ?? ""}${release}`;
}

function say(text) {
  by("news").textContent = text;
}

function complain(problem) {
  by("catalogue-note").textContent = problem.message;
  by("catalogue-note").hidden = false;
}

by("sign-in").addEventListener("click", () => openAccount());
by("sign-out").addEventListener("click", leave);
by("close").addEventListener("click", () => by("account").close());
by("account-form").addEventListener("submit", enter);
by("checkout").addEventListener("click", checkout);
by("more").addEventListener("click", () => loadProducts(next).catch(complain));

const known = refresh(); // earlier clicks wait, or the loaded basket would undo them
loadProducts().then(showBasket).catch(complain);
loadRelease();
