// Somebody who is not signed in.

import { signIn } from "./api.js";
import { alert, h } from "./dom.js";

export function ask(place, done) {
  const wrong = h("div", { id: "wrong" });
  const key = h("input", { id: "key", name: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "key-hint" });
  const button = h("button", { type: "submit", class: "button" }, "Sign in");
  const submit = async (event) => {
    event.preventDefault();
    wrong.replaceChildren();
    button.disabled = true;
    try {
      const reader = await signIn(key.value.trim());
      key.value = "";
      done(reader);
    } catch (refused) {
      wrong.replaceChildren(alert(refused.message));
      key.focus();
      key.select();
    } finally {
      button.disabled = false;
    }
  };
  place.replaceChildren(h("section", { class: "panel narrow" },
    h("h1", {}, "Sign in to the console"),
    h("p", { class: "soft" }, "With the operator's key, for the whole platform without anybody's content; or with an admin's key of an organization, for that organization."),
    h("form", { on: { submit } }, wrong,
      h("p", { class: "field" }, h("label", { for: "key" }, "Key"), key,
        h("span", { class: "hint", id: "key-hint" }, "It stays in a sealed cookie of this browser for eight hours, and no script can read it.")),
      button)));
  key.focus();
}
