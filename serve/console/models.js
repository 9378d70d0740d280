// Models: who serves, what the gate said, promotion, rollback, challenge, training with its progress.

import * as api from "./api.js";
import { announce, byId, confirmed, element, replace } from "./dom.js";
import { report } from "./report.js";

const TRAINING_MS = 1500;
const AGAIN_MS = 3000;
const FIGURES = 4; // of a version's metrics, in its row
const ENDED = ["succeeded", "failed", "stopped"];
const STEPS = { drain: "take in feedback", dataset: "make groups", fit: "fit", evaluate: "judge", register: "keep" };
const JOB = "opensesame.training"; // of this tab: a reload goes on showing it

let present = null; // whether the service has a part that knows models; null until it is heard of
let training = null; // id of the job whose progress is shown
let again = 0;
let changed = () => {};

/** Shows them anew; not asked for where the service has no part that knows them. */
export async function refresh() {
  if (!present) {
    byId("roll-back").disabled = byId("train").disabled = true;
    replace(byId("models"), element("p", { class: "empty" }, "This service runs without a model registry."));
    return;
  }
  let found;
  try {
    found = await api.models();
  } catch (problem) {
    byId("roll-back").disabled = byId("train").disabled = true;
    clearTimeout(again);
    if (problem.status === 0 || problem.status === 503) again = setTimeout(refresh, AGAIN_MS); // it may only be starting
    const text = problem.status === 404 ? "This service has no model routes." : problem.message;
    replace(byId("models"), element("p", { class: "empty" }, text));
    return;
  }
  byId("roll-back").disabled = !found.previous;
  byId("train").disabled = training !== null;
  replace(byId("models"),
    found.models.length ? element("ul", { class: "models" }, found.models.map((model) => row(model, found)))
      : element("p", { class: "empty" }, "No version is registered yet."));
}

function row(model, found) {
  const names = model.aliases.length ? model.aliases
    : ["champion", "challenger", "previous"].filter((role) => found[role] && [model.version, model.number].includes(found[role]));
  const title = model.name || model.version;
  const serves = names.includes("champion");
  const challenges = names.includes("challenger");
  const { gate } = model;
  const figures = Object.entries(model.metrics ?? {}).filter(([, value]) => Number.isFinite(value)).slice(0, FIGURES);
  const act = (name, label, text, listener) => element("button",
    { type: "button", class: `quiet ${name}`, "aria-label": `${label} ${title}`, onclick: listener }, text);
  return element("li", { class: serves ? "model serves" : "model", "data-version": model.version },
    element("div", { class: "model-head" },
      element("button", { type: "button", class: "link", onclick: () => show(model.version, title) }, title),
      names.map((name) => element("span", { class: `chip ${name}` }, name)),
      gate && element("span", { class: `chip ${gate.passed ? "passed" : "failed"}` }, gate.passed ? "gate passed" : "gate refused")),
    element("p", { class: "hint" }, [model.origin, when(model.created)].filter(Boolean).join(" · ")),
    gate?.why && element("p", { class: "gate" }, gate.why),
    figures.length > 0 && element("dl", { class: "facts" }, figures.map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, String(Number(value.toPrecision(3))))))),
    element("div", { class: "row" },
      act("report", "Report on", "Report", () => show(model.version, title)),
      !serves && act("promote", "Promote", "Promote", () => promote(model.version, title)),
      !serves && !challenges && act("challenge", "Challenge with", "Challenge", () => challenge(model.version, title)),
      challenges && act("end-challenge", "End the challenge of", "End the challenge", endChallenge)));
}

async function show(version, title) {
  byId("model-title").textContent = title;
  replace(byId("model-report"), "…");
  byId("model-dialog").showModal();
  try {
    replace(byId("model-report"), report(await api.model(version)));
  } catch (problem) {
    replace(byId("model-report"), problem.message);
  }
}

async function promote(version, title) {
  const yes = await confirmed(`Promote ${title}?`, "Every replica serves it within seconds. You can roll back.", "Promote");
  if (yes) await moving(() => api.promote(version), `${title} is the champion`);
}

async function rollBack() {
  const yes = await confirmed("Roll back?", "The champion before this one serves again, within seconds.", "Roll back");
  if (yes) await moving(api.rollBack, "Rolled back");
}

async function challenge(version, title) {
  const text = "The configuration's experiments say who sees it, by default nobody; what users do is counted by arm.";
  if (await confirmed(`Challenge with ${title}?`, text, "Challenge")) {
    await moving(() => api.challenge(version), `${title} is the challenger`);
  }
}

async function endChallenge() {
  const yes = await confirmed("End the challenge?", "Everybody sees the champion; what was counted stays.", "End it");
  if (yes) await moving(api.endChallenge, "Nobody is the challenger any more");
}

async function moving(act, said) {
  try {
    await act();
    tell(said);
  } catch (problem) {
    tell(problem.message, true);
  }
  changed();
  await refresh();
}

async function train() {
  byId("train").disabled = true;
  let asked;
  try {
    asked = await api.train(byId("train-force").checked);
  } catch (problem) {
    tell(problem.message, true);
    return refresh();
  }
  await follow(asked.job_id);
}

/** Shows how far a training is, until it ends. */
async function follow(job) {
  training = job;
  sessionStorage.setItem(JOB, job);
  byId("train").disabled = true;
  const seen = [];
  while (training) {
    let told;
    try {
      told = await api.training(job);
    } catch (problem) {
      tell(problem.message, true);
      break;
    }
    progress(told, seen);
    if (ENDED.includes(told.status)) break;
    await new Promise((resolve) => setTimeout(resolve, TRAINING_MS));
  }
  training = null;
  sessionStorage.removeItem(JOB);
  await refresh();
}

function progress({ status, progress: step, detail }, seen) {
  const ended = ENDED.includes(status);
  if (step?.step && !seen.includes(step.step)) seen.push(step.step);
  const at = Object.keys(STEPS).indexOf(step?.step);
  const came = ended && step?.status ? `Training ${status}, ${step.status}: ${step.why}` // its outcome is the last that it tells
    : [`Training ${status}`, !ended && (STEPS[step?.step] ?? step?.step), detail].filter(Boolean).join(": ");
  const bar = step?.total && !ended ? element("progress", { max: step.total, value: step.done, "aria-label": step.step }) : null;
  const steps = !ended && element("ol", { class: "steps" }, Object.entries(STEPS).map(([name, text], i) => element("li",
    { class: i < at ? "done" : i === at ? "now" : null, "aria-current": i === at ? "step" : null }, text)));
  replace(byId("training"), element("p", { class: status === "failed" ? "problem" : "hint" }, came), steps, bar);
}

function tell(text, isProblem = false) {
  replace(byId("training"), element("p", { class: isProblem ? "problem" : "hint" }, text));
  announce(text);
}

function when(created) {
  const date = typeof created === "number" ? new Date(created * 1000) : new Date(created);
  return created && !Number.isNaN(date.getTime()) ? date.toISOString().slice(0, 16).replace("T", " ") : "";
}

/** What parts the service has, as its health tells. */
export function hear(components) {
  const is = "models" in components;
  if (is === present) return;
  present = is;
  refresh();
}

/** Begins; `onChange` hears that champion or challenger were moved here. */
export function begin(onChange) {
  changed = onChange;
  byId("roll-back").addEventListener("click", rollBack);
  byId("train").addEventListener("click", train);
  const job = sessionStorage.getItem(JOB);
  if (job) follow(job);
}
