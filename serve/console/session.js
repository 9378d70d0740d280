// The session: the calls so far, added by hand or taken from suggestions, and the wish.

import * as api from "./api.js";
import { announce, byId, complain, element, replace } from "./dom.js";
import { halves, readCall, written } from "./calls.js";
import { completing, selectHole } from "./complete.js";
import * as catalogs from "./catalogs.js";

const KEPT = 100; // as many as the service reads

let calls = [];
let strangers = new Set(); // calls that are no operation of the catalog, by the last answer
let example = -1;
let changed = () => {};

export const events = () => calls;
export const user = () => byId("user").value.trim() || "console";
export const wish = () => byId("wish").value.trim();

export function begin(onChange) {
  changed = onChange;
  completing(byId("call"), catalogs.knownOperations);
  byId("add-call").addEventListener("submit", typed);
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    changed();
  });
  byId("clear").addEventListener("click", clear);
  byId("example").addEventListener("click", tryExample);
  draw();
}

/** Adds a call that was made now. */
export function add({ endpoint, params }) {
  calls = [...calls, { ts: new Date().toISOString(), endpoint, params }].slice(-KEPT);
  strangers = new Set();
  draw();
}

function clear() {
  beginAnew();
  changed();
}

/** Marks the calls that an answer found no operation for, by their indexes. */
export function mark(unmatched) {
  strangers = new Set(unmatched);
  draw();
}

/** The first calls of the next example session and its wish: what comes next is for the service to say. */
export function tryExample() {
  const sessions = catalogs.sessions();
  if (!sessions.length) return announce("There is no example session for this catalog.");
  example = (example + 1) % sessions.length;
  const { prompt, events: whole } = sessions[example];
  byId("wish").value = prompt;
  calls = whole.slice(0, Math.max(1, Math.ceil(whole.length / 2)));
  strangers = new Set();
  draw();
  changed();
}

/** Another catalog: its calls are others. */
export function beginAnew() {
  example = -1;
  calls = [];
  byId("wish").value = "";
  draw();
  byId("example").hidden = byId("show-me").hidden = !catalogs.sessions().length;
}

/** Tells the service of a call that was made; throws a Problem. */
async function report(call) {
  const told = { user_id: user(), ...catalogs.source(), events: [call] };
  const { closed, recorded } = await api.observe(told);
  announce(recorded ? `Observed. ${closed.length} open predictions learnt from it.` : "It was reported before.");
}

async function typed(event) {
  event.preventDefault();
  const field = byId("call");
  complain("call-problem", null);
  if (!field.value.trim() || selectHole(field)) return;
  const call = readCall(field.value, catalogs.knownOperations());
  if (!call) return complain("call-problem", "Write it as METHOD /path, such as GET /v1/charges/ch_123.");
  add(call);
  field.value = "";
  try {
    if (byId("observe").checked) await report(calls.at(-1));
  } catch (problem) {
    complain("call-problem", `It was not reported: ${problem.message}`);
  }
  changed();
}

function draw() {
  byId("no-calls").hidden = calls.length > 0;
  replace(byId("calls"), calls.map((call, i) => {
    const [method, path] = halves(call.endpoint);
    const params = Object.entries(call.params ?? {});
    const stranger = strangers.has(i);
    return element("li", { class: stranger ? "stranger" : null },
      element("div", { class: "call" },
        method && element("span", { class: `method m-${method.toLowerCase()}` }, method), " ", element("code", {}, path),
        stranger && element("span", { class: "flag" }, "not in the catalog"),
        params.length > 0 && element("small", {}, params.map(([name, value]) => `${name}=${written(value)}`).join("  "))),
      element("button", { type: "button", class: "remove", "aria-label": `Remove ${call.endpoint}`, onclick: () => remove(i) }, "×"));
  }));
  byId("calls").lastElementChild?.scrollIntoView({ block: "nearest" });
}

function remove(index) {
  calls = calls.filter((_, i) => i !== index);
  draw();
  byId("call").focus();
  changed();
}
