// Calls as text: what was typed, what a suggestion means once its arguments are in, what a half-typed one may become.

const ENDPOINT = /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE)\s+(\/\S*|https?:\/\/\S+)$/i;
const HOLE = /\{[^{}]*\}/g;
const SHOWN = 8;

/** The call that was typed, or null: `METHOD /path?query`, or the id of a proposition that the catalog has. */
export function readCall(text, operations) {
  const typed = text.trim().replace(/\s+/, " ");
  const found = ENDPOINT.exec(typed);
  if (found) return { endpoint: `${found[1].toUpperCase()} ${found[2]}`, params: {} };
  return operations.some((operation) => operation.endpoint === typed) ? { endpoint: typed, params: {} } : null;
}

/** The call a prediction stands for, with these params: those of the path are written into it. */
export function callOf(prediction, params) {
  const rest = { ...params };
  const endpoint = prediction.endpoint.replace(HOLE, (hole) => {
    const name = hole.slice(1, -1);
    const value = rest[name];
    if (value === undefined || value === null || value === "") return hole;
    delete rest[name];
    return String(value).split("/").map(encodeURIComponent).join("/");
  });
  return { endpoint, params: rest };
}

/** Where the next hole `{name}` of a text is: [start, end], or null. */
export function nextHole(text, from = 0) {
  const found = /\{[^{}]*\}/.exec(text.slice(from));
  return found ? [from + found.index, from + found.index + found[0].length] : null;
}

/** At most eight operations that what is typed may become, each with the text it would become. */
export function completions(operations, text) {
  const typed = text.trim().toLowerCase();
  const words = typed.split(/\s+/).filter(Boolean);
  const found = [];
  for (const operation of operations) {
    const endpoint = operation.endpoint.toLowerCase();
    const kept = keep(operation.endpoint, text.trim());
    let worth = 0;
    if (kept !== null) worth = 4;
    else if (endpoint.startsWith(typed)) worth = 3;
    else if (words.every((word) => endpoint.includes(word))) worth = 2;
    else if (words.every((word) => `${endpoint} ${operation.summary.toLowerCase()}`.includes(word))) worth = 1;
    if (worth) found.push({ operation, worth, text: kept ?? operation.endpoint });
  }
  // Of what fits equally well the shorter: a collection stands before what lies below it.
  found.sort((a, b) => b.worth - a.worth || a.operation.endpoint.length - b.operation.endpoint.length);
  return found.slice(0, SHOWN);
}

/** Method and path; of a proposition there is no method. */
export function halves(endpoint) {
  const space = endpoint.indexOf(" ");
  return space < 0 ? ["", endpoint] : [endpoint.slice(0, space), endpoint.slice(space + 1)];
}

/** The template with the values that were typed already in its holes; null when the text does not begin it. */
function keep(template, text) {
  const [method, path] = halves(template);
  const typed = /^(\S+)\s+(\S+)$/.exec(text);
  if (!typed || !method || typed[1].toUpperCase() !== method) return null;
  const wanted = path.split("/");
  const given = typed[2].split("?", 1)[0].split("/");
  if (given.length > wanted.length) return null;
  const last = given.length - 1;
  let held = false;
  for (const [i, segment] of given.entries()) {
    const hole = wanted[i].startsWith("{");
    if (hole && segment && !segment.startsWith("{")) {
      wanted[i] = segment;
      held = true;
    } else if (!hole && segment !== wanted[i] && !(i === last && wanted[i].startsWith(segment))) return null;
  }
  return held ? `${method} ${wanted.join("/")}` : null;
}

/** A value as text to edit, and back: what was no text stays none when it can. */
export const written = (value) => (typeof value === "string" ? value : JSON.stringify(value));

export function readValue(text, before) {
  if (typeof before === "string" || before === undefined) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Puts a value, or nothing, at an argument's name; `ticket.subject` is the subject inside of the object `ticket`. */
export function putValue(params, name, value) {
  const dot = name.indexOf(".");
  const head = name.slice(0, Math.max(dot, 0));
  if (!(name in params) && head && typeof params[head] === "object" && params[head] !== null) {
    params[head] = { ...params[head] };
    putValue(params[head], name.slice(dot + 1), value);
  } else if (value === undefined) delete params[name];
  else params[name] = value;
}

/** What makes two suggestions the same one in two answers. */
export const keyOf = (prediction) => prediction.endpoint;
