// The REST API, as whoever is signed in.

let mark = "";

/** What the API refused, in its own words. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `The server answered with ${status}.`);
    this.status = status;
    this.code = problem.code;
    this.field = problem.field;
  }
}

async function send(method, path, body) {
  const headers = { accept: "application/json" };
  if (method !== "GET") headers["x-plugboard-console"] = mark;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin" });
  } catch {
    throw new Refused(0, { detail: "The server does not answer." });
  }
  const read = answer.status === 204 ? null : await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, read ?? {});
  return read;
}

const remember = (reader) => { mark = reader.mark ?? ""; return reader; };

export const session = async () => remember(await send("GET", "/console/session"));
export const signIn = async (key) => remember(await send("POST", "/console/session", { key }));
export const signOut = () => send("DELETE", "/console/session");

const API = "/console/api/v1";

const query = (wanted) => {
  const given = Object.entries(wanted).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
};

export const overview = () => send("GET", `${API}/overview`);
export const calls = (wanted) => send("GET", `${API}/calls${query(wanted)}`);
export const call = (id) => send("GET", `${API}/calls/${encodeURIComponent(id)}`);
export const letters = (from) => send("GET", `${API}/dead-letters${query({ from })}`);
export const replay = (id, accept) =>
  send("POST", `${API}/dead-letters/${encodeURIComponent(id)}/replay`, { accept_duplicate: accept });
export const drop = (id) => send("DELETE", `${API}/dead-letters/${encodeURIComponent(id)}`);
export const accounts = (organization) => send("GET", `${API}/connections${query({ state: "attention", organization })}`);
