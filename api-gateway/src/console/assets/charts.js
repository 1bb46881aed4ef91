// Charts by the minute, as SVG. Each has its numbers in words for whoever does not see it.

import { h, s } from "./dom.js";
import { at, count } from "./format.js";

const WIDTH = 320;
const HEIGHT = 96;
const BASE = HEIGHT - 2;

const scale = (most) => (value) => BASE - ((HEIGHT - 8) * value) / Math.max(most, 1e-9);

function frame(title, now, summary, picture) {
  return h("figure", { class: "chart" },
    h("figcaption", {}, h("span", { class: "soft" }, title), h("strong", {}, now)),
    s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${summary}`, preserveAspectRatio: "none" },
      s("line", { x1: 0, x2: WIDTH, y1: BASE, y2: BASE, class: "axis" }), picture),
    h("p", { class: "span" }, h("span", {}, "15 min ago"), h("span", {}, "now")));
}

/** One bar a minute; of each, a part may have failed. */
export function bars(title, minutes, value, part, now) {
  const most = Math.max(...minutes.map(value));
  const y = scale(most);
  const step = WIDTH / minutes.length;
  const bar = (minute, place, height, kind) =>
    s("rect", { x: place * step + 2, width: step - 4, y: y(height), height: Math.max(0, BASE - y(height)), rx: 2, class: kind },
      s("title", {}, `${at(minute.at)}: ${count(value(minute))}`));
  const picture = minutes.flatMap((minute, place) => [
    value(minute) > 0 ? bar(minute, place, value(minute), "bar") : null,
    part(minute) > 0 ? bar(minute, place, part(minute), "bar failed") : null,
  ]);
  return frame(title, now, `${minutes.map((minute) => count(value(minute))).join(", ")}, the last one now`, picture.filter(Boolean));
}

/** A line for each series; a minute without a value is a gap. */
export function lines(title, minutes, series, now) {
  const most = Math.max(1, ...series.flatMap(([, value]) => minutes.map((minute) => value(minute) ?? 0)));
  const y = scale(most);
  const step = WIDTH / minutes.length;
  const picture = series.map(([name, value]) => {
    const runs = [[]];
    minutes.forEach((minute, place) => {
      const found = value(minute);
      if (found === null || found === undefined) runs.push([]);
      else runs.at(-1).push([place * step + step / 2, y(found)]);
    });
    const drawn = runs.filter((run) => run.length > 0).map((run) => (run.length === 1
      ? s("circle", { cx: run[0][0], cy: run[0][1], r: 3, class: `dot ${name}` })
      : s("polyline", { points: run.map((point) => point.join(",")).join(" "), class: `line ${name}` })));
    return s("g", {}, drawn);
  });
  const said = series.map(([name, value]) => `${name} ${minutes.map((minute) => value(minute) ?? "none").join(", ")}`);
  return frame(title, now, said.join("; "), picture);
}

const STAGES = { check: "Check", publish: "Publish", queue: "Queue", limit: "Vendor's limit", credentials: "Credentials", vendor: "Vendor", answer: "Answer" };

/** Where the time of a call went, stage after stage. */
export function timeline(stages, total, took) {
  const all = Math.max(total ?? 0, stages.reduce((sum, stage) => sum + stage.us, 0), 1);
  let before = 0;
  const rows = stages.map((stage) => {
    const bar = s("svg", { class: "stage", viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      s("rect", { x: 0, y: 0, width: 1000, height: 10, class: "track" }),
      s("rect", { x: (before / all) * 1000, y: 0, width: Math.max(6, (stage.us / all) * 1000), height: 10, class: `of ${stage.stage}` }));
    before += stage.us;
    return h("li", {}, h("span", {}, STAGES[stage.stage] ?? stage.stage), bar, h("span", { class: "number" }, took(stage.us)));
  });
  return h("ol", { class: "stages" }, rows);
}
