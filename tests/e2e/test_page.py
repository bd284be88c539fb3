"""The status page in a real Chromium: what it shows in each state, and what it never lets through.

Pictures of every state, light and dark, on a desktop's screen and a phone's, go to the folder that
QUANTDESK_TEST_PICTURES names, for a person to look at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quantdesk_oracle.ops.health import HealthServer
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.ops.page import page_routes
from quantdesk_oracle.ops.readiness import NotReady
from tests.e2e.browser import Browser, chromium
from tests.e2e.conftest import Program
from tests.e2e.page_world import (
    BOUNDARY,
    STATES,
    World,
    event,
    make_database_down,
    make_dead,
    make_stale,
    make_warned,
    market,
)
from tests.e2e.test_demo import until_rows
from tests.postgres import free_port

SCRIPT = "<script>window.stolen = true</script><img src=x onerror='window.stolen = true'>"
DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: axe-core cannot be had")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run(
        [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@4.10.3"],
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        pytest.skip("npm does not answer: axe-core cannot be had")
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


@pytest.fixture
def world() -> World:
    return World()


Open = Callable[[], Browser]


@pytest.fixture
def url(world: World) -> Iterator[str]:
    """Where the page of ``world`` is served."""
    server = HealthServer("127.0.0.1", 0, Metrics([], [], [], "0"), world, pages=page_routes())
    server.start()
    yield f"http://127.0.0.1:{server.port}/"
    server.stop()


@pytest.fixture
def page(url: str, browser: Browser) -> Iterator[Open]:
    """Opens the page of ``world`` and waits until it shows something."""

    def open_() -> Browser:
        browser.resize(*DESKTOP)
        browser.console()
        browser.open(url)
        browser.until("return (document.querySelector('.left .value') || {}).innerText")
        return browser

    yield open_
    browser.open("about:blank")  # asks no longer, before there is nobody to answer
    browser.colour_scheme("light")


def keep(browser: Browser, name: str) -> None:
    """Keep a picture where somebody wants one."""
    if folder := os.environ.get("QUANTDESK_TEST_PICTURES"):
        browser.picture(Path(folder) / f"{name}.png")


def text(browser: Browser, selector: str = "body") -> str:
    return str(browser.run("return document.querySelector(arguments[0]).innerText", selector))


def test_a_healthy_daemon_is_shown_as_ready(page: Open) -> None:
    browser = page()
    assert text(browser, "#state") == "Ready: all 3 markets are served"
    assert browser.run("return document.getElementById('trouble').hidden")
    card = text(browser, "article")
    for shown in (
        "BTC-PERP",
        "fresh",
        "98,595.41",
        "4.80 bp",
        "0.16 bp",
        "agrees",
        "Last 5 min: 100 % served",
    ):
        assert shown in card, card
    assert "ready, seen 2 s ago" in text(browser, "#database")
    assert "2 of 2 well" in text(browser, "#overview")
    assert browser.console() == []


def test_funding_shows_what_it_comes_to_and_counts_down_to_its_boundary(page: Open) -> None:
    browser = page()
    funding = text(browser, ".funding")
    for shown in (
        "longs pay, per 1 h", "+0.001421 %", "settles at 13:00, in", "553 of 720 samples", "3 without an oracle",
        "+0.001250 % at 12:00", "±4.0000 %", "48 since 11-16 13:00, ±0.002971 %", "1 skipped",
    ):  # fmt: skip
        assert shown in funding, funding
    first = text(browser, ".left .value")
    assert first.startswith(("53:3", "53:2"))
    browser.until(f"return document.querySelector('.left .value').innerText !== '{first}'")


def test_every_settled_rate_is_a_bar_and_a_row_of_a_table_which_stays_open(page: Open) -> None:
    browser = page()
    assert browser.run("return document.querySelectorAll('article:first-child .rates rect').length") == 49
    browser.run(
        "document.querySelector('article details').open = true; window.table = document.querySelector('article tbody')"
    )
    rows = text(browser, "article details").splitlines()
    assert sum("settled" in row for row in rows) >= 47
    assert any("skipped: unhealed" in row for row in rows)
    browser.run("window.asked = performance.getEntriesByType('resource').length")
    browser.until("return performance.getEntriesByType('resource').length >= window.asked + 4")
    assert browser.run("return document.querySelector('article details').open && window.table.isConnected")


def test_an_interval_that_would_be_skipped_says_so(page: Open, world: World) -> None:
    make_dead(world)
    assert "would be skipped" in text(page(), ".funding")


def test_a_daemon_without_an_estimate_or_a_past_yet_is_shown(page: Open, world: World) -> None:
    world.markets = [
        market(
            price=None, confidence=None, age=None, mark_price=None, funding_estimate=None, last_funding=None
        )
    ]
    empty = {
        "prices": [None],
        "confidences": [None],
        "marks": [None],
        "states": "u",
        "rates": [],
        "coverage": None,
    }
    world.charts = lambda: {"BTC-PERP": empty}  # type: ignore[method-assign]
    browser = page()
    for shown in ("no usable print yet", "no estimate yet", "None settled yet", "never"):
        assert shown in text(browser, "article")
    assert browser.console() == []


def test_a_stale_market_is_named_though_the_daemon_is_ready(page: Open, world: World) -> None:
    make_stale(world)
    browser = page()
    assert text(browser, "#state") == "Ready, 1 of 3 markets stale"
    second = text(browser, "article:nth-child(2)")
    assert "The second source is silent for 95 s" in second
    assert "30 min being read back" in second
    assert "spare, not well" in text(browser, "#endpoints")


def test_what_takes_no_readiness_away_is_told_all_the_same(page: Open, world: World) -> None:
    make_warned(world)
    world.markets[2] = market("SOL-PERP", wide=True)
    browser = page()
    assert text(browser, "#state") == "Ready: all 3 markets are served, 1 warning"
    assert text(browser, "#trouble").startswith("What to look at")
    assert "by polling alone, later and dearer: refused websocket_down" in text(browser, "#trouble")
    assert "polling only" in text(browser, "#overview")
    assert "the oracle is unsure" in text(browser, "article:nth-child(3) .notes")


def test_a_dead_market_shows_its_reason_no_mark_and_the_gap(page: Open, world: World) -> None:
    make_dead(world)
    browser = page()
    assert text(browser, "#state") == "Not ready: 1 reason"
    assert "its newest print is 600 s old" in text(browser, "#trouble")
    card = text(browser, "article")
    for shown in (
        "dead",
        "not used",
        "none",
        "refused: wrong_owner",
        "Last 5 min: 60 % served, 20 % stale",
        "75 min lost for good",
    ):
        assert shown in card, card
    browser.run("document.querySelector('#reasons a').click()")
    assert browser.run("return location.hash.slice(1) === document.querySelector('article').id")


def test_a_database_that_is_down_is_told_with_what_waits(page: Open, world: World) -> None:
    make_database_down(world)
    browser = page()
    assert "ConnectionRefusedError" in text(browser, "#trouble")
    for shown in ("4,711 rows, 2.2 MB of 1.0 GB", "12 min 34 s old", "212 rows"):
        assert shown in text(browser, "#database")


def test_a_daemon_that_is_only_just_starting_says_so(url: str, world: World, browser: Browser) -> None:
    told, world.status = world.status, dict  # type: ignore[method-assign]
    browser.open(url)
    browser.until("return document.getElementById('state').innerText === 'The daemon is only just starting'")
    world.status = told  # type: ignore[method-assign]
    browser.until("return document.getElementById('state').innerText.startsWith('Ready')")


def test_a_loop_that_is_stuck_is_a_reason_of_its_own(page: Open, world: World) -> None:
    world.beat = 61.0
    browser = page()
    assert text(browser, "#state") == "Not ready: 1 reason"
    assert "has not moved for 61 s" in text(browser, "#trouble")


def test_a_market_that_is_halted_and_leaves_says_why_and_when(page: Open, world: World) -> None:
    world.markets[2] = market("SOL-PERP", halted="bad quotes", leaves_at=BOUNDARY)
    notes = text(page(), "article:nth-child(3) .notes")
    assert "Halted: bad quotes" in notes
    assert "Leaves at 2026-11-18 13:00:00 UTC" in notes


def test_a_market_that_comes_or_goes_does_so_without_reload(page: Open, world: World) -> None:
    browser = page()
    world.markets = [*world.markets[1:], market("DOGE-PERP")]
    browser.until(
        "return [...document.querySelectorAll('h3')].map((h) => h.innerText).join() === 'ETH-PERP,SOL-PERP,DOGE-PERP'"
    )
    assert browser.run("return new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size === "
                       "document.querySelectorAll('[id]').length")  # fmt: skip


def test_charts_out_of_sight_wait_until_they_are_in_sight_and_words_do_not(page: Open, world: World) -> None:
    world.markets = [market(f"M{number}-PERP") for number in range(40)]
    browser = page()
    world.states["M39-PERP"] = "d" * 300
    world.markets[39] = market("M39-PERP", age=20.0)
    last = "document.querySelector('article:last-child')"
    browser.until(f"return {last}.innerText.includes('Age 20 s')")
    assert "Last 5 min: 100 % served" in browser.run(f"return {last}.innerText")
    browser.run(f"{last}.scrollIntoView()")
    browser.until(f"return {last}.innerText.includes('Last 5 min: 0 % served')")


def test_a_daemon_that_goes_away_is_told_and_the_page_lives_on(page: Open) -> None:
    browser = page()
    browser.run("window.fetched = window.fetch; window.fetch = () => Promise.reject(new Error('gone'))")
    browser.until(
        "return document.getElementById('state').innerText.startsWith('The daemon does not answer')"
    )
    keep(browser, "gone")
    assert "what is shown is of 2026-11-18 12:06:26" in text(browser, "#state")
    assert "BTC-PERP" in text(browser, "article")
    browser.run("window.fetch = window.fetched")
    browser.until("return document.getElementById('state').innerText.startsWith('Ready')")


def test_it_follows_without_reload_and_stops_when_paused(page: Open, world: World) -> None:
    browser = page()
    browser.run("window.loaded = true")
    make_dead(world)
    browser.until("return document.getElementById('state').innerText === 'Not ready: 1 reason'")
    assert browser.run("return window.loaded")
    browser.run("document.getElementById('pause').focus()")
    browser.press(" ")
    assert browser.run("return document.getElementById('pause').getAttribute('aria-pressed')") == "true"
    world.reasons, world.markets[0] = (), market()
    time.sleep(2.5)  # longer than it asks: that nothing happens cannot be waited for otherwise
    assert text(browser, "#state") == "Not ready: 1 reason"
    browser.press(" ")
    browser.until("return document.getElementById('state').innerText.startsWith('Ready')")


def test_markup_from_a_chain_or_a_database_stays_text(page: Open, world: World) -> None:
    world.markets = [market(SCRIPT, feed=SCRIPT, rejected=SCRIPT, halted=SCRIPT)]
    world.reasons = (NotReady(SCRIPT, SCRIPT, SCRIPT),)
    world.trouble = world.failing = SCRIPT
    world.events = [replace_type(event("x", 1, SCRIPT, severity=SCRIPT, a=[SCRIPT]))]
    drawn = world.charts()[SCRIPT]
    drawn["rates"][0].update(status="manual", reason=SCRIPT)
    world.charts = lambda: {SCRIPT: drawn}  # type: ignore[method-assign]
    browser = page()
    browser.run("document.querySelector('article details').open = true")
    assert browser.run("return window.stolen") is None
    assert browser.run("return document.querySelectorAll('main script, main img').length") == 0
    assert text(browser).count("<script>") >= 12
    assert browser.console() == []


def replace_type(told: dict[str, object]) -> dict[str, object]:
    """An event whose type and keys are markup too."""
    return {**told, "type": SCRIPT, "data": {SCRIPT: SCRIPT, "a": [SCRIPT]}}


def test_it_loads_nothing_from_outside_and_runs_nothing_inline(page: Open) -> None:
    browser = page()
    origin = browser.run("return location.origin")
    loaded = browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert loaded
    assert all(name.startswith((origin, "data:")) for name in loaded), loaded
    browser.run(
        "const s = document.createElement('script'); s.textContent = 'window.inline = 1'; document.body.append(s)"
    )
    assert browser.run("return window.inline") is None
    assert any("Content Security Policy" in line for line in browser.console())


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_it_fits_every_width_without_scrolling_sideways(page: Open, world: World, width: int) -> None:
    make_dead(world)
    make_database_down(world)
    browser = page()
    browser.resize(width, 800)
    keep(browser, f"width-{width}")
    assert browser.run("return document.documentElement.scrollWidth") == width
    cut = browser.run(
        "return [...document.querySelectorAll('p, dd, dt, h3, li')].filter((e) => e.scrollWidth > e.clientWidth + 1 &&"
        " !e.closest('.unseen')).map((e) => e.innerText)"
    )
    assert cut == []


def test_the_keyboard_reaches_everything_that_can_be_used(page: Open) -> None:
    browser = page()
    reached = []
    for _ in range(20):
        browser.press("\ue004")
        reached.append(
            browser.run("const e = document.activeElement; return e.id || e.className || e.tagName")
        )
    assert reached[0] == "skip"
    assert {"pause", "SUMMARY", "scroll", "events", "A"} <= set(reached)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_and_the_console_is_silent(
    page: Open, world: World, axe: str, state: str, scheme: str
) -> None:
    STATES[state](world)
    browser = page()
    browser.colour_scheme(scheme)
    for name, (width, height) in {"desktop": DESKTOP, "phone": PHONE}.items():
        browser.resize(width, height)
        keep(browser, f"{state}-{scheme}-{name}")
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    browser.run(axe)
    found = browser.run_async("axe.run().then((found) => arguments[0](found.violations))")
    assert [
        (one["id"], one["impact"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found
    ] == []
    assert browser.console() == []


async def test_the_page_of_a_running_daemon(program: Program, state_dir: Path, browser: Browser) -> None:
    port = str(free_port())
    process = program("run", "--demo", "--json", "--state-dir", state_dir, QUANTDESK_HTTP_PORT=port)
    await until_rows(state_dir, 12)
    browser.open("about:blank")
    browser.console()
    browser.resize(*DESKTOP)
    browser.open(f"http://127.0.0.1:{port}/")
    browser.until("return document.getElementById('state').innerText === 'Ready: all 3 markets are served'")
    browser.until("return document.querySelectorAll('#events li').length >= 4")
    browser.until(
        "return document.querySelectorAll('article:first-child .bar')[0].getAttribute('viewBox') === '0 0 96 10'"
    )
    browser.until("return /of [0-9]+ samples/.test(document.querySelector('article').innerText)")
    keep(browser, "running")
    assert "daemon.started" in text(browser, "#events")
    assert browser.console() == []
    process.terminate()
    assert process.wait(10) == 0
