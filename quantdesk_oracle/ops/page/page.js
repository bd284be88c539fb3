"use strict";
// Asks /status and /readyz every two seconds and shows what they say. Nothing is ever put in as markup.

const EVERY = 2000;
const PATIENCE = 5000;
const STATES = { fresh: "f", stale: "s", dead: "d", unproven: "u" };
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
let paused = false;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.map(String));
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function drawing(width, height, className, label, ...shapes) {
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", class: className,
    role: "img", "aria-label": label });
  svg.append(...shapes);
  return svg;
}

const number = (text, digits) => text === null || text === undefined ? "–" :
  Number(text).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const digitsOf = (price) => Math.max(2, Math.min(10, 6 - Math.floor(Math.log10(Math.abs(Number(price)) || 1))));

function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 120 && s !== 60) return `${s} s`;
  if (s < 7200 && s % 60 === 0 && s % 3600) return `${s / 60} min`;
  if (s < 172800 && s % 3600 === 0) return `${s / 3600} h`;
  if (s < 7200) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

function terms(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([name, value, grade]) =>
    [element("dt", {}, name), element("dd", grade ? { class: grade } : {}, value)]));
}

// Index and mark of the last minutes; a gap where there was none.
function chart(recent) {
  const known = [...recent.prices, ...recent.marks].filter((value) => value !== null);
  if (!known.length) return drawing(300, 50, "chart", "No price in the last five minutes");
  const low = Math.min(...known), high = Math.max(...known), room = (high - low) || Math.abs(high) * 1e-6 || 1;
  const lines = (values, className) => {
    const offset = 300 - values.length, runs = [[]];
    values.forEach((value, at) => {
      if (value === null) { if (runs.at(-1).length) runs.push([]); return; }
      runs.at(-1).push(`${offset + at},${(47 - 44 * (value - low) / room).toFixed(2)}`);
    });
    return runs.filter((run) => run.length).map((run) => shape("polyline", { points: run.join(" "), class: className }));
  };
  const label = `Index and mark of the last five minutes, between ${number(low, digitsOf(low))} and ${number(high, digitsOf(high))}`;
  return drawing(300, 50, "chart", label, ...lines(recent.prices, "index"), ...lines(recent.marks, "mark"));
}

// A column a second: how well the market was served.
function coverage(states) {
  const offset = 300 - states.length, columns = [shape("rect", { x: 0, y: 0, width: 300, height: 10, class: "track" })];
  let start = 0;
  for (let at = 1; at <= states.length; at += 1) {
    if (at < states.length && states[at] === states[start]) continue;
    columns.push(shape("rect", { x: offset + start, y: 0, width: at - start, height: 10, class: `fill-${states[start]}` }));
    start = at;
  }
  const served = [...states].filter((state) => state === "f" || state === "s").length;
  const share = states.length ? Math.floor(1000 * served / states.length) / 10 : 0;
  return { share, svg: drawing(300, 10, "bar", `Served in ${share} % of the last ${states.length} seconds`, ...columns) };
}

function ageBar(market) {
  const limit = market.stale_limit, age = market.age === null ? limit : Math.min(market.age, limit);
  const at = (seconds) => 300 * seconds / limit;
  return drawing(300, 6, "age-bar", `Age ${span(market.age)}; fresh up to ${span(market.fresh_limit)}, stale up to ${span(limit)}`,
    shape("rect", { x: 0, y: 0, width: 300, height: 6, class: "track" }),
    shape("rect", { x: 0, y: 0, width: at(age).toFixed(1), height: 6, class: `fill-${STATES[market.freshness] || "u"}` }),
    shape("line", { x1: at(market.fresh_limit), x2: at(market.fresh_limit), y1: 0, y2: 6, class: "zero" }));
}

function rates(values) {
  const most = Math.max(...values.map((value) => Math.abs(value.rate)), 1e-12), width = 300 / Math.max(values.length, 12);
  const bars = values.map((value, at) => {
    const height = Math.max(1, 18 * Math.abs(value.rate) / most);
    return shape("rect", { x: (at * width).toFixed(2), y: value.rate >= 0 ? 20 - height : 20, width: (width * .8).toFixed(2),
      height, class: value.rate >= 0 ? "longs-pay" : "shorts-pay" });
  });
  return drawing(300, 40, "rates", `The last ${values.length} funding rates, upwards where longs pay`, ...bars,
    shape("line", { x1: 0, x2: 300, y1: 20, y2: 20, class: "zero" }));
}

const percent = (rate, digits) => `${(100 * Number(rate)).toFixed(digits)} %`;

function card(market, recent) {
  const made = element("article"), head = element("header"), letter = STATES[market.freshness] || "u";
  made.setAttribute("aria-label", `Market ${market.market}`);
  head.append(element("h2", {}, market.market), element("span", { class: `badge ${letter}` }, market.freshness));
  const digits = digitsOf(market.price), price = element("p", { class: "price" }, number(market.price, digits));
  price.append(" ", element("small", {}, `± ${number(market.confidence, digits)}`));
  const served = coverage(recent.states), facts = element("dl");
  const distance = market.mark_price === null || market.price === null ? null : market.mark_price / market.price - 1;
  terms(facts, [
    ["Mark", market.mark_price === null ? "none" : number(market.mark_price, digits), market.mark_price === null ? "bad" : ""],
    ["Mark against index", distance === null ? "–" : `${(10000 * distance).toFixed(2)} bp`],
    ["Confidence", market.price === null ? "–" : `${(10000 * market.confidence / market.price).toFixed(2)} bp`],
    ["Age", span(market.age), { s: "warn", d: "bad" }[letter] || ""],
    ["Source", market.feed ? market.feed.replace(`${market.market}/`, "") : "–"],
    ...(market.second_source ? [["Second source", market.second_source, { differs: "bad", silent: "warn" }[market.second_source] || ""]] : []),
    ...(market.halted ? [["Halted", market.halted, "warn"]] : []),
    ...(market.rejected ? [["Refused", market.rejected, "bad"]] : []),
    ["Funding, last settled", `${percent(market.funding_rate, 6)} per ${span(market.funding_interval)}`],
    ["Next funding in", span(market.next_funding)],
  ]);
  made.append(head, price, ageBar(market), chart(recent), element("p", { class: "caption" }, "Index solid, mark dashed, five minutes"),
    facts, served.svg, element("p", { class: "caption" }, `Served ${served.share} % of the last ${span(recent.states.length)}`));
  if (recent.rates.length) made.append(rates(recent.rates), element("p", { class: "caption" }, "Funding rates, newest right"));
  return made;
}

