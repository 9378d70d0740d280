// The console: asks what comes next, tells what the user did, asks the same again to show what that taught.

import * as api from "./api.js";
import { announce, byId, complain, element, milliseconds, percent, replace } from "./dom.js";
import { callOf, keyOf, readCall } from "./calls.js";
import { completing, selectHole } from "./complete.js";
import * as catalogs from "./catalogs.js";
import * as costs from "./costs.js";
import * as experiments from "./experiments.js";
import * as learning from "./learning.js";
import * as models from "./models.js";
import * as pulse from "./pulse.js";
import * as session from "./session.js";
import * as suggestions from "./suggestions.js";

const K = 8;
const K_MAX = 50;
const USER = "opensesame.user";
const EVERY_MS = 30_000; // the operator's figures, while they are looked at

let question = null; // as it was asked last
let answer = null;
let turn = 0; // counts the questions: an answer that was overtaken is dropped
let busy = false; // feedback is on its way
let going = null; // the call to go on with, once accepted
let aside = new Set(); // what was rejected of this question: the next ones are shown instead

/** Asks `asked`; shows the answer beside the one `before` it to the same question. */
async function ask(asked, before = null) {
  const mine = ++turn;
  byId("suggestions").setAttribute("aria-busy", "true");
  const began = performance.now();
  let got;
  try {
    got = await api.predict({ ...asked, k: Math.min(K + aside.size, K_MAX), explain: true });
  } catch (problem) {
    if (mine === turn) refuse(problem);
    return null;
  } finally {
    if (mine === turn) byId("suggestions").removeAttribute("aria-busy");
  }
  if (mine !== turn) return null;
  catalogs.meet(got.predictions);
  got.predictions = got.predictions.filter((p) => !aside.has(keyOf(p))).slice(0, K);
  const trip = performance.now() - began;
  [question, answer] = [asked, got];
  const { metadata } = got;
  byId("welcome").hidden = true;
  byId("answer-actions").hidden = false;
  byId("answer-meta").textContent = `of ${metadata.operations} · ${milliseconds(metadata.timings_ms.total ?? trip)} · arm ${metadata.experiment.arm}`;
  pulse.keep(metadata, trip);
  pulse.notices(metadata);
  session.mark(metadata.unmatched);
  suggestions.show(got, before);
  suggestions.tell();
  return got;
}

function refuse(problem) {
  suggestions.clear();
  answer = null;
  byId("answer-actions").hidden = true;
  byId("welcome").hidden = true;
  byId("answer-meta").textContent = "";
  replace(byId("notices"), element("p", { class: "notice bad" }, problem.message));
  announce(problem.message);
}

/** The question that the session, the wish and the catalog make; nothing to ask about: the page says so. */
function askAnew() {
  goOnWith(null);
  aside = new Set();
  const asked = { user_id: session.user(), ...catalogs.source(), events: session.events() };
  if (session.wish()) asked.prompt = session.wish();
  if (!asked.events.length && !asked.prompt) {
    turn += 1;
    answer = null;
    suggestions.clear();
    replace(byId("notices"));
    byId("answer-meta").textContent = "";
    byId("answer-actions").hidden = true;
    byId("welcome").hidden = false;
    return null;
  }
  return ask(asked);
}

/** Tells the service what the user did, asks the same question again and says what that moved. */
async function tell(outcome, call, key) {
  if (!answer?.prediction_id || busy) {
    if (!busy && answer) replace(byId("notices"), element("p", { class: "notice bad" }, "The state is away: this cannot be recorded now."));
    return;
  }
  busy = true;
  const before = answer;
  try {
    const said = { prediction_id: before.prediction_id, user_id: question.user_id, feedback: outcome };
    if (call) said.chosen = call;
    await api.feedback(said);
    if (outcome === "reject") aside = new Set([...aside, ...before.predictions.map(keyOf)]);
    const now = await ask(question, before);
    if (now) learnt(outcome, call, key, before, now);
  } catch (problem) {
    replace(byId("notices"), element("p", { class: "notice bad" }, problem.message));
    announce(problem.message);
  } finally {
    busy = false;
  }
}

/** Method and path on one line. */
const bound = (endpoint) => endpoint.replace(" ", "\u00a0");

function learnt(outcome, call, key, before, now) {
  const name = key ?? call?.endpoint;
  const place = (whole) => whole.predictions.find((p) => keyOf(p) === name);
  const [was, is] = [place(before), place(now)];
  if (outcome !== "reject") learning.keep(was, is);
  let text = "Recorded, and asked again: ";
  if (outcome === "reject") {
    text += "none of these was right. They are set aside for this question, the next training learns from it; ";
    text += now.predictions.length ? "here is what comes after them." : "nothing else is likely.";
  } else if (is && was) {
    const same = is.rank === was.rank ? `stays ${is.rank}` : `${was.rank} → ${is.rank}`;
    text += `${bound(name)} ${same}, ${percent(was.confidence)} → ${percent(is.confidence)}.`;
  } else if (is) text += `${bound(name)} is ${is.rank} now, with ${percent(is.confidence)}.`;
  else text += `${bound(call.endpoint)} counts from now on.`;
  goOnWith(call, text);
  announce(text);
}

