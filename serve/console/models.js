// Models: who serves, what the gate said, promotion, rollback, training with its progress.

import * as api from "./api.js";
import { announce, byId, confirmed, element, replace } from "./dom.js";

const EVERY_MS = 30_000;
const TRAINING_MS = 1500;
const FIGURES = 4; // of a version's metrics, in its row
const ENDED = ["succeeded", "failed", "stopped"];

let present = null; // whether the service has a part that knows models; null until it is heard of
let training = null; // id of the job whose progress is shown

/** Shows them anew; not asked for where the service has no part that knows them. */
async function refresh() {
  if (!present) {
    replace(byId("models"), element("p", { class: "empty" }, "This service runs without a model registry."));
    return;
  }
  let found;
  try {
    found = await api.models();
  } catch (problem) {
    byId("roll-back").disabled = byId("train").disabled = true;
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
  const figures = Object.entries(model.metrics ?? {}).filter(([, value]) => Number.isFinite(value)).slice(0, FIGURES);
  return element("li", { class: serves ? "model serves" : "model", "data-version": model.version },
    element("div", { class: "model-head" },
      element("button", { type: "button", class: "link", onclick: () => report(model.version) }, title),
      names.map((name) => element("span", { class: `chip ${name}` }, name))),
    element("p", { class: "hint" }, [model.origin, when(model.created)].filter(Boolean).join(" · ")),
    figures.length > 0 && element("dl", { class: "facts" }, figures.map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, String(Number(value.toPrecision(3))))))),
    model.gate && element("p", { class: `gate ${model.gate.verdict ?? ""}` },
      element("strong", {}, `Gate: ${model.gate.verdict ?? "?"} `), model.gate.why ?? ""),
    !serves && element("button", { type: "button", class: "quiet promote", "aria-label": `Promote ${title}`,
      onclick: () => promote(model.version, title) }, "Promote"));
}

async function report(version) {
  byId("model-title").textContent = version;
  byId("model-report").textContent = "…";
  byId("model-dialog").showModal();
  try {
    byId("model-report").textContent = JSON.stringify(await api.model(version), null, 2);
  } catch (problem) {
    byId("model-report").textContent = problem.message;
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

async function moving(act, said) {
  try {
    await act();
    tell(said);
  } catch (problem) {
    tell(problem.message, true);
  }
  await refresh();
}

async function train() {
  byId("train").disabled = true;
  try {
    training = (await api.train()).job_id;
  } catch (problem) {
    tell(problem.message, true);
    return refresh();
  }
  while (training) {
    let told;
    try {
      told = await api.training(training);
    } catch (problem) {
      tell(problem.message, true);
      break;
    }
    progress(told);
    if (ENDED.includes(told.status)) break;
    await new Promise((resolve) => setTimeout(resolve, TRAINING_MS));
  }
  training = null;
  await refresh();
}

function progress({ status, progress: step, detail }) {
  const text = [`Training ${status}`, step?.step, detail].filter(Boolean).join(": ");
  const bar = step?.total && !ENDED.includes(status)
    ? element("progress", { max: step.total, value: step.done, "aria-label": step.step }) : null;
  replace(byId("training"), element("p", { class: status === "failed" ? "problem" : "hint" }, text), bar);
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

export function watch() {
  byId("roll-back").addEventListener("click", rollBack);
  byId("train").addEventListener("click", train);
  setInterval(() => document.visibilityState === "visible" && refresh(), EVERY_MS);
}
