// Accounts that somebody should look at.

import { accounts, overview } from "./api.js";
import { badge, empty, h, show, table } from "./dom.js";
import { ago, words } from "./format.js";

export const EVERY = 15_000;
export const TITLE = "Accounts that need attention";

export const state = () => ({ organization: "" });

/** The operator says whose; organizations that have called lately are offered. */
export async function load(state, reader) {
  if (reader.operator && !state.organization) {
    const { organizations } = await overview();
    return { connections: null, organizations: organizations.map((one) => one.organization) };
  }
  return { ...await accounts(reader.operator ? state.organization : ""), organizations: null };
}

export function head(state, { reader, again }) {
  if (!reader.operator) return null;
  let waiting = 0;
  const changed = (event) => {
    state.organization = event.target.value.trim();
    clearTimeout(waiting);
    waiting = setTimeout(again, 250);
  };
  return h("form", { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
    h("p", { class: "field" }, h("label", { for: "by-organization" }, "Organization"),
      h("input", { id: "by-organization", type: "search", list: "organizations", placeholder: "org_…", autocomplete: "off", spellcheck: "false", on: { input: changed } })),
    h("datalist", { id: "organizations" }));
}

const TONES = { needs_reauth: "bad", revoked: "bad", vendor_down: "careful", expiring: "careful", pending_claim: "new" };
const WHAT = {
  needs_reauth: "A person must connect it again.",
  revoked: "It was revoked, and cannot be used.",
  vendor_down: "The vendor's sign-in does not answer.",
  expiring: "Its token ends soon, and nothing can renew it.",
  pending_claim: "Nobody has confirmed yet that the right person connected it.",
};

export function draw(body, found) {
  if (found.organizations) {
    document.getElementById("organizations")?.replaceChildren(...found.organizations.map((value) => h("option", { value })));
    show(body, empty("Whose accounts?", "Accounts belong to organizations. Name one above; those that have called lately are offered."));
    return;
  }
  if (found.connections.length === 0) {
    show(body, empty("All accounts are well", "One that must be connected again, or is about to end, appears here."));
    return;
  }
  show(body, table("Accounts that need attention", [
    ["Connector", (one) => one.service],
    ["Account", (one) => h("span", { class: "what" }, h("strong", {}, one.label), one.owner && h("span", { class: "soft" }, `of ${one.owner}`))],
    ["State", (one) => badge(words(one.state), TONES[one.state] ?? "new")],
    ["What it means", (one) => h("span", {}, WHAT[one.state] ?? "", one.state_reason && h("span", { class: "why" }, one.state_reason))],
    ["Since", (one) => ago(one.state_since), "number"],
  ], found.connections));
}
