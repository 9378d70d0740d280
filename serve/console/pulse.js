// What the service's answers cost and how its parts are: latency of the last answers, health, degraded parts.

import * as api from "./api.js";
import { byId, element, milliseconds, replace, shape } from "./dom.js";

const KEPT = 40; // answers in the small chart
const EVERY_MS = 10_000;
const LOST = {
  generator: "The language model did not answer in time: the ranker ordered the shortlist alone.",
  embedding: "No vectors yet: found by words and relations only. Ask again in a moment.",
  state: "The state is away: nothing can be learnt now.",
  registry: "The registry is away: the last good model answers.",
  adaptation: "What was learnt online is not in this order.",
};

const HELD = { // in words, where the kind is none
  email: "an email address", iban: "a bank account", card: "a card number", ssn: "a social security number", jwt: "a token",
  secret: "a key or password", ip: "an IP address", phone: "a telephone number", sql: "SQL", shell: "a shell command", xss: "a script",
};

let heard = () => {};
const answers = []; // {total, trip} in ms, oldest first

/** Keeps what an answer took: as the service counts it, and as it was waited for. */
export function keep(metadata, trip) {
  answers.push({ total: metadata.timings_ms.total ?? trip, trip });
  if (answers.length > KEPT) answers.shift();
  draw(metadata);
}

export function notices(metadata) {
  const said = metadata.degraded.map((part) =>
    element("p", { class: "notice", "data-degraded": part }, element("strong", {}, `Without ${part}. `), LOST[part] ?? ""));
  if (metadata.flags?.length) {
    said.push(element("p", { class: "notice", "data-flags": metadata.flags.join(" ") }, element("strong", {}, "The guard looked at the wish. "),
      `It holds what looks like ${metadata.flags.map((flag) => HELD[flag] ?? flag.replaceAll("_", " ")).join(", ")}.`));
  }
  if (metadata.unmatched.length) {
    const one = metadata.unmatched.length === 1;
    said.push(element("p", { class: "notice" }, element("strong", {}, one ? "A call is no operation of this catalog. " :
      `${metadata.unmatched.length} calls are no operations of this catalog. `), "It stays as history: see the marks."));
  }
  replace(byId("notices"), said);
}

function draw({ timings_ms: timings, model_version: version, served_by: by, experiment, generator, operations }) {
  const last = answers.at(-1);
  const sorted = answers.map((a) => a.total).sort((a, b) => a - b);
  const median = sorted[Math.floor((sorted.length - 1) / 2)];
  const stages = Object.entries(timings).filter(([name]) => name !== "total");
  const whole = Math.max(timings.total ?? 0, 0.01);
  replace(byId("pulse"),
    element("p", { class: "big" }, element("strong", {}, milliseconds(last.total)),
      element("span", {}, ` served, ${milliseconds(last.trip)} in all`)),
    chart(),
    element("p", { class: "hint" }, `median ${milliseconds(median)} of ${answers.length}`),
    element("dl", { class: "stages" }, stages.map(([name, ms]) => element("div", {},
      element("dt", {}, name),
      element("dd", {}, element("span", { class: "track", "aria-hidden": "true" },
        element("span", { class: "bar-fill", share: Math.min(ms / whole, 1) })), milliseconds(ms))))),
    element("dl", { class: "facts" },
      fact("Model", version), fact("Served by", by), fact("Arm", experiment?.arm), fact("Operations", operations),
      generator && fact("Generator", `${generator.model}: ${generator.tokens_in} + ${generator.tokens_out} tokens`),
      generator && fact("Cost", `$${generator.cost_usd}`)));
}

const fact = (name, value) => value !== undefined && value !== null &&
  element("div", {}, element("dt", {}, name), element("dd", {}, String(value)));

function chart() {
  const width = 240, height = 36, step = width / KEPT;
  const top = Math.max(...answers.map((a) => a.total), 1);
  const bars = answers.map((a, i) => {
    const high = Math.max((a.total / top) * height, 2);
    return shape("rect", { x: i * step, y: height - high, width: step - 1, height: high, rx: 1 });
  });
  return shape("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, role: "img", preserveAspectRatio: "none",
    "aria-label": `Latency of the last ${answers.length} answers, at most ${milliseconds(top)}` }, bars);
}

async function look() {
  const pill = byId("health");
  let found;
  try {
    found = await api.health();
    heard(found.components);
  } catch (problem) {
    found = { status: "away", components: {}, detail: problem.message };
  }
  if (pill.textContent !== found.status) pill.textContent = found.status; // said once, not each time
  pill.className = `pill ${found.status}`;
  const rows = Object.entries(found.components).map(([name, told]) => element("li", {},
    element("span", { class: `dot ${told.status}`, "aria-hidden": "true" }), element("span", {}, name),
    element("span", { class: "state", title: told.detail ?? "" }, told.status)));
  replace(byId("parts"), rows.length ? element("ul", { class: "parts" }, rows) : element("p", { class: "empty" }, found.detail ?? ""));
}

/** Looks now and then, while somebody looks at the page; `listener` hears of the parts there are. */
export function watch(listener) {
  heard = listener;
  look();
  setInterval(() => document.visibilityState === "visible" && look(), EVERY_MS);
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && look());
}