function showState(status, ready) {
  const line = byId("state"), dead = ready.reasons.length;
  const stale = status.markets.filter((market) => market.freshness === "stale").length;
  const text = !ready.ready ? `Not ready: ${dead} ${dead === 1 ? "reason" : "reasons"}` :
    stale ? `Ready, ${stale} of ${status.markets.length} markets stale` : `Ready: all ${status.markets.length} markets are served`;
  line.className = `state ${!ready.ready ? "bad" : stale ? "warn" : "good"}`;
  if (line.textContent !== text) line.textContent = text;  // Announced only when it changes.
  byId("trouble").hidden = ready.ready;
  byId("reasons").replaceChildren(...ready.reasons.map((reason) => element("li", {}, `${reason.sentence} (${reason.code})`)));
  document.title = `${ready.ready ? "" : "✗ "}QuantDesk oracle`;
}

function showSources(status) {
  const endpoints = (status.endpoints || []).map((endpoint) =>
    [endpoint.name, `${endpoint.active ? "in use" : "standing by"}${endpoint.well ? "" : ", not well"}`, endpoint.well ? "" : "warn"]);
  const hermes = (status.hermes || []).map((one) => [`Hermes ${one.endpoint}`,
    one.connected ? (one.silent_feeds.length ? `streams, nothing of ${one.silent_feeds.length} feeds` : "streams") : one.failing || "connecting",
    one.connected && !one.silent_feeds.length ? "" : "warn"]);
  terms(byId("sources"), [
    ["Subscription", status.subscription.connected ? "connected" : "down", status.subscription.connected ? "" : "bad"],
    ["Polling", status.polling.failing || "answers", status.polling.failing ? "bad" : ""],
    ["Highest slot", number(status.slot, 0)], ...endpoints, ...hermes,
    ...(status.gaps === undefined ? [] : [["Gaps being read back", number(status.gaps, 0), status.gaps ? "warn" : ""]]),
  ]);
}

function showDatabase(status) {
  const trouble = status.database.trouble, spool = status.spool || {}, loop = status.loop;
  terms(byId("database"), [
    ["State", trouble || "takes everything", trouble ? "bad" : ""],
    ...(spool.rows === undefined ? [] : [["Waiting on disk", `${number(spool.rows, 0)} rows`, spool.rows ? "warn" : ""]]),
    ...(status.instances || []).map((one) => [`Daemon ${one.id}`,
      `${one.state}, ${one.ready ? "ready" : "not ready"}, seen ${span(one.seen_age)} ago`, one.ready ? "" : "warn"]),
    ["Clock difference", `${Number(status.clock_difference).toFixed(3)} s`],
    ["Event loop", loop.alive ? "moves" : `stuck for ${span(loop.age_seconds)}`, loop.alive ? "" : "bad"],
  ]);
}

function showWritten(status) {
  const rejected = Object.entries(status.rejected || {}).map(([reason, count]) => [`Rejected: ${reason}`, number(count, 0), "warn"]);
  terms(byId("written"), [
    ...Object.entries(status.rows || {}).map(([table, count]) => [table, number(count, 0)]),
    ["Prints received", number(status.updates, 0)], ["Received again", number(status.duplicates, 0)], ...rejected,
    ["Reconnects", number(status.reconnects, 0)],
  ]);
}

function showEvents(events) {
  byId("events").replaceChildren(...[...events].reverse().map((event) => {
    const row = element("tr"), data = Object.entries(event.data).map(([key, value]) =>
      `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
    row.append(element("td", {}, new Date(event.instant / 1000).toISOString().slice(0, 19).replace("T", " ")),
      element("td", { class: event.severity }, event.severity), element("td", {}, event.type),
      element("td", {}, event.market || ""), element("td", {}, data));
    return row;
  }));
}

function show(status, ready, charts) {
  if (!status.markets) throw new Error("it is only just starting");
  showState(status, ready);
  const up = status.started ? `, up ${span(status.now - status.started)}` : "";
  byId("about").textContent = `${status.instance || ""} ${status.version || ""}${up}`;
  byId("markets").replaceChildren(...status.markets.filter((market) => charts[market.market]).map((market) => card(market, charts[market.market])));
  showSources(status); showDatabase(status); showWritten(status); showEvents(status.events || []);
}

function unreachable(error) {
  const line = byId("state");
  line.className = "state bad";
  line.textContent = `The daemon does not answer; what is shown here is from before (${error.message})`;
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  return answer.json();
}

async function round() {
  try {
    if (!paused && !document.hidden) show(...await Promise.all([ask("/status"), ask("/readyz"), ask("/charts")]));
  } catch (error) {
    unreachable(error);
  } finally {
    setTimeout(round, EVERY);
  }
}

byId("pause").addEventListener("click", (click) => {
  paused = !paused;
  click.currentTarget.setAttribute("aria-pressed", String(paused));
  click.currentTarget.textContent = paused ? "Resume" : "Pause";
});
round();
