// Champion against challenger: counts and rates of each arm with their intervals, and what they allow to say.

import * as api from "./api.js";
import { byId, element, percent, replace, shape } from "./dom.js";

const NAMES = { acceptance: "accepted", "hit@1": "first was right", ctr: "clicked", conversion: "converted" };
const OF = { acceptance: "answered", "hit@1": "observed", ctr: "impressions", conversion: "impressions" };
const WORDS = { champion: "the champion is better", challenger: "the challenger is better", undecided: "undecided" };

export async function refresh() {
  try {
    draw(await api.comparison());
  } catch (problem) {
    replace(byId("arms"), element("p", { class: "empty" }, problem.message));
  }
}

function draw(told) {
  const { percent: shares, arms, interleaving, shadow } = told;
  const split = `Of the users ${shares.challenger} % see the challenger, ${shares.interleave} % both in turn; ` +
    `${shares.shadow} % of the champion's answers the challenger orders unseen (the configuration's experiments).`;
  if (!told.experiment) {
    return replace(byId("arms"),
      element("p", { class: "empty" }, "No two rankers have been compared yet. Name a challenger among the models; these shares, by default none, say who sees it."),
      element("p", { class: "hint" }, split));
  }
  const measures = told.differences.filter(({ measure }) => arms.some((arm) => arm[measure] !== null));
  replace(byId("arms"),
    element("p", {}, element("strong", {}, told.champion), " against ", element("strong", {}, told.challenger)),
    element("p", { class: "hint" }, split),
    element("table", { class: "arms" },
      element("thead", {}, element("tr", {}, ["Arm", "shown", "answered", "observed"].map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, arms.map(({ arm, counts }) => element("tr", {}, element("th", { scope: "row" }, arm),
        ["predictions", "answered", "observed"].map((name) => element("td", {}, String(counts[name] ?? 0))))))),
    measures.map((difference) => measured(difference, arms, told.alpha)),
    interleaving.challenger_share !== null && wins("Taking turns, the challenger's calls were chosen", interleaving),
    shadow.only_one.challenger_share !== null && wins("Unseen, where only one of both knew, it was the challenger", shadow.only_one));
}

/** One measure: the rate of each arm with its interval on one axis, and the verdict. */
function measured({ measure, difference, low, high, verdict }, arms, alpha) {
  return element("div", { class: "measure", "data-measure": measure },
    element("h3", {}, NAMES[measure] ?? measure),
    element("dl", {}, arms.filter((arm) => arm[measure] !== null).map((arm) => {
      const [from, to] = arm.intervals[measure];
      return element("div", { title: `${percent(from)} to ${percent(to)}: the true rate, at every look` },
        element("dt", {}, arm.arm), element("dd", {}, axis(arm[measure], from, to, arm.arm),
          element("span", { class: "figure" }, `${percent(arm[measure])} of ${arm.counts[OF[measure]]}`)));
    })),
    difference !== null && element("p", { class: `hint verdict ${verdict}` },
      `${points(difference)} (${points(low)} to ${points(high)}, ${Math.round((1 - alpha) * 100)} %): ${WORDS[verdict]}`));
}

function axis(rate, from, to, arm) {
  const at = (share) => 2 + share * 96;
  return shape("svg", { viewBox: "0 0 100 12", class: `axis ${arm}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    shape("line", { x1: 2, x2: 98, y1: 6, y2: 6, class: "whole" }),
    shape("line", { x1: at(from), x2: at(to), y1: 6, y2: 6, class: "interval" }),
    shape("line", { x1: at(rate), x2: at(rate), y1: 1, y2: 11, class: "rate" }));
}

const wins = (text, { challenger, champion, challenger_share: share, low, high, verdict }) => element("p", { class: `hint verdict ${verdict}` },
  `${text} in ${challenger} of ${challenger + champion}: ${percent(share)} (${percent(low)} to ${percent(high)}), ${WORDS[verdict]}.`);

const points = (share) => `${share < 0 ? "−" : "+"}${Math.abs(share * 100).toFixed(1)} pt`;
