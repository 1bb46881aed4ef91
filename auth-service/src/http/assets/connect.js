// What makes the connect pages quicker for whoever has a script. Every page works without it.
(() => {
  "use strict";
  const all = (selector) => [...document.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);
  const channel = "BroadcastChannel" in window ? new BroadcastChannel("plugboard-connect") : null;
  const POPUP = "plugboard-sign-in";

  // Moments in the browser's own zone.
  for (const time of all("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) {
      const style = time.className === "clock" ? { timeStyle: "short" } : { dateStyle: "medium" };
      time.textContent = new Intl.DateTimeFormat(document.documentElement.lang, style).format(at);
    }
  }

  // What went wrong is where reading begins.
  const wrong = one("#summary");
  if (wrong) wrong.focus();

  // The catalog, while somebody types.
  const query = one("#q");
  const cards = all("#services > li");
  if (query && cards.length) {
    const found = one("#found");
    const nothing = one("#nothing");
    let telling;
    const filter = () => {
      const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const card of cards) {
        card.hidden = !words.every((word) => card.dataset.words.includes(word));
        if (!card.hidden) shown += 1;
      }
      nothing.hidden = shown > 0;
      // Told when the typing pauses, not at every key.
      clearTimeout(telling);
      telling = setTimeout(() => { found.textContent = words.length ? found.dataset.text.replace("#", shown) : ""; }, 250);
    };
    query.addEventListener("input", filter);
  }

  for (const button of all("button.reveal")) {
    const input = document.getElementById(button.getAttribute("aria-controls"));
    const word = button.firstElementChild;
    const show = word.textContent;
    button.hidden = false;
    button.addEventListener("click", () => {
      const visible = input.type === "password";
      input.type = visible ? "text" : "password";
      word.textContent = visible ? word.dataset.hide : show;
    });
  }

  for (const button of all("[data-copy]")) {
    if (!navigator.clipboard) continue;
    const text = document.getElementById(button.dataset.copy).textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = button.dataset.copied;
      } catch {
        button.hidden = true;
      }
    });
  }

  // A sign-in in a window of its own; this page goes on when it has ended.
  for (const form of all("form[data-popup]")) {
    form.addEventListener("submit", () => {
      // What is missing is told in this window.
      if (!form.checkValidity() || !channel) return;
      const left = window.screenX + Math.max(0, (window.outerWidth - 560) / 2);
      const popup = window.open("about:blank", POPUP, `popup,width=560,height=760,left=${left},top=${window.screenY + 60}`);
      if (!popup) return;
      // What the service shows in there is not to steer this page.
      popup.opener = null;
      form.target = POPUP;
      const waiting = form.querySelector(".waiting");
      waiting.textContent = waiting.dataset.text;
      channel.onmessage = (event) => {
        if (event.data && typeof event.data.next === "string" && event.data.next.startsWith("/connect/")) {
          location.assign(event.data.next);
        }
      };
    });
  }

  // The end of that sign-in.
  const accounts = one("body[data-signed-in] #accounts");
  if (accounts && channel && window.name === POPUP) {
    channel.postMessage({ next: accounts.getAttribute("href") });
    setTimeout(() => window.close(), 900);
  }

  // A code on another device.
  const poll = one("[data-poll]");
  if (poll) {
    const look = async () => {
      let wait = 5;
      try {
        const answer = await fetch(poll.dataset.poll, { headers: { accept: "application/json" } });
        const status = await answer.json();
        if (status.state === "connected") return location.assign(status.next);
        if (status.state !== "pending") return location.reload();
        wait = status.interval;
      } catch {
        // Off the network for a moment; the next look may find it.
      }
      setTimeout(look, wait * 1000);
    };
    setTimeout(look, Number(poll.dataset.interval) * 1000);
  }
})();
