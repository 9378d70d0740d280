// Why a suggestion stands where it does: what its score is made of, as bars, and what was learnt here.

import { element, percent } from "./dom.js";

const TOLD = 6; // groups of features
const NEAR = 0.005; // confidences that are told apart
const GROUPS = {
  prompt: "words of the wish",
  meaning: "meaning of the wish",
  verb: "what the wish wants done",
  goal: "leads to what the wish names",
  typed: "values in the wish",
  told: "the wish gives what it needs",
  last: "fits the call before",
  past: "fits the calls so far",
  state: "the session has what it needs",
  repeat: "called before here",
  prior: "the kind of call it is",
  bound: "values for its arguments",
  "last class": "the kind of the call before",
  network: "what came next on other APIs",
  generator: "the language model chose it",
};

/** The bars; null where nothing is explained. */
export function chart({ explanation, confidence }) {
  if (!explanation) return null;
  const { parts, rest } = explanation;
  const groups = new Map();
  for (const { group, ...part } of parts) groups.set(group, [...(groups.get(group) ?? []), part]);
  const rows = [...groups].map(([group, all]) => ({
    name: GROUPS[group] ?? group,
    part: all.reduce((sum, { part }) => sum + part, 0),
    title: all.map(({ meaning, value, part }) => `${signed(part)}  ${meaning}${value === null ? "" : ` = ${figure(value)}`}`).join("\n"),
  })).sort((a, b) => b.part - a.part);
  const total = rows.reduce((sum, { part }) => sum + part, rest);
  const others = rows.splice(TOLD).reduce((sum, { part }) => sum + part, rest);
  rows.push({ name: others < 0 ? "what speaks against it" : "all else", part: others, title: "all other features together" });
  const whole = Math.max(...rows.map(({ part }) => Math.abs(part)), 1e-9);
  return [
    element("dl", { class: "parts-of-score" }, rows.map(({ name, part, title }) => element("div", { title },
      element("dt", {}, name),
      element("dd", {},
        element("span", { class: part < 0 ? "span minus" : "span", "aria-hidden": "true" },
          element("span", { class: "bar-fill", share: Math.abs(part) / whole })),
        element("span", { class: "figure" }, signed(part)))))),
    element("p", { class: "hint" }, `${signed(total)} against the average of the shortlist. ${learnt(explanation, confidence)}`),
  ];
}

function learnt({ ranker_confidence: alone }, confidence) {
  if (Math.abs(confidence - alone) < NEAR) return "";
  return `The ranker alone says ${percent(alone)}; with what was learnt here it is ${percent(confidence)}.`;
}

const figure = (value) => String(Number(value.toPrecision(3)));
const signed = (part) => `${part < 0 ? "−" : "+"}${Math.abs(part).toFixed(2)}`;
