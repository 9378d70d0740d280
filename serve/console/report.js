// One model in full: the gate's conditions as a table, metrics, and the whole document for who wants it.

import { element } from "./dom.js";

export function report(version) {
  const { gate, metrics } = version;
  const figures = Object.entries(metrics ?? {});
  return [
    gate?.conditions && [
      element("p", { class: `gate ${gate.passed ? "passed" : "refused"}` },
        element("strong", {}, gate.passed ? "Passed the gate. " : "Refused by the gate. "), gate.why ?? ""),
      element("p", { class: "hint" }, `${gate.challenger} against ${gate.champion}`),
      element("table", { class: "conditions" },
        element("thead", {}, element("tr", {}, ["Condition", "", "champion", "it", "95 % of the difference"].map((name) =>
          element("th", { scope: "col" }, name)))),
        element("tbody", {}, gate.conditions.map(condition))),
    ],
    !gate?.conditions && element("p", { class: "hint" },
      version.origin === "installed" ? "It came with the package: no gate has judged it." : "No gate has judged it."),
    figures.length > 0 && [element("h3", {}, "Metrics"), element("dl", { class: "facts" }, figures.map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, figure(value)))))],
    element("details", {}, element("summary", {}, "The whole document"),
      element("pre", { tabindex: "0" }, JSON.stringify(version, null, 2))),
  ];
}

function condition({ name, passed, why, champion, challenger, low, high }) {
  const interval = low === null || low === undefined ? "" : `${figure(low)} to ${figure(high)}`;
  return element("tr", { class: passed ? "passed" : "failed" },
    element("th", { scope: "row" }, name, element("small", {}, why)),
    element("td", {}, element("span", { class: `chip ${passed ? "passed" : "failed"}` }, passed ? "pass" : "fail")),
    element("td", {}, figure(champion)), element("td", {}, figure(challenger)), element("td", {}, interval));
}

const figure = (value) => (typeof value === "number" ? String(Number(value.toPrecision(3))) : value ?? "");
