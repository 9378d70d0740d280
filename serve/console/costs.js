// What language models cost today: spend against the budget, by tier, and why they were asked or not.

import * as api from "./api.js";
import { byId, element, replace } from "./dom.js";

const WHY = {
  off: "none was there to ask",
  worth: "worth its cost",
  not_worth: "the ranker is sure enough",
  history_only: "no wish to read",
  max_cost: "dearer than the request allows",
  budget: "the day's budget",
  deadline: "no time for it",
  breaker: "it failed too often lately",
  overload: "too much is asked of it",
  late: "it answered too late",
  failed: "it failed",
};

export async function refresh() {
  let told;
  try {
    told = await api.costs();
  } catch (problem) {
    return replace(byId("costs"), element("p", { class: "empty" }, problem.message));
  }
  const { budget, tiers, decisions } = told;
  const tierRows = Object.entries(tiers);
  const most = Math.max(...Object.values(decisions), 1);
  replace(byId("costs"),
    element("p", { class: "big" }, element("strong", {}, dollars(told.cost_usd)), " ",
      element("span", {}, told.predictions ? `today, ${told.predictions} predictions, ${dollars(told.cost_per_prediction_usd)} each`
        : "today: no language model was considered, the ranker costs nothing")),
    element("div", { class: "budget" },
      element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: `bar-fill ${budget.state}`, share: Math.min(budget.used, 1) })),
      element("span", { class: `chip ${budget.state}` }, budget.state)),
    element("p", { class: "hint" }, `${(budget.used * 100).toFixed(1)} % of the day's ${dollars(budget.daily_usd)}; anew at ${budget.resets_at.slice(11, 16)} UTC`),
    tierRows.length > 0 && element("table", {},
      element("thead", {}, row("th", ["Tier", "asked", "answered", "tokens", "cost"])),
      element("tbody", {}, tierRows.map(([tier, t]) =>
        row("td", [tier, t.asked, t.answered, `${t.tokens_in} + ${t.tokens_out}`, dollars(t.cost_usd)])))),
    Object.keys(decisions).length > 0 && element("h3", {}, "Why a language model was asked, or not"),
    element("dl", { class: "counts" }, Object.entries(decisions).map(([reason, count]) => element("div", {},
      element("dt", {}, WHY[reason] ?? reason.replaceAll("_", " ")),
      element("dd", {}, element("span", { class: "track", "aria-hidden": "true" },
        element("span", { class: "bar-fill", share: count / most })), String(count))))));
}

const row = (kind, cells) => element("tr", {}, cells.map((cell, i) =>
  element(i ? kind : "th", { scope: i ? null : kind === "th" ? "col" : "row" }, String(cell))));

const dollars = (usd) => `$${usd === 0 ? "0" : usd >= 0.01 ? usd.toFixed(2) : Number(usd.toPrecision(2))}`;
