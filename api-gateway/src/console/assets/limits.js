// What holds calls up: hosts that are left alone, vendors' limits, calls at once.

import { overview } from "./api.js";
import { badge, empty, h, show, table } from "./dom.js";
import { count, lasts, short } from "./format.js";

export const EVERY = 5_000;

export const load = () => overview();

const id = (value) => h("code", { title: value }, short(value));

export function draw(body, found, state, { reader }) {
  const whose = reader.operator ? [["Organization", (one) => id(one.organization)]] : [];
  const where = reader.operator ? [["Executor", (one) => id(one.executor)]] : [];
  const section = (title, words, columns, rows) => rows.length > 0
    && h("section", {}, h("h2", {}, title), h("p", { class: "soft" }, words), table(title, [...columns, ...whose, ...where], rows));
  const parts = [
    section("Open breakers", "These hosts fail, so calls to them are refused at once until one that is let through succeeds.", [
      ["Host", (one) => one.host],
      ["Connector", (one) => one.service],
      ["Open for", (one) => lasts(one.open_for_ms), "number"],
      ["Next try", (one) => (one.rests_for_ms > 0 ? `in ${lasts(one.rests_for_ms)}` : "under way"), "number"],
    ], found.breakers),
    section("Vendors' limits", "Calls wait for their turn, or are told when to come back.", [
      ["Connector", (one) => one.service],
      ["Limit", (one) => one.bucket],
      ["Why", (one) => badge(one.reason === "at_rest" ? "the vendor asks for rest" : "used up", "careful")],
      ["Next turn", (one) => `in ${lasts(one.wait_ms)}`, "number"],
      ["Connection", (one) => id(one.connection)],
    ], found.limits),
    section("Calls at once", "As many as may be are under way, and more wait.", [
      ["Connector", (one) => one.service],
      ["Under way here", (one) => `${count(one.in_use)} of ${count(one.most)} in all`, "number"],
      ["Waiting", (one) => count(one.waiting), "number"],
    ], found.concurrency),
  ].filter(Boolean);
  show(body, parts.length > 0 ? parts : empty("Nothing holds calls up", "Breakers are closed, and no limit makes a call wait for longer than a second."));
}
