// Which section is shown, and how often it is asked for anew.

import { session, signOut } from "./api.js";
import { alert, h, loading, show, tell } from "./dom.js";
import { ask } from "./sign-in.js";
import { short } from "./format.js";
import * as accounts from "./accounts.js";
import * as call from "./call.js";
import * as calls from "./calls.js";
import * as letters from "./letters.js";
import * as limits from "./limits.js";
import * as overview from "./overview.js";

const SECTIONS = [
  ["overview", "Overview", overview],
  ["calls", "Calls", calls],
  ["dead-letters", "Dead letters", letters],
  ["limits", "Limits & breakers", limits],
  ["accounts", "Accounts", accounts],
];

const main = document.getElementById("main");
const sections = document.getElementById("sections");
const leave = document.getElementById("sign-out");

let reader = null;
let timer = 0;
/** Grows with every change of place, so that a late answer of another place is not shown. */
let turn = 0;

function place() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("?")[0].split("/");
  const section = SECTIONS.find(([one]) => one === name) ?? SECTIONS[0];
  const view = section[0] === "calls" && rest[0] ? call : section[2];
  return { name: section[0], title: section[1], view, argument: rest[0] ? decodeURIComponent(rest[0]) : "" };
}

function navigation(present) {
  show(sections, h("ul", { class: "wrap" }, SECTIONS.map(([name, title]) =>
    h("li", {}, h("a", { href: `#/${name}`, id: `to-${name}`, "aria-current": name === present ? "page" : null }, title)))));
}

function forgotten() {
  reader = null;
  clearTimeout(timer);
  turn += 1;
  sections.hidden = true;
  leave.hidden = true;
  document.getElementById("reader").textContent = "";
  document.title = "Console · Plugboard";
  ask(main, (found) => { reader = found; begin(); });
}

async function refresh(here, body, state, mine) {
  try {
    const shown = await here.view.load(state, reader, here.argument);
    if (mine !== turn) return;
    here.view.draw(body, shown, state, { reader, again: () => refresh(here, body, state, turn) });
    main.dataset.ready = here.name;
    // A reader who has scrolled through pages keeps them.
    schedule(here, body, state, mine);
  } catch (refused) {
    if (mine !== turn) return;
    if (refused.status === 401) return forgotten();
    if (!("status" in refused)) throw refused;
    show(body, alert(refused.message, h("p", {}, h("button", { type: "button", class: "button small quiet", on: { click: () => refresh(here, body, state, turn) } }, "Try again"))));
    main.dataset.ready = here.name;
    if (refused.status === 0 || refused.status === 503) schedule(here, body, state, mine);
  }
}

function schedule(here, body, state, mine) {
  clearTimeout(timer);
  if (here.view.EVERY) timer = setTimeout(() => (document.hidden ? schedule(here, body, state, mine) : refresh(here, body, state, mine)), here.view.EVERY);
}

function go(event) {
  if (!reader) return;
  clearTimeout(timer);
  turn += 1;
  delete main.dataset.ready;
  const here = place();
  const state = here.view.state?.() ?? {};
  navigation(here.name);
  document.title = `${here.title} · Plugboard console`;
  const body = h("div", { class: "body" }, loading());
  const head = here.view.head?.(state, { reader, again: () => refresh(here, body, state, turn) }) ?? null;
  main.replaceChildren(h("h1", {}, here.view.TITLE ?? here.title), ...[head, body].filter(Boolean));
  if (event) { main.focus({ preventScroll: true }); scrollTo(0, 0); tell(here.title); }
  refresh(here, body, state, turn);
}

function begin() {
  sections.hidden = false;
  leave.hidden = false;
  document.getElementById("reader").textContent = reader.operator ? "Operator · all organizations" : `Organization ${short(reader.organization)}`;
  document.getElementById("reader").title = reader.organization ?? "";
  go();
}

leave.addEventListener("click", async () => {
  try { await signOut(); } finally { forgotten(); }
});
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
addEventListener("hashchange", go);

try {
  const found = await session();
  if (found.signed_in) { reader = found; begin(); } else forgotten();
} catch (refused) {
  main.replaceChildren(alert(refused.message));
}
