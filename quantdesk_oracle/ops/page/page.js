// Asks /status and /charts every two seconds and shows what they say.

import { icon } from "./charts.js";
import { GRADES, makeCard } from "./market.js";
import { byId, element, instant, mark, number, say, signed, size, span, terms, timeOf } from "./text.js";

const EVERY = 2000;
const PATIENCE = 5000;
const WORST = ["bad", "warn", "idle", "good"];
const cards = new Map();
let paused = false, answered = null, made = 0;

const many = (count, one, more = `${one}s`) => `${number(count)} ${count === 1 ? one : more}`;
const worst = (grades) => WORST.find((grade) => grades.includes(grade)) || "good";

/** The daemon's time now, Unix seconds: what it said last, and what has passed since. */
const now = () => answered.now + (performance.now() - answered.at) / 1000;

function reasonsOf(status) {
  const stalled = { code: "loop_stalled", market: null,
    sentence: `The event loop has not moved for ${span(status.loop.age_seconds)}; all else said here is from before.` };
  return status.loop.alive ? status.reasons : [stalled, ...status.reasons];
}

function showState(grade, text) {
  const line = byId("state");
  mark(line, "class", `state ${grade}`);
  if (line.dataset.text === text) return;  // Announced only when it changes.
  line.dataset.text = text;
  line.replaceChildren(icon(grade), element("span", {}, text));
}

/** Reasons for not being ready, then what is to be looked at though it takes no readiness away. */
function showTrouble(reasons, warnings) {
  const told = [...reasons.map((one) => ["bad", one]), ...warnings.map((one) => ["warn", one])];
  const words = JSON.stringify(told.map(([grade, one]) => [grade, one.sentence, one.code]));
  byId("trouble").hidden = !told.length;
  mark(byId("trouble"), "class", reasons.length ? "bad" : "warn");
  say(byId("trouble-title"), reasons.length ? "What is wrong" : "What to look at");
  if (byId("reasons").words === words) return;
  byId("reasons").words = words;
  byId("reasons").replaceChildren(...told.map(([grade, { market, sentence, code }]) => {
    const card = cards.get(market), text = card ? element("a", { href: `#${card.root.id}` }, sentence) : sentence;
    return element("li", {}, icon(grade), element("span", {}, text, " ", element("code", {}, code)));
  }));
}

function showReadiness(status) {
  const reasons = reasonsOf(status), warnings = status.warnings || [], count = status.markets.length;
  const stale = status.markets.filter((market) => market.freshness === "stale").length;
  const also = warnings.length ? `, ${many(warnings.length, "warning")}` : "";
  if (reasons.length) showState("bad", `Not ready: ${many(reasons.length, "reason")}${also}`);
  else if (stale) showState("warn", `Ready, ${stale} of ${many(count, "market")} stale${also}`);
  else showState(also ? "warn" : "good", `Ready: all ${many(count, "market")} are served${also}`);
  showTrouble(reasons, warnings);
  document.title = `${reasons.length ? "✗ " : ""}QuantDesk oracle`;
}

