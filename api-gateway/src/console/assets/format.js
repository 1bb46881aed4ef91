// Numbers, times and names for people.

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

export const count = (value) => number.format(value);

const plain = (value) => (value < 100 ? number.format(value) : number.format(Math.round(value)));

export function took(us) {
  if (us === null || us === undefined) return "–";
  if (us < 1_000) return `${number.format(us)} µs`;
  if (us < 1_000_000) return `${plain(us / 1_000)} ms`;
  return `${number.format(us / 1_000_000)} s`;
}

export function lasts(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${number.format(ms / 1_000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} days`;
}

export const at = (text) => clock.format(new Date(text));
export const onDay = (text) => day.format(new Date(text));
export const ago = (text) => lasts(Math.max(0, Date.now() - new Date(text).getTime()));

/** The end of an id tells more than its beginning, which is the time. */
export const short = (id) => (id ? `…${id.slice(-8)}` : "–");

export const tone = (state) => ({ succeeded: "good", failed: "bad", unknown: "careful", running: "new" })[state] ?? "new";

/** Words for what programs say in snake_case. */
export const words = (text) => text.replaceAll("_", " ");
