// What this tab has taught: where the right call stood each time, before and after it was told.

import { byId, element, percent, replace, shape } from "./dom.js";

const KEPT = 24; // outcomes in the chart
const DEPTH = 9; // ranks drawn: what stood lower, or nowhere, is on the last line

let told = []; // {was, is, confidence}, oldest first; a rank is 0 where it was not shown

/** Keeps one outcome: ranks of the call that was right before and after it was told. */
export function keep(was, is) {
  told = [...told, { was: was?.rank ?? 0, is: is?.rank ?? 0, confidence: [was?.confidence ?? 0, is?.confidence ?? 0] }].slice(-KEPT);
  draw();
}

/** Another user or catalog: it knows other things. */
export function forget() {
  told = [];
  draw();
}

function draw() {
  if (!told.length) {
    return replace(byId("learning"), element("p", { class: "empty" },
      "Accept or correct a few answers: the chart shows the right call climb."));
  }
  const last = told.at(-1);
  const first = told.filter(({ was }) => was === 1).length;
  const rose = told.filter(({ confidence: [was, is] }) => is > was + 0.005).length;
  replace(byId("learning"),
    chart(),
    element("p", { class: "hint" }, `The right call stood first in ${first} of ${told.length}; telling it made it likelier in ${rose}.`),
    last.confidence[1] > 0 && element("p", { class: "hint" }, `Last: ${percent(last.confidence[0])} → ${percent(last.confidence[1])}.`));
}

function chart() {
  const width = 240, height = 70, step = width / Math.max(told.length, 8);
  const y = (rank) => 6 + (Math.min(rank || DEPTH, DEPTH) - 1) * ((height - 12) / (DEPTH - 1));
  const marks = told.flatMap(({ was, is }, i) => {
    const x = (i + 0.5) * step;
    return [
      shape("line", { x1: x, x2: x, y1: y(was), y2: y(is), class: is && (!was || is < was) ? "rise" : "stay" }),
      shape("circle", { cx: x, cy: y(was), r: 3, class: "was" }),
      shape("circle", { cx: x, cy: y(is), r: 3.5, class: "is" }),
    ];
  });
  const ranks = told.map(({ was, is }) => `${was || "none"} to ${is || "none"}`).join(", ");
  return element("figure", { class: "ranks" },
    shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Ranks of the right call before and after: ${ranks}` },
      shape("line", { x1: 0, x2: width, y1: y(1), y2: y(1), class: "top" }), marks),
    element("figcaption", {}, element("span", {}, "the line: rank 1"), element("span", {}, "○ before  ● after")));
}
