// The ranked list: one suggestion is open at a time, with its reason and its arguments to edit.

import { announce, byId, element, percent, replace } from "./dom.js";
import { keyOf, putValue, readValue, written } from "./calls.js";
import * as why from "./why.js";

const list = byId("suggestions");
const SOURCES = {
  words: "its words are those of the wish",
  meaning: "it means what the wish means",
  relations: "it takes what the calls gave",
  habit: "it followed before",
  generator: "the language model proposed it",
};

const FLAGS = {
  destructive: "It deletes, cancels, refunds or the like: offered only because the wish asks for it, or it was accepted before",
  admin: "Its name says that it is for administrators: look twice",
  internal: "Its name says that it is internal: look twice",
  debug: "Its name says that it is for debugging: look twice",
};
const WHY = "opensesame.why";

let predictions = [];
let chosen = 0;
let edited = new Map(); // key -> params as they stand in the fields
let accepting = () => {};

export function onAccept(listener) {
  accepting = listener;
}

/** Shows an answer; `before` is the one to the same question that it moves away from, if there is one. */
export function show(answer, before = null) {
  const places = new Map([...list.children].map((item) => [item.dataset.key, item.getBoundingClientRect().top]));
  const key = before && predictions[chosen] ? keyOf(predictions[chosen]) : null;
  predictions = answer.predictions;
  edited = new Map(predictions.map((p) => [keyOf(p), { ...p.params }]));
  chosen = Math.max(0, predictions.findIndex((p) => keyOf(p) === key));
  const ranks = new Map((before?.predictions ?? []).map((p) => [keyOf(p), p]));
  replace(list, predictions.map((prediction, i) => item(prediction, i, before && ranks.get(keyOf(prediction)), before)));
  open(chosen);
  if (before) slide(places);
}

export function clear() {
  predictions = [];
  replace(list);
}

export const count = () => predictions.length;

/** The open suggestion and its params as edited; null when there is none. */
export function current() {
  const prediction = predictions[chosen];
  return prediction ? { prediction, params: edited.get(keyOf(prediction)) } : null;
}

export function move(step) {
  if (!predictions.length) return;
  open(Math.min(Math.max(chosen + step, 0), predictions.length - 1));
  focus();
}

export function focus() {
  list.querySelector('.head[aria-expanded="true"]')?.focus();
}

export function edit() {
  const field = list.querySelector(".suggestion.open .body input");
  field?.focus();
  field?.select();
}

function open(index) {
  chosen = index;
  for (const [i, row] of [...list.children].entries()) {
    const is = i === index;
    row.classList.toggle("open", is);
    row.querySelector(".head").setAttribute("aria-expanded", String(is));
    row.querySelector(".head").tabIndex = is ? 0 : -1;
    row.querySelector(".body").hidden = !is;
  }
}

function item(prediction, index, was, compared) {
  const { method, path, confidence } = prediction;
  const head = element("button",
    { type: "button", class: "head", id: `head-${index}`, "aria-controls": `body-${index}`,
      "aria-expanded": "false", "aria-keyshortcuts": "Enter", onclick: () => open(index),
      onkeydown: (event) => {
        if (event.key !== "Enter" || event.repeat) return;
        event.preventDefault();
        open(index);
        accepting();
      } },
    element("span", { class: "rank" }, String(prediction.rank)),
    element("span", { class: "what" },
      method && element("span", { class: `method m-${method.toLowerCase()}` }, method),
      " ", element("code", { class: "path" }, pathParts(path ?? prediction.endpoint, prediction.params)),
      " ", flags(prediction),
      " ", compared && moved(prediction, was)),
    element("span", { class: "summary" }, prediction.summary || " "),
    element("span", { class: "confidence" },
      element("span", { class: "track", "aria-hidden": "true" },
        element("span", { class: "bar-fill", share: confidence }),
        shifted(prediction) && element("span", { class: "tick", share: prediction.explanation.ranker_confidence,
          title: `${percent(prediction.explanation.ranker_confidence)} without what was learnt here` })),
      element("span", { class: "figure" }, percent(confidence))));
  return element("li", { class: "suggestion", "data-key": keyOf(prediction), "data-method": method ?? "" },
    head, body(prediction, index));
}

function body(prediction, index) {
  const names = [...new Set([...prediction.missing_params, ...Object.keys(prediction.params)])];
  const fields = element("div", { class: "arguments" });
  for (const name of names) fields.append(...argument(prediction, name, index));
  const accept = element("button", { type: "button", class: "primary accept", onclick: () => accepting() },
    "Accept ", element("kbd", { "aria-hidden": "true" }, "⏎"));
  const more = element("button", { type: "button", class: "quiet", onclick: () => another(prediction, fields, index) },
    "Add an argument");
  return element("div", { class: "body", id: `body-${index}`, role: "group", "aria-labelledby": `head-${index}`, hidden: true },
    prediction.reason && element("p", { class: "reason" }, prediction.reason),
    element("p", { class: "sources" }, "Found by ",
      prediction.sources.map((source) => [element("span", { class: "chip", title: SOURCES[source] ?? "" }, source), " "]),
      element("span", { class: "score" }, `score ${prediction.score.toFixed(2)}`)),
    names.length > 0 && element("h3", {}, "Arguments"), fields,
    element("div", { class: "row" }, accept, more),
    reasons(prediction));
}

