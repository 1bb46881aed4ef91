// Calls now and lately: looked for, and followed.

import { calls } from "./api.js";
import { badge, empty, h, show, table } from "./dom.js";
import { at, short, tone, took } from "./format.js";

export const EVERY = 3_000;

/** What is wanted is in the address, so that it can be kept and sent on. */
export function state() {
  const wanted = new URLSearchParams(location.hash.split("?")[1] ?? "");
  const of = (name) => wanted.get(name) ?? "";
  return { text: of("text"), service: of("service"), state: of("state"), organization: of("organization"), older: [], next: null };
}

const wanted = ({ text, service, state, organization }) => ({ text, service, state, organization });

function keep(state) {
  const given = Object.entries(wanted(state)).filter(([, value]) => value !== "");
  history.replaceState(null, "", `#/calls${given.length > 0 ? `?${new URLSearchParams(given)}` : ""}`);
}

export const load = (state) => calls(wanted(state));

export function head(state, { reader, again }) {
  let waiting = 0;
  const changed = (name) => (event) => {
    state[name] = event.target.value.trim();
    state.older = [];
    state.next = null;
    clearTimeout(waiting);
    waiting = setTimeout(() => { keep(state); again(); }, 250);
  };
  const field = (name, label, more = {}) => h("p", { class: "field" }, h("label", { for: `by-${name}` }, label),
    h("input", { id: `by-${name}`, type: "search", value: state[name], autocomplete: "off", spellcheck: "false", on: { input: changed(name) }, ...more }));
  const option = ([value, words]) => h("option", { value, selected: state.state === value }, words);
  return h("form", { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
    field("text", "Search", { placeholder: "id, operation, connection, agent, code…" }),
    field("service", "Connector", { placeholder: "ozon" }),
    h("p", { class: "field" }, h("label", { for: "by-state" }, "State"),
      h("select", { id: "by-state", on: { change: changed("state") } },
        [["", "All"], ["running", "Running"], ["failed", "Failed"], ["unknown", "Outcome unknown"], ["succeeded", "Succeeded"]].map(option))),
    reader.operator && field("organization", "Organization", { placeholder: "org_…" }));
}

const what = (call) => h("span", { class: "what" },
  h("strong", {}, call.service ?? "unknown service"),
  h("span", {}, call.operation ?? (call.execution_id ? "unlisted path" : "refused")),
  call.connection_label && h("span", { class: "soft" }, call.connection_label));

const who = (call) => call.agent ?? call.subject ?? short(call.key);

function when(call) {
  const time = h("time", { datetime: call.started_at }, at(call.started_at));
  return call.execution_id ? h("a", { href: `#/calls/${call.execution_id}`, id: `call-${call.execution_id}` }, time) : time;
}

export function draw(body, found, state, { reader, again }) {
  const rows = [...found.calls, ...state.older];
  if (state.older.length === 0) state.next = found.next;
  if (rows.length === 0) {
    const filtered = Object.values(wanted(state)).some((value) => value !== "");
    show(body, filtered ? empty("Nothing fits", "Gateways remember some hundred calls of each organization. Try fewer words.")
      : empty("No calls yet", "What agents and programs call appears here at once."));
    return;
  }
  const more = async () => {
    const page = await calls({ ...wanted(state), after: state.next });
    state.older = [...state.older, ...page.calls];
    state.next = page.next;
    again();
  };
  const columns = [
    ["Began", when],
    ["Call", what],
    ["Result", (call) => badge(call.code, tone(call.state))],
    ["Took", (call) => took(call.total_us), "number"],
    ["By", (call) => h("span", { title: call.key ?? "" }, who(call))],
  ];
  if (reader.operator) columns.push(["Organization", (call) => h("code", { title: call.organization }, short(call.organization))]);
  show(body, table("Calls", columns, rows),
    state.next && h("p", { class: "more" }, h("button", { id: "more", type: "button", class: "button small quiet" }, "Older calls")));
  const button = document.getElementById("more");
  if (button) button.onclick = more;
}