/** A line of what matters, each item with the section that says more. */
function showOverview(status) {
  const { database, spool, loop } = status, endpoints = status.endpoints || [], well = endpoints.filter((one) => one.well).length;
  const counts = Object.keys(GRADES).map((state) => [state, status.markets.filter((market) => market.freshness === state).length])
    .filter(([, count]) => count);
  const troubled = counts.filter(([state]) => state !== "fresh").map(([state, count]) => `${count} ${state}`).join(", ");
  const skips = status.markets.filter((market) => market.funding_estimate && market.funding_estimate.rate === null).length;
  const boundary = Math.min(...status.markets.map((market) => market.ends));
  const hermes = (status.hermes || []).filter((one) => !one.connected || one.silent_feeds.length).length;
  const items = [
    ["#markets", "Markets", worst(counts.map(([state]) => GRADES[state])),
      troubled ? `${troubled} of ${status.markets.length}` : `${status.markets.length} fresh`],
    ["#markets", "Funding", skips ? "warn" : "good",
      skips ? `${skips} would skip` : status.markets.length ? `at ${timeOf(Math.round(boundary))}` : "none"],
    ["#sources", "Sources", status.polling.failing ? "bad" : !status.subscription.connected || well < endpoints.length || hermes ? "warn" : "good",
      status.polling.failing ? "node fails" : !status.subscription.connected ? "polling only" : `${well} of ${endpoints.length} well`],
    ["#sources", "Gaps", status.gaps ? "warn" : "good", status.gaps ? `${number(status.gaps)} open` : "none open"],
    ["#database", "Database", database.trouble ? "bad" : "good", database.trouble ? "refuses" : "takes all"],
    ["#database", "Spool", spool.rows ? "warn" : "good", spool.rows ? many(spool.rows, "row") : "empty"],
    ["#database", "Clock", status.reasons.some((reason) => reason.code === "clock_skewed") ? "bad" : "good",
      `${signed(1000 * status.clock_difference, 0)} ms`],
    ["#database", "Loop", loop.alive ? "good" : "bad", loop.alive ? "moves" : "stuck"],
  ];
  const list = byId("overview");
  items.forEach(([href, name, grade, words], at) => {
    const item = list.children[at] || list.appendChild(element("li", {}, element("a", {},
      icon(grade), element("span", { class: "name" }), " ", element("span", { class: "value" }))));
    const link = item.firstChild;
    mark(link, "href", href);
    if (link.dataset.grade !== grade) link.firstChild.replaceWith(icon(grade));
    link.dataset.grade = grade;
    say(link.children[1], name); say(link.children[2], words);
  });
}

function showMarkets(status, charts) {
  const there = status.markets.filter((market) => charts[market.market]);
  for (const [symbol, card] of cards) {
    if (there.some((market) => market.market === symbol)) continue;
    card.root.remove();
    cards.delete(symbol);
  }
  for (const market of there) {
    if (!cards.has(market.market)) {
      const card = makeCard(made += 1);
      cards.set(market.market, card);
      byId("markets").append(card.root);
    }
    cards.get(market.market).update(market, charts[market.market]);
  }
}

function showSources(status) {
  const hermes = (status.hermes || []).map((one) => [`Hermes ${one.endpoint}`,
    one.connected ? (one.silent_feeds.length ? `streams, nothing of ${many(one.silent_feeds.length, "feed")}` : "streams") : one.failing || "connecting",
    one.connected && !one.silent_feeds.length ? "" : "warn"]);
  terms(byId("sources-facts"), [
    ["Subscription", status.subscription.connected ? "connected" : "down", status.subscription.connected ? "" : "warn"],
    ["Polling", status.polling.failing || "answers", status.polling.failing ? "bad" : ""],
    ["Highest slot", number(status.slot)], ...hermes,
    ["Gaps being read back", number(status.gaps || 0), status.gaps ? "warn" : ""],
  ]);
  byId("endpoints").replaceChildren(...(status.endpoints || []).map((one) => {
    const behind = one.slot === null || !status.slot ? "–" : number(Math.max(0, status.slot - one.slot));
    const state = element("td", { class: one.well ? "" : "warn" }, icon(one.well ? "good" : "warn"),
      ` ${one.active ? "in use" : "spare"}${one.well ? "" : ", not well"}`);
    return element("tr", {}, element("th", { scope: "row" }, one.name), state, element("td", { class: "figure" }, behind),
      element("td", { class: "figure" }, one.latency_seconds === null ? "–" : `${number(1000 * one.latency_seconds, 0)} ms`),
      element("td", { class: "figure" }, `${number(100 * one.error_rate, 1)} %`));
  }));
}