/** Shows what was learnt, and offers to go on with `call`; hides it when there is nothing to say. */
function goOnWith(call, text = "") {
  going = call;
  const box = byId("learnt");
  box.hidden = !text;
  const go = call && element("button", { type: "button", class: "primary", id: "go-on", onclick: goOn },
    "Go on with it ", element("kbd", { "aria-hidden": "true" }, "⏎"));
  replace(box, text && element("p", {}, text), go);
  if (go) go.focus();
  else if (text) suggestions.focus();
}

async function goOn() {
  session.add(going);
  await askAnew();
  suggestions.focus();
}

async function accept() {
  const open = suggestions.current();
  if (!open) return;
  await tell("accept", callOf(open.prediction, open.params), keyOf(open.prediction));
}

function openOverride() {
  if (!answer) return;
  complain("override-problem", null);
  byId("override-call").value = "";
  byId("override-dialog").showModal();
}

async function override(event) {
  event.preventDefault();
  const field = byId("override-call");
  if (selectHole(field)) return;
  const call = readCall(field.value, catalogs.knownOperations());
  if (!call) return complain("override-problem", "Write it as METHOD /path, such as GET /v1/charges/ch_123.");
  byId("override-dialog").close();
  await tell("override", call, null);
}

const KEYS = {
  "/": () => byId("wish").select(),
  a: () => byId("call").focus(),
  ArrowDown: () => suggestions.move(1),
  j: () => suggestions.move(1),
  ArrowUp: () => suggestions.move(-1),
  k: () => suggestions.move(-1),
  Enter: accept,
  e: () => suggestions.edit(),
  o: openOverride,
  x: () => answer && tell("reject"),
  r: askAnew,
  t: session.tryExample,
  u: catalogs.openDialog,
  w: () => suggestions.toggleWhy(),
  1: () => view("predict"),
  2: () => view("operate"),
  "?": () => byId("help").showModal(),
};

const EVERYWHERE = ["1", "2", "?", "u"]; // the other keys are about suggestions

function pressed(event) {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const types = target.matches("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (types) {
    if (event.key === "Escape") target.blur();
    if (event.key === "ArrowDown" && target.id === "wish" && suggestions.count()) {
      event.preventDefault();
      suggestions.focus();
    }
    return;
  }
  if (target.matches("pre") && event.key.startsWith("Arrow")) return; // it scrolls
  if (event.key === "Enter" && target !== document.body) return; // it presses what has the focus
  const act = KEYS[event.key];
  if (!act || (!byId("operate").hidden && !EVERYWHERE.includes(event.key))) return;
  event.preventDefault();
  act();
}

/** Shows one of the two halves of the page; figures of the operator's are asked for while they are looked at. */
function view(name) {
  for (const [half, id] of [["predict", "main"], ["operate", "operate"]]) {
    byId(id).hidden = half !== name;
    byId(`to-${half}`).setAttribute("aria-current", half === name ? "page" : "false");
  }
  if (name === "operate") figures();
  scrollTo(0, 0);
}

function figures() {
  models.refresh();
  experiments.refresh();
  costs.refresh();
}

/** Offers a field for the key where the service wants one; another key begins the page anew. */
async function offerKey() {
  const { auth } = await api.start().catch(() => ({ auth: "none" }));
  byId("key-form").hidden = auth === "none";
  byId("key").value = api.key();
  const take = () => {
    const typed = byId("key").value.trim();
    if (typed === api.key()) return;
    api.useKey(typed);
    location.reload();
  };
  byId("key").addEventListener("change", take);
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    take();
  });
}

async function begin() {
  await offerKey();
  byId("user").value = localStorage.getItem(USER) || "console";
  byId("user").addEventListener("change", () => {
    localStorage.setItem(USER, session.user());
    learning.forget();
  });
  byId("to-predict").addEventListener("click", () => view("predict"));
  byId("to-operate").addEventListener("click", () => view("operate"));
  byId("show-me").addEventListener("click", session.tryExample);
  setInterval(() => document.visibilityState === "visible" && !byId("operate").hidden && figures(), EVERY_MS);
  document.addEventListener("keydown", pressed);
  byId("open-help").addEventListener("click", KEYS["?"]);
  byId("ask-again").addEventListener("click", askAnew);
  byId("reject").addEventListener("click", KEYS.x);
  byId("override").addEventListener("click", openOverride);
  byId("override-form").addEventListener("submit", override);
  completing(byId("override-call"), catalogs.knownOperations);
  suggestions.onAccept(accept);
  session.begin(askAnew);
  learning.forget();
  models.begin(experiments.refresh);
  pulse.watch(models.hear);
  await catalogs.begin(() => {
    session.beginAnew();
    learning.forget();
    askAnew();
  });
  document.documentElement.dataset.ready = "true";
}

begin();
