// The service's routes. Addresses are relative, so that the page works behind a gateway's prefix too.

const WAIT_MS = 60_000;
const KEY = "opensesame.key"; // of this tab only: sessionStorage ends with it

export const key = () => sessionStorage.getItem(KEY) ?? "";

/** Keeps the key that every request carries; "" forgets it. */
export function useKey(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
}

/** What the service, or the way to it, refused: `status` is 0 when nothing answered. */
export class Problem extends Error {
  constructor(status, slug, detail) {
    super(detail);
    this.status = status;
    this.slug = slug;
  }
}

async function ask(method, path, body, type = "application/json") {
  const headers = body === undefined ? {} : { "Content-Type": type };
  if (key()) headers.Authorization = `Bearer ${key()}`;
  const content = body === undefined || body instanceof Blob ? body : JSON.stringify(body);
  let answer;
  let text;
  try {
    const signal = AbortSignal.timeout(WAIT_MS);
    answer = await fetch(path, { method, headers, body: content, credentials: "same-origin", signal });
    text = await answer.text();
  } catch {
    throw new Problem(0, "unreachable", "The service does not answer.");
  }
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    throw new Problem(answer.status, "unreadable", `The service answered ${answer.status} with no JSON.`);
  }
  if (!answer.ok) {
    throw new Problem(answer.status, value?.slug ?? "error", value?.detail ?? `The service answered ${answer.status}.`);
  }
  return value;
}

const part = encodeURIComponent;

export const start = () => ask("GET", "console/start.json");
export const health = () => ask("GET", "health");
export const predict = (question) => ask("POST", "predict", question);
export const feedback = (said) => ask("POST", "feedback", said);
export const observe = (seen) => ask("POST", "events", seen);
export const catalogs = () => ask("GET", "catalogs");
export const catalog = (name) => ask("GET", `catalogs/${part(name)}`);
export const upload = (name, file) =>
  ask("PUT", `catalogs/${part(name)}`, file, /\.ya?ml$/i.test(file.name) ? "application/yaml" : "application/json");
export const models = () => ask("GET", "models");
export const model = (version) => ask("GET", `models/${part(version)}`);
export const comparison = () => ask("GET", "models/compare");
export const promote = (version) => ask("POST", `models/${part(version)}/promote`, {});
export const challenge = (version) => ask("POST", `models/${part(version)}/challenge`, {});
export const endChallenge = () => ask("DELETE", "models/challenger");
export const costs = () => ask("GET", "cost-analytics");
export const rollBack = () => ask("POST", "models/rollback", {});
export const train = (force) => ask("POST", "train", { force });
export const training = (job) => ask("GET", `train/${part(job)}`);