function showDatabase(status) {
  const { database, spool, loop } = status, queued = Object.values(status.queues || {}).reduce((sum, rows) => sum + rows, 0);
  terms(byId("database-facts"), [
    ["Database", database.trouble ? "refuses: see above" : "takes everything", database.trouble ? "bad" : ""],
    ["Waiting in memory", many(queued, "row")],
    ["Waiting on disk", `${many(spool.rows, "row")}${spool.rows ? `, ${size(spool.bytes)} of ${size(spool.capacity)}` : ""}`, spool.rows ? "warn" : ""],
    ...(spool.oldest ? [["Oldest of them", `${span(status.now - spool.oldest)} old`, "warn"]] : []),
    ["Clock difference", `${signed(1000 * status.clock_difference, 0)} ms`],
    ["Event loop", loop.alive ? "moves" : `stuck for ${span(loop.age_seconds)}`, loop.alive ? "" : "bad"],
    ...(status.instances || []).map((one) => [`Daemon ${one.id}`,
      `${one.state === "running" ? "" : `${one.state}, `}${one.ready ? "ready" : "not ready"}, seen ${span(one.seen_age)} ago`, one.ready ? "" : "warn"]),
  ]);
}

function showWritten(status) {
  const rejected = Object.entries(status.rejected || {}).map(([reason, count]) => [`Rejected: ${reason}`, number(count), "warn"]);
  terms(byId("written"), [
    ...Object.entries(status.rows || {}).map(([table, count]) => [table, number(count)]),
    ["Prints received", number(status.updates)], ["Received again", number(status.duplicates)], ...rejected,
    ["Reconnects", number(status.reconnects)],
  ]);
}

const EVENT_GRADES = { warning: "warn", error: "bad", critical: "bad" };

function showEvents(events) {
  const list = byId("events"), words = JSON.stringify(events);
  if (list.words === words) return;
  list.words = words;
  list.replaceChildren(...[...events].reverse().map((event) => {
    const data = Object.entries(event.data).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`);
    const when = instant(event.instant / 1e6), grade = EVENT_GRADES[event.severity] || "idle";
    return element("li", {}, element("time", { datetime: `${when.replace(" ", "T")}Z` }, when),
      element("span", { class: `severity ${grade}` }, icon(grade), event.severity), element("strong", {}, event.type),
      element("span", {}, event.market || ""), element("span", { class: "data" }, data.join(", ")));
  }));
  if (!events.length) list.append(element("li", { class: "data" }, "None since the start."));
}

function show(status, charts) {
  if (!status.markets) return showState("warn", "The daemon is only just starting");
  answered = { now: status.now, at: performance.now() };
  mark(byId("main"), "class", "");
  for (const market of status.markets) market.ends = status.now + market.next_funding;
  showMarkets(status, charts); showReadiness(status); showOverview(status);
  showSources(status); showDatabase(status); showWritten(status); showEvents(status.events || []);
  const up = status.started ? `up ${span(status.now - status.started)}` : "";
  say(byId("about"), [status.instance, status.version, up].filter(Boolean).join(" · "));
  return tick();
}

function unreachable(error) {
  const since = answered ? `; what is shown is of ${instant(answered.now)}` : "";
  mark(byId("main"), "class", answered ? "past" : "");
  showState("bad", `The daemon does not answer${since} (${error.message})`);
  document.title = "✗ QuantDesk oracle";
}

function tick() {
  if (!answered) return;
  for (const card of cards.values()) card.tick(now());
  say(byId("asof"), `as of ${instant(answered.now).slice(11)}`);
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  return answer.json();
}

async function round() {
  try {
    if (!paused && !document.hidden) show(...await Promise.all([ask("/status"), ask("/charts")]));
  } catch (error) {
    unreachable(error);
  } finally {
    setTimeout(round, EVERY);
  }
}

byId("pause").addEventListener("click", (click) => {
  paused = !paused;
  click.currentTarget.setAttribute("aria-pressed", String(paused));
});
setInterval(() => { if (!paused) tick(); }, 1000);
round();