/** What the score is made of; whether it is unfolded is remembered. */
function reasons(prediction) {
  const chart = why.chart(prediction);
  return chart && element("details",
    { class: "why", open: localStorage.getItem(WHY) !== "closed",
      ontoggle: (event) => event.target.isConnected && localStorage.setItem(WHY, event.target.open ? "open" : "closed") },
    element("summary", {}, "Why ", element("kbd", { "aria-hidden": "true" }, "w")), chart);
}

const flags = (prediction) => [...(prediction.is_destructive ? ["destructive"] : []), ...(prediction.flags ?? [])].map((flag) =>
  [element("span", { class: flag === "destructive" ? "flag" : "flag twice", title: FLAGS[flag] ?? "" }, flag), " "]);

/** What was learnt here moved it. */
const shifted = ({ explanation, confidence }) => explanation && Math.abs(explanation.ranker_confidence - confidence) >= 0.005;

/** Folds the reasons of the open suggestion, or unfolds them. */
export function toggleWhy() {
  const shown = list.querySelector(".suggestion.open details");
  if (!shown) return;
  const open = !shown.open;
  for (const details of list.querySelectorAll("details")) details.open = open;
}

function argument(prediction, name, index) {
  const params = edited.get(keyOf(prediction));
  const id = `argument-${index}-${Object.keys(params).indexOf(name)}-${name.replace(/\W/g, "_")}`;
  const missing = prediction.missing_params.includes(name);
  const before = prediction.params[name];
  const field = element("input", {
    id, value: before === undefined ? "" : written(before), placeholder: missing ? "needed, not known yet" : "",
    class: missing ? "missing" : null, spellcheck: "false", autocomplete: "off", "data-name": name,
    oninput: (event) => {
      putValue(params, name, event.target.value === "" ? undefined : readValue(event.target.value, before));
      const [head] = name.split(".", 1);
      const whole = head !== name && event.target.parentElement.querySelector(`[data-name="${CSS.escape(head)}"]`);
      if (whole) whole.value = written(params[head]);
    },
    onkeydown: enters,
  });
  return [element("label", { for: id }, element("code", {}, name), missing && element("span", { class: "needed" }, "needed")), field];
}

function another(prediction, fields, index) {
  const params = edited.get(keyOf(prediction));
  let known = "";
  const name = element("input", { "aria-label": "Name of the argument", placeholder: "name", spellcheck: "false", onkeydown: enters });
  const value = element("input", { "aria-label": "Value of the argument", placeholder: "value", spellcheck: "false", onkeydown: enters });
  const keep = () => {
    if (known) delete params[known];
    known = name.value.trim();
    if (known && value.value) params[known] = value.value;
  };
  name.addEventListener("input", keep);
  value.addEventListener("input", keep);
  fields.append(name, value);
  name.focus();
  open(index);
}

function enters(event) {
  if (event.key === "Enter") {
    event.preventDefault();
    accepting();
  } else if (event.key === "Escape") {
    focus();
    event.stopPropagation();
  }
}

/** The path with its filled holes marked. */
function pathParts(path, params) {
  return path.split(/(\{[^{}]*\})/).map((piece) => {
    if (!piece.startsWith("{")) return piece;
    const value = params[piece.slice(1, -1)];
    return value === undefined ? element("span", { class: "hole" }, piece)
      : element("span", { class: "filled", title: piece }, String(value));
  });
}

function moved(prediction, was) {
  if (!was) return element("span", { class: "delta up" }, "new");
  const ranks = was.rank - prediction.rank;
  const share = prediction.confidence - was.confidence;
  if (!ranks && Math.abs(share) < 0.005) return null;
  const up = ranks > 0 || (!ranks && share > 0);
  const points = `${share > 0 ? "+" : "−"}${Math.abs(share * 100).toFixed(Math.abs(share) < 0.1 ? 1 : 0)} pt`;
  return element("span", { class: `delta ${up ? "up" : "down"}` },
    ranks ? `${up ? "▲" : "▼"} ${Math.abs(ranks)} ` : "", points);
}

/** Rows glide from where they stood. */
function slide(places) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const row of list.children) {
    const from = places.get(row.dataset.key);
    const by = from === undefined ? 0 : from - row.getBoundingClientRect().top;
    const start = from === undefined ? { opacity: 0 } : { transform: `translateY(${by}px)` };
    row.animate([start, { opacity: 1, transform: "none" }], { duration: 450, easing: "cubic-bezier(.2,.8,.2,1)" });
  }
}

/** What the list says in one sentence. */
export function tell() {
  const [first] = predictions;
  announce(first ? `${predictions.length} suggestions. First: ${first.endpoint}, ${percent(first.confidence)}.`
    : "No suggestions.");
}
