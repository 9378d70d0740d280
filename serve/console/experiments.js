// Champion against challenger: the rates of each arm, and what their differences allow to say.

import * as api from "./api.js";
import { byId, element, percent, replace } from "./dom.js";

const EVERY_MS = 30_000;

async function refresh() {
  let told;
  try {
    told = await api.comparison();
  } catch {
    told = { experiment: null }; // the state is away, which the parts say
  }
  byId("experiment").hidden = !told.experiment;
  if (told.experiment) draw(told);
}

function draw({ name, champion, challenger, arms, differences, interleaving }) {
  const measures = differences.filter(({ measure }) => arms.some((arm) => arm[measure] !== null));
  const rate = (value) => (value === null || value === undefined ? "–" : percent(value));
  replace(byId("arms"),
    element("p", { class: "hint" }, `${name}: ${champion} against ${challenger}`),
    element("table", { class: "arms" },
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Arm"),
        measures.map(({ measure }) => element("th", { scope: "col" }, measure)), element("th", { scope: "col" }, "shown"))),
      element("tbody", {}, arms.map((arm) => element("tr", {}, element("th", { scope: "row" }, arm.arm),
        measures.map(({ measure }) => element("td", {}, rate(arm[measure]))),
        element("td", {}, String(arm.counts.predictions ?? 0)))))),
    measures.map(({ measure, difference, low, high, verdict }) => difference !== null && element("p", { class: "hint" },
      `${measure}: ${points(difference)} (${points(low)} to ${points(high)}), ${verdict}`)),
    interleaving.challenger_share !== null && element("p", { class: "hint" },
      `Drafts won by the challenger: ${percent(interleaving.challenger_share)}, ${interleaving.verdict}`));
}

const points = (share) => `${share < 0 ? "−" : "+"}${Math.abs(share * 100).toFixed(1)} pt`;

export function watch() {
  refresh();
  setInterval(() => document.visibilityState === "visible" && refresh(), EVERY_MS);
}
