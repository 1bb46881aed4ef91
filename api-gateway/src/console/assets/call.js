// One call: where its time went, and for its own organization what was asked.

import { call } from "./api.js";
import { timeline } from "./charts.js";
import { badge, h, show } from "./dom.js";
import { onDay, tone, took } from "./format.js";

export const EVERY = 5_000;
export const TITLE = "Call";

export const load = (state, reader, id) => call(id);

const WHY = {
  operator: "What was asked is for the organization's own admins.",
  off: "Requests are not kept here: gateway.console_requests is off.",
  unchecked: "It was refused before it was known what it is.",
  forgotten: "No gateway remembers the request any more.",
};

function facts(found) {
  const fact = (name, value) => (value === null || value === undefined || value === "" ? null : h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  const code = (value) => value && h("code", {}, value);
  return h("dl", { class: "facts" },
    fact("Execution", code(found.execution_id)),
    fact("Began", h("time", { datetime: found.started_at }, onDay(found.started_at))),
    fact("Took", took(found.total_us)),
    fact("Mode", found.background ? "in the background" : "its caller waited"),
    fact("Effect", found.effect),
    fact("Connection", found.connection && h("span", {}, found.connection_label ?? "", " ", code(found.connection))),
    fact("Origin of the failure", found.origin),
    fact("Vendor's status", found.status),
    fact("Requests to the vendor", found.attempts),
    fact("Answer of an earlier call", found.replayed ? "yes" : null),
    fact("Agent", found.agent),
    fact("End user", found.subject),
    fact("API key", code(found.key)),
    fact("Organization", code(found.organization)),
    fact("Gateway", code(found.gateway)));
}

function request(found) {
  const shown = found.request;
  return h("section", { class: "panel" }, h("h2", {}, "Request"),
    shown.shown ? h("pre", { tabindex: "0", "aria-label": "Request, masked" }, JSON.stringify(shown.masked, null, 2))
      : h("p", { class: "soft" }, WHY[shown.reason] ?? "It is not shown."));
}

export function draw(body, found) {
  show(body,
    h("p", { class: "back" }, h("a", { href: "#/calls" }, "All calls")),
    h("p", { class: "title" }, h("strong", {}, `${found.service ?? "unknown"} · ${found.operation ?? "unlisted path"}`), badge(found.code, tone(found.state))),
    found.message && h("p", { class: "notice bad" }, found.message),
    h("section", { class: "panel" }, h("h2", {}, "Where its time went"),
      found.stages.length === 0 ? h("p", { class: "soft" }, found.state === "running" ? "It is under way." : "No executor has told.")
        : timeline(found.stages, found.total_us, took)),
    h("section", { class: "panel" }, h("h2", {}, "Facts"), facts(found)),
    request(found));
}
