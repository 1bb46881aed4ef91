// Calls that were given up: looked at, made again, dropped.

import { drop, letters, replay } from "./api.js";
import { alert, ask, badge, empty, h, show, tell } from "./dom.js";
import { onDay, short } from "./format.js";

export const EVERY = 10_000;

export const state = () => ({ from: "", pages: [], said: null });

export const load = (state) => letters(state.from);

async function again(letter, state, redraw) {
  const chosen = await ask("Make this call again?", `${name(letter)} becomes a new execution of the same request, in the background.`,
    [["Make it again", () => "go", ""]]);
  if (!chosen) return;
  await attempt(state, redraw, async () => {
    try {
      return await replay(letter.execution_id, false);
    } catch (refused) {
      if (refused.field !== "accept_duplicate") throw refused;
      return duplicate(letter);
    }
  }, (made) => `It is made again as ${made.execution_id}.`);
}

/** The vendor may have done it: only whoever has looked there can know. */
async function duplicate(letter) {
  const box = h("input", { type: "checkbox", id: "accept" });
  const agree = h("p", { class: "check" }, box, h("label", { for: "accept" }, "I have looked at the vendor, and accept that it may be done twice."));
  const chosen = await ask("It may be done twice", "The vendor may have done this call already, and a new one may do it once more. Look there first.", [["Make it all the same", () => box.checked, "danger"]], agree);
  if (chosen === null) return null;
  if (!chosen) throw Object.assign(new Error("Nothing was made: say that a duplicate is accepted."), { status: 409 });
  return replay(letter.execution_id, true);
}

async function remove(letter, state, redraw) {
  const chosen = await ask("Drop this call?", `${name(letter)} is forgotten, and cannot be made again.`, [["Drop it", () => "go", "danger"]]);
  if (chosen) await attempt(state, redraw, async () => { await drop(letter.execution_id); return {}; }, () => "It is dropped.");
}

async function attempt(state, redraw, act, words) {
  try {
    const done = await act();
    if (done) state.said = { good: true, words: words(done) };
  } catch (refused) {
    if (!("status" in refused)) throw refused;
    state.said = { good: false, words: refused.message };
  }
  if (state.said) tell(state.said.words);
  await redraw();
}

const name = (letter) => (letter.readable ? `${letter.service} · ${letter.operation ?? letter.method}` : "A call that cannot be read");

function card(letter, state, redraw, reader) {
  const fact = (term, value) => h("div", {}, h("dt", {}, term), h("dd", {}, value));
  const id = letter.execution_id;
  return h("li", { class: "panel letter" },
    h("p", { class: "title" }, h("strong", {}, name(letter)), letter.readable && badge(letter.effect, letter.effect === "read" ? "new" : "careful")),
    h("p", {}, letter.reason),
    h("dl", { class: "facts" },
      letter.readable && fact("Given up", onDay(letter.given_up_at)),
      letter.readable && fact("Accepted", onDay(letter.accepted_at)),
      letter.readable && fact("Starts", String(letter.starts)),
      fact("Execution", h("code", {}, id)),
      letter.readable && reader.operator && fact("Organization", h("code", { title: letter.organization }, short(letter.organization)))),
    h("p", { class: "row" },
      letter.readable && h("button", { type: "button", id: `again-${id}`, class: "button small", on: { click: () => again(letter, state, redraw) } }, "Make it again"),
      h("button", { type: "button", id: `drop-${id}`, class: "button small quiet danger", on: { click: () => remove(letter, state, redraw) } }, "Drop")));
}

export function draw(body, found, state, { reader, again: redraw }) {
  const notice = state.said && (state.said.good ? h("p", { class: "notice good", role: "status" }, state.said.words) : alert(state.said.words));
  const turn = (from, back) => () => { state.pages = back; state.from = from; redraw(); };
  const before = state.pages.length > 0 && h("button", { type: "button", id: "before", class: "button small quiet", on: { click: turn(state.pages.at(-1), state.pages.slice(0, -1)) } }, "Before");
  const next = found.next && h("button", { type: "button", id: "next", class: "button small quiet", on: { click: turn(found.next, [...state.pages, state.from]) } }, "More");
  if (found.dead_letters.length === 0) {
    show(body, notice, empty("Nothing was given up", "A call that five starts did not bring to an end is put aside here, for 30 days."));
    return;
  }
  const signature = JSON.stringify([found, state.said, state.from]);
  // Buttons carry what they do, so the list is made anew only when it is another one.
  if (body.dataset.shown === signature) return;
  show(body);
  body.replaceChildren(...[notice, h("ul", { class: "letters" }, found.dead_letters.map((letter) => card(letter, state, redraw, reader))),
    (before || next) && h("p", { class: "row" }, before, next)].filter(Boolean));
  body.dataset.shown = signature;
}
