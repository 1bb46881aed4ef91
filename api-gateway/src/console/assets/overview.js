// How it goes now.

import { overview } from "./api.js";
import { bars, lines } from "./charts.js";
import { badge, empty, h, show, table } from "./dom.js";
import { ago, count, lasts, short, took, words } from "./format.js";

export const EVERY = 5_000;

export const load = () => overview();

/** The present minute has only begun, so what is said is of the one before, unless nothing was called then. */
const last = (minutes) => (minutes.at(-2).calls > 0 ? minutes.at(-2) : minutes.at(-1));

function rate(minute) {
  const seconds = (Date.now() - new Date(minute.at).getTime()) / 1_000;
  return minute.calls / Math.min(60, Math.max(1, seconds));
}

const millis = (ms) => (ms === null || ms === undefined ? "–" : took(ms * 1_000));

const key = (name, ms) => h("span", { class: `key ${name}` }, `${name} ${millis(ms)}`);

function figures(found) {
  const minute = last(found.minutes);
  const all = found.minutes.reduce((sum, one) => sum + one.calls, 0);
  const failed = found.minutes.reduce((sum, one) => sum + one.failed, 0);
  return h("section", { class: "charts", "aria-label": "The last 15 minutes" },
    bars("Calls a minute", found.minutes, (one) => one.calls, (one) => one.failed, `${count(rate(minute))}/s`),
    bars("Failed a minute", found.minutes, (one) => one.failed, (one) => one.failed, all === 0 ? "–" : `${count((100 * failed) / all)} %`),
    lines("Time until the answer", found.minutes, [["p50", (one) => one.p50_ms], ["p95", (one) => one.p95_ms]],
      [key("p50", minute.p50_ms), key("p95", minute.p95_ms)]));
}

function tiles(found) {
  const sum = (name) => found.queue?.lines.reduce((total, line) => total + line[name], 0);
  const tile = (name, value, tone = "", to = null) =>
    h("li", { class: `tile ${tone}` }, h("span", { class: "soft" }, to ? h("a", { href: to }, name) : name), h("strong", {}, value));
  const held = found.breakers.length;
  const tight = found.limits.length + found.concurrency.length;
  return h("ul", { class: "tiles" },
    tile("Callers waiting", count(found.running), "", "#/calls"),
    found.queue && tile("In the queue", count(sum("waiting"))),
    found.queue && tile("With executors", count(sum("held"))),
    tile("Open breakers", count(held), held > 0 ? "bad" : "", "#/limits"),
    tile("Limits that hold up", count(tight), tight > 0 ? "careful" : "", "#/limits"));
}

function queue(found) {
  if (!found.processes) return null;
  if (!found.queue) return h("section", {}, h("h2", {}, "Queue"), h("p", { class: "notice careful" }, "The queue does not answer."));
  const busy = found.queue.lines.filter((line) => line.waiting + line.held > 0);
  return h("section", {}, h("h2", {}, "Queue"),
    found.queue.unaccounted > 0 && h("p", { class: "notice bad" }, `${count(found.queue.unaccounted)} calls are stored that nobody hands out.`),
    busy.length === 0 ? h("p", { class: "soft" }, "Nothing waits.")
      : table("Queue", [
        ["Line", (line) => words(line.class)],
        ["Waiting", (line) => count(line.waiting), "number"],
        ["Held", (line) => count(line.held), "number"],
        ["Oldest", (line) => lasts(line.oldest_ms), "number"],
      ], busy));
}

function parts(process) {
  const wrong = Object.entries(process.parts).filter(([, how]) => how !== "ok");
  if (wrong.length === 0) return badge("ready", "good");
  return h("span", {}, badge(process.ready ? "reduced" : "not ready", process.ready ? "careful" : "bad"),
    wrong.map(([name, how]) => h("span", { class: "why" }, `${name}: ${how}`)));
}

function load_of(process) {
  if (process.slots === null) return "–";
  return h("span", { class: "load" },
    h("meter", { min: 0, max: process.slots, value: process.in_flight, "aria-label": "Calls it makes now" }),
    ` ${count(process.in_flight)} of ${count(process.slots)}`);
}

function processes(found) {
  if (!found.processes) return null;
  const other = found.processes.filter((process) => process.service === "gateway").flatMap((process) => Object.entries(process.parts));
  const down = [...new Set(other.filter(([, how]) => how !== "ok").map(([name, how]) => `${name}: ${how}`))];
  return h("section", {}, h("h2", {}, "Gateways and executors"),
    down.length > 0 && h("p", { class: "notice careful" }, `As gateways see it: ${down.join("; ")}.`),
    found.processes.length === 0 ? h("p", { class: "notice careful" }, "Nobody has answered.")
      : table("Gateways and executors", [
        ["Service", (one) => words(one.service)],
        ["Instance", (one) => h("code", { title: one.instance }, short(one.instance))],
        ["State", parts],
        ["Load", load_of],
        ["Up for", (one) => ago(one.since), "number"],
        ["Version", (one) => one.version, "number"],
      ], found.processes));
}

function organizations(found) {
  if (!found.organizations) return null;
  if (found.organizations.length === 0) return null;
  return h("section", {}, h("h2", {}, "Busiest organizations"),
    table("Busiest organizations", [
      ["Organization", (one) => h("a", { href: `#/calls?organization=${one.organization}`, title: one.organization }, h("code", {}, short(one.organization)))],
      ["Calls in 15 min", (one) => count(one.calls), "number"],
      ["Failed", (one) => count(one.failed), "number"],
    ], found.organizations.slice(0, 10)));
}

export function draw(body, found) {
  const silent = found.minutes.every((minute) => minute.calls === 0);
  show(body, tiles(found),
    silent ? empty("No calls in the last 15 minutes", "Charts appear with the first one.") : figures(found),
    queue(found), processes(found), organizations(found));
}
