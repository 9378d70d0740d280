// Which catalog is asked about: the default one, the packaged examples, uploads, or the address of a spec.

import * as api from "./api.js";
import { announce, byId, complain, element, replace } from "./dom.js";

const choice = byId("catalog");
const dialog = byId("catalog-dialog");
const KEPT = "opensesame.catalog";
const ADDRESS = "url:"; // before the value of a catalog that has an address and no name

const known = new Map(); // value of the option -> text
let operations = [];
let examples = {};
let changed = () => {};

/** What a request says: a name or an address. */
export const source = () => (isAddress() ? { spec_url: choice.value.slice(ADDRESS.length) } : { catalog: choice.value });
export const knownOperations = () => operations;
export const sessions = () => examples[choice.value] ?? [];

const isAddress = () => choice.value.startsWith(ADDRESS);

/** Keeps what an answer names: no route lists the operations of a catalog by its address. */
export function meet(predictions) {
  if (!isAddress()) return;
  const met = new Set(operations.map(({ endpoint }) => endpoint));
  operations = [...operations, ...predictions.filter(({ endpoint }) => !met.has(endpoint))];
}

export async function begin(onChange) {
  changed = onChange;
  let usual = "";
  try {
    ({ default_catalog: usual, examples } = await api.start());
  } catch (problem) {
    announce(problem.message);
  }
  for (const name of [usual, ...Object.keys(examples)]) if (name) known.set(name, name);
  await uploaded();
  const last = localStorage.getItem(KEPT) ?? "";
  if (last.startsWith(ADDRESS)) known.set(last, last.slice(ADDRESS.length));
  await choose(known.has(last) ? last : usual || [...known.keys()][0]);
  choice.addEventListener("change", () => choose(choice.value));
  byId("add-catalog").addEventListener("click", openDialog);
  byId("upload").addEventListener("submit", upload);
  byId("by-url").addEventListener("submit", byUrl);
  byId("spec-file").addEventListener("change", () => suggestName(byId("spec-file").files[0]));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", dropped);
}

export function openDialog() {
  complain("catalog-problem", null);
  if (!dialog.open) dialog.showModal();
}

async function uploaded() {
  try {
    const { catalogs, packaged } = await api.catalogs();
    for (const { name, operations: count } of catalogs) known.set(name, `${name} · ${count}`);
    for (const name of packaged) if (!known.has(name)) known.set(name, name);
  } catch (problem) {
    announce(problem.message); // those with sessions can be asked about all the same
  }
}

async function choose(value) {
  if (!value) return;
  replace(choice, [...known].map(([name, text]) => element("option", { value: name }, text)));
  choice.value = value;
  operations = [];
  changed(); // at once: what is typed until the operations are here is about this one
  localStorage.setItem(KEPT, value);
  if (isAddress()) return;
  try {
    const described = await api.catalog(value);
    if (choice.value !== value) return; // another one was chosen meanwhile
    operations = described.endpoints;
    known.set(value, `${described.title || value} · ${described.operations}`);
    choice.selectedOptions[0].textContent = known.get(value);
    document.dispatchEvent(new Event("operations"));
  } catch (problem) {
    announce(problem.message);
  }
}

async function upload(event) {
  event.preventDefault();
  const [file] = byId("spec-file").files;
  const name = byId("spec-name").value.trim();
  complain("catalog-problem", null);
  const button = event.submitter;
  button.disabled = true;
  try {
    const made = await api.upload(name, file);
    known.set(name, `${made.title || name} · ${made.operations}`);
    dialog.close();
    announce(`${made.operations} operations in ${name}`);
    await choose(name);
  } catch (problem) {
    complain("catalog-problem", problem.message);
  } finally {
    button.disabled = false;
  }
}

async function byUrl(event) {
  event.preventDefault();
  const url = byId("spec-url").value.trim();
  known.set(ADDRESS + url, url);
  dialog.close();
  await choose(ADDRESS + url);
}

function suggestName(file) {
  if (!file || byId("spec-name").value) return;
  byId("spec-name").value = file.name.replace(/\.(json|ya?ml)$/i, "").replace(/[^A-Za-z0-9._-]+/g, "-").slice(0, 128);
}

function dropped(event) {
  event.preventDefault();
  if (!event.dataTransfer.files.length) return;
  byId("spec-file").files = event.dataTransfer.files;
  openDialog();
  suggestName(event.dataTransfer.files[0]);
}
