// Elements from plain values. Text is only ever a text node: what a spec says is never markup.

export const byId = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick`) and children; null, undefined and false are left out. */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function shape(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value") made.value = value;
    else if (name === "share") made.style.setProperty("--share", String(value)); // 0 to 1, read by .bar-fill
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function replace(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter(Boolean));
}

/** Says it to who cannot see it. */
export function announce(text) {
  byId("announce").textContent = text;
}

/** Shows a problem under a field, or hides it when there is none. */
export function complain(id, text) {
  byId(id).textContent = text ?? "";
  byId(id).hidden = !text;
}

/** Asks for a yes in the page's own dialog. */
export function confirmed(title, text, yes) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

export const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)}\u00a0%`; // never broken
export const milliseconds = (ms) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
