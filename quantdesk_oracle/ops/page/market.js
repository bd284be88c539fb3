// A market's card: built once, then brought up to date in place.

import { age, coverage, drawing, icon, prices, progress, rates, served } from "./charts.js";
import { basisPoints, countdown, digitsOf, element, instant, mark, number, percent, say, span, terms, timeOf } from "./text.js";

export const GRADES = { fresh: "good", stale: "warn", dead: "bad", unproven: "idle" };
const key = (className, words) => element("span", { class: `key ${className}` }, words);

/** Charts are drawn again only on cards in sight or nearly so: two hundred markets' at once take most of a second. */
const nearby = new IntersectionObserver((seen) => seen.forEach(({ target, isIntersecting }) => {
  target.near = isIntersecting;
  if (isIntersecting) target.redraw();
}), { rootMargin: "600px" });

/** The card of the `at`-th market: its element, `update` and `tick`. */
export function makeCard(at) {
  const id = `market-${at}`, parts = {};
  const keep = (name, node) => (parts[name] = node);
  const root = element("article", { class: "card market", id, "aria-labelledby": `${id}-title` },
    element("header", {}, keep("title", element("h3", { id: `${id}-title` })), keep("badge", element("p", { class: "badge" }))),
    element("p", { class: "price" }, keep("price", element("span", { class: "value" })), " ", keep("confidence", element("small"))),
    keep("notes", element("ul", { class: "notes" })),
    element("div", { class: "ranged" }, keep("prices", drawing("chart")), keep("range", element("p", { class: "range" }, element("span"), element("span")))),
    element("p", { class: "caption spread" },
      element("span", {}, key("index", "index"), key("confidence", "± confidence"), key("mark", "mark")), "5 min"),
    keep("age", drawing("age")),
    keep("limits", element("p", { class: "caption spread" }, element("span"), element("span"))),
    keep("facts", element("dl", { class: "facts" })),
    fundingPart(keep),
    element("h4", {}, "Coverage"), keep("coverage", drawing("bar")), keep("covered", element("p", { class: "caption" })),
    keep("served", drawing("bar")), keep("share", element("p", { class: "caption" })));
  nearby.observe(root);
  root.near = true;  // until the observer says otherwise, so that every card is drawn once
  root.redraw = () => {};
  return {
    root,
    update: (market, charts) => {
      update(parts, market);
      root.redraw = () => redraw(parts, market, charts);
      if (root.near) root.redraw();
    },
    tick: (now) => tick(parts, now),
  };
}

function fundingPart(keep) {
  const heads = ["Interval's end", "Rate", "Outcome"].map((head) => element("th", { scope: "col" }, head));
  return element("div", { class: "funding" },
    element("h4", {}, "Funding"),
    element("div", { class: "running" },
      keep("estimate", element("p", { class: "estimate" }, element("small"), " ", element("span", { class: "value" }))),
      keep("left", element("p", { class: "left" }, element("small"), " ", element("span", { class: "value" })))),
    keep("progress", drawing("progress")),
    keep("samples", element("p", { class: "caption" })),
    keep("rates", drawing("rates")),
    keep("settled", element("p", { class: "caption" })),
    keep("last", element("dl", { class: "facts" })),
    element("details", {}, element("summary", {}, "Settled rates as a table"),
      keep("region", element("div", { class: "scroll", tabindex: "0", role: "region" },
        element("table", {}, element("thead", {}, element("tr", {}, ...heads)), keep("table", element("tbody")))))));
}

function update(parts, market) {
  const grade = GRADES[market.freshness] || "idle", digits = digitsOf(market.price);
  say(parts.title, market.market);
  mark(parts.region, "aria-label", `Settled rates of ${market.market}`);
  if (parts.grade !== market.freshness) parts.badge.replaceChildren(icon(grade), element("span", {}, market.freshness));
  parts.grade = market.freshness;
  mark(parts.badge, "class", `badge ${grade}`);
  const used = market.freshness === "fresh" || market.freshness === "stale";
  say(parts.price, number(market.price, digits));
  mark(parts.price, "class", used ? "value" : "value unused");
  say(parts.confidence, market.price === null ? "no usable print yet" :
    `± ${number(market.confidence, digits)}  ${used ? basisPoints(market.confidence / market.price) : "not used"}`);
  showNotes(parts.notes, market);
  say(parts.limits.children[0], `Age ${span(market.age)}`);
  say(parts.limits.children[1], `fresh ≤ ${span(market.fresh_limit)}, stale ≤ ${span(market.stale_limit)}`);
  showFacts(parts.facts, market, digits);
  showFunding(parts, market);
}

