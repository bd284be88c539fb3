// Numbers, times and elements. Whatever is put into an element is put in as text: nothing ever becomes markup.

const NONE = "–";
const missing = (value) => value === null || value === undefined;

/** A figure with so many digits after the point, thousands apart; true minus signs. */
export function number(value, digits = 0) {
  if (missing(value)) return NONE;
  const shown = Number(value).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return shown.replace("-", "−");
}

/** The same with its sign, but for what is nothing. */
export const signed = (value, digits) => (Number(value) > 0 ? "+" : "") + number(value, digits);

/** A fraction in percent: rates are small. */
export const percent = (rate, digits = 6) => missing(rate) ? NONE : `${signed(100 * Number(rate), digits)} %`;
export const basisPoints = (fraction) => `${number(10000 * fraction, 2)} bp`;

/** Seven significant digits of a price, two after the point at least. */
export const digitsOf = (price) => Math.max(2, Math.min(10, 6 - Math.floor(Math.log10(Math.abs(Number(price)) || 1))));

/** A length of time in words: 12 s, 3 min 05 s, 2 h, 4 days. */
export function span(seconds) {
  if (missing(seconds)) return NONE;
  const s = Math.max(0, Math.round(seconds)), two = (value) => String(value).padStart(2, "0");
  if (s < 120 && s !== 60) return `${s} s`;
  if (s < 7200 && s !== 3600) return s % 60 ? `${Math.floor(s / 60)} min ${two(s % 60)} s` : `${s / 60} min`;
  if (s < 172800) return s % 3600 < 60 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 3600)} h ${two(Math.floor(s % 3600 / 60))} min`;
  return `${Math.floor(s / 86400)} days`;
}

/** What is left until something, as a clock counts down: 20:34, 1:20:34. */
export function countdown(seconds) {
  const s = Math.max(0, Math.ceil(seconds)), two = (value) => String(value).padStart(2, "0");
  return `${s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}` : Math.floor(s / 60)}:${two(s % 60)}`;
}

/** Unix seconds as "2026-11-28 14:00:00" UTC. */
export const instant = (seconds) => new Date(1000 * seconds).toISOString().slice(0, 19).replace("T", " ");

/** Of a boundary or an hour: the time, without seconds where there are none. */
export const timeOf = (seconds) => instant(seconds).slice(11, seconds % 60 ? 19 : 16);

export function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB"], at = bytes < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(bytes) / 3));
  return `${number(bytes / 1000 ** at, at ? 1 : 0)} ${units[at]}`;
}

export const byId = (id) => document.getElementById(id);

/** A new element with attributes and with children: text, or elements. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.map((child) => child instanceof Node ? child : String(child)));
  return made;
}

/** Set a text or an attribute only where it changes, so that nothing is announced, or loses its selection, for nothing. */
export function say(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}
export function mark(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Show rows of [term, text, grade] in a list of terms, what is there already being kept. */
export function terms(list, rows) {
  const held = [...list.children];
  rows.forEach(([term, text, grade = ""], at) => {
    const dt = held[2 * at] || list.appendChild(element("dt")), dd = held[2 * at + 1] || list.appendChild(element("dd"));
    say(dt, term); say(dd, text); mark(dd, "class", grade);
  });
  held.slice(2 * rows.length).forEach((left) => left.remove());
}
