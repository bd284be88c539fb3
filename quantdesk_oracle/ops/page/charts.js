// Drawings, as SVG that stretches to the width there is. Each has a title and a description in words.

import { digitsOf, instant, number, percent, span } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const SECONDS = 300;
let drawings = 0;

function shape(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

/** An empty drawing; `draw` fills it again and again. */
export function drawing(className) {
  const id = `drawing-${drawings += 1}`;
  const svg = shape("svg", { class: className, role: "img", preserveAspectRatio: "none", "aria-labelledby": `${id}-title ${id}-about` });
  svg.append(shape("title", { id: `${id}-title` }), shape("desc", { id: `${id}-about` }));
  return svg;
}

function draw(svg, width, height, title, about, shapes) {
  const [titled, described] = svg.children;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  titled.textContent = title;
  described.textContent = about;
  svg.replaceChildren(titled, described, ...shapes);
}

const rect = (x, y, width, height, className, title = "") => {
  const made = shape("rect", { x: x.toFixed(2), y: y.toFixed(2), width: width.toFixed(2), height: height.toFixed(2), class: className });
  if (title) made.append(shape("title", {}, title));
  return made;
};

/** A circle, a triangle, a cross or a ring: a state is never told by its colour alone. */
export function icon(grade) {
  const svg = shape("svg", { class: `icon ${grade}`, viewBox: "0 0 12 12", "aria-hidden": "true" });
  svg.append({
    good: () => shape("circle", { cx: 6, cy: 6, r: 4.5 }),
    warn: () => shape("path", { d: "M6 1 11.5 11H.5z" }),
    bad: () => shape("path", { d: "M2 2 10 10M10 2 2 10", class: "cross" }),
    idle: () => shape("circle", { cx: 6, cy: 6, r: 4, class: "ring" }),
  }[grade]());
  return svg;
}

/** The stretches of `values` without a null, each as [first index, its values]. */
function runs(values) {
  const found = [];
  values.forEach((value, at) => {
    if (value === null) return;
    if (at && values[at - 1] !== null) found.at(-1)[1].push(value);
    else found.push([at, [value]]);
  });
  return found;
}

/** Index with its confidence, and mark, of the last minutes; a gap where there was none. What it spans, or null. */
export function prices(svg, recent) {
  const low = [], high = [];
  recent.prices.forEach((price, at) => {
    if (price !== null) { low.push(price - recent.confidences[at]); high.push(price + recent.confidences[at]); }
  });
  const marks = recent.marks.filter((mark) => mark !== null);
  const least = Math.min(...low, ...marks), most = Math.max(...high, ...marks);
  if (!Number.isFinite(least)) {
    draw(svg, SECONDS, 60, "Index and mark", "No price in the last five minutes.", []);
    return null;
  }
  const room = (most - least) || Math.abs(most) * 1e-6 || 1, offset = SECONDS - recent.prices.length;
  const y = (value) => (58 - 56 * (value - least) / room).toFixed(2);
  const line = (values, className) => runs(values).map(([start, run]) =>
    shape("polyline", { class: className, points: run.map((value, at) => `${offset + start + at},${y(value)}`).join(" ") }));
  const band = runs(recent.prices).map(([start, run]) => {
    const edge = (sign) => run.map((price, at) => `${offset + start + at},${y(price + sign * recent.confidences[start + at])}`);
    return shape("polygon", { class: "confidence", points: [...edge(1), ...edge(-1).reverse()].join(" ") });
  });
  const digits = digitsOf(most);
  draw(svg, SECONDS, 60, "Index and mark of the last five minutes",
    `With the index's confidence they span ${number(least, digits)} to ${number(most, digits)}.`,
    [...band, ...line(recent.prices, "index"), ...line(recent.marks, "mark")]);
  return [number(least, digits), number(most, digits)];
}

/** The newest print's age against its two limits. */
export function age(svg, market, grade) {
  const limit = market.stale_limit, reach = 1.25 * limit, at = (seconds) => 300 * Math.min(seconds, reach) / reach;
  const tick = (seconds) => shape("line", { x1: at(seconds), x2: at(seconds), y1: 0, y2: 8, class: "tick" });
  draw(svg, 300, 8, "Age of the newest print",
    `${span(market.age)}; fresh up to ${span(market.fresh_limit)}, stale up to ${span(limit)}, dead beyond.`,
    [rect(0, 2, 300, 4, "track"), rect(0, 2, at(market.age === null ? 0 : market.age), 4, `fill ${grade}`), tick(market.fresh_limit), tick(limit)]);
}

/** Columns for equal parts of a time, of one height and colour for each letter. */
function columns(svg, parts, slots, kinds, title, about) {
  const offset = slots - parts.length, shapes = [];
  let start = 0;
  for (let at = 1; at <= parts.length; at += 1) {
    if (at < parts.length && parts[at] === parts[start]) continue;
    const [className, height] = kinds[parts[start]];
    shapes.push(rect(offset + start, 10 - height, at - start, height, className));
    start = at;
  }
  draw(svg, slots, 10, title, about, [rect(0, 9, slots, 1, "track"), ...shapes]);
}

const SERVED = { f: ["fill good", 10], s: ["fill warn", 6], d: ["fill bad", 3], u: ["fill idle", 3] };
const COVERED = { p: ["fill good", 10], h: ["fill healed", 8], o: ["fill warn", 5], u: ["fill bad", 3], e: ["track", 1] };
const COVER_WORDS = { p: "covered", h: "read back", o: "being read back", u: "lost for good", e: "without prints" };

/** A column a second: how well the market was served. In words. */
export function served(svg, states) {
  const count = (letter) => [...states].filter((state) => state === letter).length, stale = count("s");
  const share = (seconds) => `${Math.floor(1000 * seconds / (states.length || 1)) / 10} %`;
  const words = `Last ${span(states.length)}: ${share(count("f") + stale)} served${stale ? `, ${share(stale)} stale` : ""}`;
  columns(svg, states, SECONDS, SERVED, "Served, second by second", `${words}.`);
  return words;
}

/** A column a quarter of an hour: how the day's history is covered. In words. */
export function coverage(svg, covered) {
  const { parts, start, end } = covered, minutes = (end - start) / parts.length / 60;
  const words = Object.entries(COVER_WORDS).map(([letter, word]) => [word, [...parts].filter((part) => part === letter).length])
    .filter(([, count]) => count).map(([word, count]) => `${span(60 * minutes * count)} ${word}`).join(", ");
  columns(svg, parts, parts.length, COVERED, "History of the last day, by quarters of an hour",
    `From ${instant(start)} to ${instant(end)} UTC: ${words}.`);
  return words;
}

const OUTCOME = (rate) => rate.status === "settled" ? "" : `, ${rate.status}${rate.reason ? `: ${rate.reason}` : ""}`;

/** Settled rates, upwards where longs pay, and the running interval's estimate hollow at the right end. In words. */
export function rates(svg, settled, estimate) {
  const slots = Math.max(settled.length + 1, 25), width = 300 / slots, offset = slots - 1 - settled.length;
  const all = [...settled.map((rate) => Number(rate.rate)), ...(estimate === null ? [] : [Number(estimate)])];
  const most = Math.max(...all.map(Math.abs), 1e-12);
  const bar = (at, rate, className, title) => {
    const height = Math.max(20 * Math.abs(rate) / most, 1);
    return rect(at * width + .1 * width, rate < 0 ? 22 : 22 - height, .8 * width, height, className, title);
  };
  const shapes = settled.map((rate, at) => {
    const title = `${instant(rate.boundary)} UTC: ${percent(rate.rate)}${OUTCOME(rate)}`;
    return rate.status === "skipped" ? rect((offset + at + .25) * width, 19, .5 * width, 6, "skipped", title) :
      bar(offset + at, Number(rate.rate), Number(rate.rate) < 0 ? "shorts-pay" : "longs-pay", title);
  });
  if (estimate !== null) shapes.push(bar(slots - 1, Number(estimate), "estimate", `Estimate: ${percent(estimate)}`));
  const first = settled[0], skipped = settled.filter((rate) => rate.status === "skipped").length;
  const words = settled.length ? `${settled.length} since ${instant(first.boundary).slice(5, 16)}` +
    `, ±${number(100 * most, 6)} %${skipped ? `, ${skipped} skipped` : ""}` : "None settled yet";
  draw(svg, 300, 44, "Settled funding rates, oldest left", `${words}. The table below has them all.`,
    [shape("line", { x1: 0, x2: 300, y1: 22, y2: 22, class: "zero" }), ...shapes]);
  return words;
}

/** How far the interval is, between two boundaries. */
export function progress(svg, share) {
  draw(svg, 300, 4, "The running interval", `${Math.round(100 * share)} % of it has passed.`,
    [rect(0, 0, 300, 4, "track"), rect(0, 0, 300 * Math.min(1, Math.max(0, share)), 4, "fill index")]);
}
