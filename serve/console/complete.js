// Completion of a call from the catalog's operations: a combobox with a list (ARIA 1.2).

import { announce, element, replace } from "./dom.js";
import { completions, halves, nextHole } from "./calls.js";

/** Completes `input` from what `operations()` gives; the list is the one it names in aria-controls. */
export function completing(input, operations) {
  const list = document.getElementById(input.getAttribute("aria-controls"));
  let offered = [];
  let active = -1;

  function close() {
    list.hidden = true;
    replace(list);
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function offer() {
    offered = input.value.trim() ? completions(operations(), input.value) : [];
    if (offered.length === 1 && offered[0].text === input.value) offered = [];
    if (!offered.length) return close();
    active = -1;
    input.removeAttribute("aria-activedescendant");
    replace(list, offered.map(({ operation, text }, i) => {
      const [method, path] = halves(text);
      const option = element("li", { role: "option", id: `${list.id}-${i}`, "aria-selected": "false" },
        method && element("span", { class: `method m-${method.toLowerCase()}` }, method), " ",
        element("code", {}, path), " ", element("small", {}, operation.summary));
      option.addEventListener("mousedown", (event) => {
        event.preventDefault(); // the field keeps the focus
        take(i);
      });
      return option;
    }));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    announce(`${offered.length} operations fit`);
  }

  function go(step) {
    list.children[active]?.setAttribute("aria-selected", "false");
    active = (active + step + offered.length + (active < 0 && step < 0 ? 1 : 0)) % offered.length;
    const option = list.children[active];
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  }

  function take(i) {
    input.value = offered[i].text;
    close();
    selectHole(input);
  }

  input.addEventListener("input", offer);
  input.addEventListener("blur", close);
  document.addEventListener("operations", () => document.activeElement === input && offer());
  input.addEventListener("keydown", (event) => {
    if (list.hidden) {
      if (event.key === "ArrowDown" && input.value.trim()) offer();
      return;
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") go(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Tab" && !event.shiftKey) take(Math.max(active, 0));
    else if (event.key === "Enter" && active >= 0) take(active);
    else if (event.key === "Escape") {
      close();
      event.stopPropagation();
    } else return;
    event.preventDefault();
  });
  return { close };
}

/** Selects the first `{hole}` of the field, to be typed over; false when there is none. */
export function selectHole(input) {
  const hole = nextHole(input.value);
  if (hole) {
    input.focus();
    input.setSelectionRange(...hole);
  }
  return Boolean(hole);
}
