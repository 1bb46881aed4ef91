// Elements, made of text and never of markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, heard] of Object.entries(value)) element.addEventListener(event, heard);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** Puts these in place of what is there, if it would look different: focus and scrolling survive a refresh. */
export function show(place, ...children) {
  const fresh = h("div", {}, ...children);
  if (place.innerHTML === fresh.innerHTML) return false;
  const held = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.replaceChildren(...fresh.childNodes);
  delete place.dataset.shown;
  if (held) document.getElementById(held)?.focus();
  return true;
}

/** Says something to whoever does not see the page. */
export function tell(words) {
  document.getElementById("news").textContent = words;
}

/** Columns: name, what to show of a row, and "number" where that is one. */
export function table(caption, columns, rows) {
  const head = columns.map(([name, , kind]) => h("th", { scope: "col", class: kind }, name));
  const cells = (row) => columns.map(([name, cell, kind]) => h("td", { class: kind, "data-name": name }, cell(row)));
  return h("div", { class: "table", role: "region", "aria-label": caption, tabindex: "0" },
    h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, head)),
      h("tbody", {}, rows.map((row) => h("tr", {}, cells(row))))));
}

export function empty(title, words) {
  return h("div", { class: "empty" }, h("h2", {}, title), h("p", {}, words));
}

export function alert(words, more = null) {
  return h("div", { class: "notice bad", role: "alert" }, h("p", {}, words), more);
}

export function loading() {
  return h("p", { class: "loading", role: "status" }, "Loading…");
}

export function badge(words, tone) {
  return h("span", { class: `badge ${tone}` }, words);
}

/** A modal question. Resolves to the chosen value, or null. */
export function ask(title, words, choices, more = null) {
  return new Promise((resolve) => {
    const close = (value) => { dialog.close(); dialog.remove(); resolve(value); };
    const buttons = choices.map(([text, value, tone]) =>
      h("button", { type: "button", class: `button ${tone}`, on: { click: () => close(value()) } }, text));
    const keep = h("button", { type: "button", class: "button quiet", on: { click: () => close(null) } }, "Cancel");
    const dialog = h("dialog", { "aria-labelledby": "question", on: { cancel: (event) => { event.preventDefault(); close(null); } } },
      h("h2", { id: "question" }, title), h("p", {}, words), more, h("div", { class: "row" }, keep, buttons));
    document.body.append(dialog);
    dialog.showModal();
    keep.focus();
  });
}