function redraw(parts, market, charts) {
  const spanned = prices(parts.prices, charts), made = market.funding_estimate;
  ["", ""].forEach((none, at) => say(parts.range.children[at], spanned ? spanned[1 - at] : none));
  age(parts.age, market, GRADES[market.freshness] || "idle");
  say(parts.settled, rates(parts.rates, charts.rates, made ? made.rate : null));
  showTable(parts.table, charts.rates);
  if (charts.coverage) say(parts.covered, `Last day: ${coverage(parts.coverage, charts.coverage)}`);
  say(parts.share, served(parts.served, charts.states));
}

/** What an operator must see of a market that is not as usual. */
function showNotes(list, market) {
  const notes = [
    market.halted && ["warn", `Halted: ${market.halted}`],
    market.wide && ["warn", "Its confidence is wide: the oracle is unsure"],
    market.rejected && ["bad", `Its account is refused: ${market.rejected}`],
    market.second_source === "differs" && ["bad", "The second source differs"],
    market.second_source === "silent" && ["warn", `The second source is silent${market.second_source_age === null ? "" : ` for ${span(market.second_source_age)}`}`],
    market.leaves_at && ["warn", `Leaves at ${instant(market.leaves_at)} UTC: the settings no longer name it`],
  ].filter(Boolean);
  const words = JSON.stringify(notes);
  if (list.words === words) return;
  list.words = words;
  list.replaceChildren(...notes.map(([grade, text]) => element("li", { class: grade }, icon(grade), element("span", {}, text))));
}

function showFacts(list, market, digits) {
  const none = market.mark_price === null, away = none || market.price === null ? null : market.mark_price / market.price - 1;
  terms(list, [
    ["Mark", none ? "none" : number(market.mark_price, digits), none ? "bad" : ""],
    ["Against index", away === null ? "–" : basisPoints(away)],
    ["Source", market.feed ? market.feed.replace(`${market.market}/`, "") : "–"],
    ...(market.second_source ? [["Second source", market.second_source, { differs: "bad", silent: "warn" }[market.second_source] || ""]] : []),
  ]);
}

function showFunding(parts, market) {
  const made = market.funding_estimate, rate = made ? made.rate : null, per = span(market.funding_interval);
  const [payer, value] = parts.estimate.children;
  say(value, rate !== null ? percent(rate) : made ? "none" : "–");
  say(payer, !made ? "no estimate yet" : rate === null ? "would be skipped" :
    `${Number(rate) > 0 ? "longs pay" : Number(rate) < 0 ? "shorts pay" : "nobody pays"}, per ${per}` +
    `${Math.abs(rate) >= Number(market.funding_cap) ? ", at the cap" : ""}`);
  parts.interval = market.funding_interval;
  parts.ends = market.ends;
  say(parts.samples, made ? `Estimate from ${number(made.used)} of ${number(made.expected)} samples` +
    `${made.unusable ? `, ${number(made.unusable)} without an oracle` : ""}${made.premium === null ? "" : `; premium ${percent(made.premium)}`}` : "");
  terms(parts.last, [
    ["Last settled", market.last_funding === null ? "never" : `${percent(market.funding_rate)} at ${timeOf(market.last_funding)}`],
    ["Cap", `±${number(100 * market.funding_cap, 4)} %`],
  ]);
}

function showTable(table, settled) {
  const words = JSON.stringify(settled);
  if (table.words === words) return;
  table.words = words;
  table.replaceChildren(...[...settled].reverse().map((one) => element("tr", {},
    element("td", {}, instant(one.boundary)), element("td", { class: "figure" }, percent(one.rate)),
    element("td", {}, one.status + (one.reason ? `: ${one.reason}` : "")))));
}

/** The countdown, between two answers of the daemon. */
function tick(parts, now) {
  const left = Math.max(0, parts.ends - now), [words, value] = parts.left.children;
  say(words, `settles at ${timeOf(Math.round(parts.ends))}, in`);
  say(value, countdown(left));
  progress(parts.progress, 1 - left / parts.interval);
}
