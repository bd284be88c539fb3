"""The status page in a real Chromium: what it shows in each state, and what it never lets through.

Screenshots of every state go to the folder that QUANTDESK_TEST_PICTURES names, for a person to look at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.model import Freshness
from quantdesk_oracle.ops.health import HealthServer, NotReady, Readiness
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.ops.page import page_routes
from quantdesk_oracle.workers.status import MarketStatus
from tests.e2e.browser import Browser, chromium
from tests.e2e.conftest import Program
from tests.e2e.test_demo import until_rows
from tests.postgres import free_port

SCRIPT = "<script>window.stolen = true</script><img src=x onerror='window.stolen = true'>"


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


def market(symbol: str = "BTC-PERP", **changed: Any) -> MarketStatus:
    """A market that is well, but for what is changed."""
    known: dict[str, Any] = {
        "market": symbol,
        "freshness": Freshness.FRESH,
        "price": Decimal("98595.40891234"),
        "confidence": Decimal("47.40920000"),
        "age": 12.0,
        "publish_time": 1_795_000_000,
        "slot": 447_000_000,
        "feed": f"{symbol}/core_upgraded",
        "mark_price": Decimal("98596.969900000000"),
        "funding_rate": Decimal("0.0000125"),
        "next_funding": 1234.0,
        "rejected": None,
        "fresh_limit": 75.0,
        "stale_limit": 180.0,
        "last_funding": 1_795_000_000,
        "funding_interval": 3600,
        "funding_cap": Decimal("0.04"),
        "halted": None,
    }
    return MarketStatus(**{**known, **changed})


def recent(states: str = "f" * 300) -> dict[str, Any]:
    """Five minutes of a market."""
    prices = [98_500 + (second * 37 % 101) if state != "d" else None for second, state in enumerate(states)]
    rates = [{"boundary": hour * 3600, "rate": (hour - 12) * 1e-5} for hour in range(24)]
    return {"prices": prices, "marks": prices, "states": states, "rates": rates}


class World:
    """What the page's server says; a test changes it."""

    def __init__(self) -> None:
        self.markets = [market(), market("ETH-PERP"), market("SOL-PERP")]
        self.reasons: tuple[NotReady, ...] = ()
        self.states: dict[str, str] = {}
        self.trouble: str | None = None
        self.events: list[dict[str, Any]] = []
        self.spooled = 0
        self.beat = 0.1

    def heartbeat_age(self) -> float:
        return self.beat

    def readiness(self) -> Readiness:
        return Readiness.of(self.reasons)

    def status(self) -> dict[str, Any]:
        return {
            "version": "0.1.0",
            "instance": "host-1",
            "started": 1_795_000_000.0,
            "now": 1_795_003_600.0,
            "ready": not self.reasons,
            "reasons": self.reasons,
            "markets": self.markets,
            "slot": 447_000_000,
            "subscription": {"connected": True},
            "polling": {"failing": None},
            "database": {"trouble": self.trouble},
            "clock_difference": 0.001,
            "endpoints": [{"name": "rpc.example", "active": True, "well": True}],
            "spool": {"rows": self.spooled},
            "gaps": 0,
            "instances": [{"id": "host-1", "state": "running", "ready": True, "seen_age": 2.0}],
            "events": self.events,
            "rows": {"oracle_prices": 12_345, "mark_prices": 10_000},
            "updates": 12_345,
            "duplicates": 99,
            "rejected": {},
            "reconnects": 0,
        }

    def charts(self) -> dict[str, Any]:
        return {one.market: recent(self.states.get(one.market, "f" * 300)) for one in self.markets}


@pytest.fixture
def world() -> World:
    return World()


Open = Callable[[str], Browser]


@pytest.fixture
def page(world: World, browser: Browser) -> Iterator[Open]:
    """Opens the page of ``world`` and waits until it shows something; the picture is kept under the name given."""
    server = HealthServer("127.0.0.1", 0, Metrics([], [], [], "0"), world, pages=page_routes())
    server.start()

    def open_(name: str) -> Browser:
        browser.resize(1280, 900)
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.until("return document.querySelectorAll('article').length")
        keep(browser, name)
        return browser

    yield open_
    server.stop()
    browser.colour_scheme("light")


def keep(browser: Browser, name: str) -> None:
    """Keep a picture where somebody wants one."""
    if folder := os.environ.get("QUANTDESK_TEST_PICTURES"):
        browser.picture(Path(folder) / f"{name}.png")


def text(browser: Browser, selector: str = "body") -> str:
    return str(browser.run("return document.querySelector(arguments[0]).innerText", selector))


def dead(one: MarketStatus) -> NotReady:
    return NotReady("oracle_dead", one.market, f"{one.market} has no mark: its newest print is 600 s old.")


def make_dead(world: World) -> None:
    world.markets[0] = market(freshness=Freshness.DEAD, age=600.0, mark_price=None, rejected="wrong_owner")
    world.reasons = (dead(world.markets[0]),)
    world.states["BTC-PERP"] = "f" * 120 + "s" * 60 + "d" * 120


def make_database_down(world: World) -> None:
    world.trouble = (
        "cannot connect to postgresql://quantdesk_oracle:***@db.example/quantdesk: ConnectionRefusedError"
    )
    world.reasons = (NotReady("database", None, f"The database refuses: {world.trouble}"),)
    world.spooled = 4711


def make_stale(world: World) -> None:
    world.markets[1] = market("ETH-PERP", freshness=Freshness.STALE, age=120.0)
    world.states["ETH-PERP"] = "f" * 240 + "s" * 60


STATES: dict[str, Callable[[World], None]] = {
    "healthy": lambda _: None,
    "stale": make_stale,
    "dead": make_dead,
    "database-down": make_database_down,
}


def test_a_healthy_daemon_is_shown_as_ready(page: Open) -> None:
    browser = page("healthy")
    assert text(browser, "#state") == "Ready: all 3 markets are served"
    assert browser.run("return document.getElementById('trouble').hidden")
    card = text(browser, "article")
    for shown in (
        "BTC-PERP",
        "fresh",
        "98,595.41",
        "0.001250 % per 1 h",
        "20 min 34 s",
        "0.16 bp",
        "100 %",
    ):
        assert shown in card, card
    assert "running, ready, seen 2 s ago" in text(browser, "#database")
    assert browser.console() == []


def test_a_stale_market_is_named_though_the_daemon_is_ready(page: Open, world: World) -> None:
    make_stale(world)
    assert text(page("stale"), "#state") == "Ready, 1 of 3 markets stale"


def test_a_dead_market_shows_its_reason_no_mark_and_the_gap(page: Open, world: World) -> None:
    make_dead(world)
    browser = page("dead")
    assert text(browser, "#state") == "Not ready: 1 reason"
    assert "BTC-PERP has no mark: its newest print is 600 s old. (oracle_dead)" in text(browser, "#trouble")
    card = text(browser, "article")
    for shown in ("dead", "none", "wrong_owner", "Served 60 % of the last 5 min"):
        assert shown in card, card


def test_a_database_that_is_down_is_told_with_what_waits(page: Open, world: World) -> None:
    make_database_down(world)
    browser = page("database-down")
    assert "ConnectionRefusedError" in text(browser, "#trouble")
    assert "4,711 rows" in text(browser, "#database")


def test_a_daemon_that_goes_away_is_told_and_the_page_lives_on(
    page: Open, world: World, browser: Browser
) -> None:
    page("before")
    browser.run("window.fetch = () => Promise.reject(new Error('gone'))")
    browser.until(
        "return document.getElementById('state').innerText.startsWith('The daemon does not answer')"
    )
    assert "BTC-PERP" in text(browser, "article")


def test_it_follows_without_reload_and_stops_when_paused(page: Open, world: World) -> None:
    browser = page("live")
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
    world.markets = [market(SCRIPT, feed=SCRIPT, rejected=SCRIPT)]
    world.reasons = (NotReady(SCRIPT, SCRIPT, SCRIPT),)
    world.trouble = SCRIPT
    world.events = [
        {
            "type": SCRIPT,
            "severity": SCRIPT,
            "instant": 1,
            "market": SCRIPT,
            "data": {SCRIPT: SCRIPT, "a": [SCRIPT]},
        }
    ]
    browser = page("markup")
    assert browser.run("return window.stolen") is None
    assert browser.run("return document.querySelectorAll('main script, main img').length") == 0
    assert text(browser).count("<script>") >= 8


def test_it_loads_nothing_from_outside_and_runs_nothing_inline(page: Open, browser: Browser) -> None:
    page("policy")
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
    browser = page("width")
    browser.resize(width, 800)
    keep(browser, f"width-{width}")
    assert browser.run("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_keyboard_reaches_everything_that_can_be_used(page: Open) -> None:
    browser = page("keyboard")
    reached = []
    for _ in range(8):
        browser.press("\ue004")
        reached.append(
            browser.run("const e = document.activeElement; return e.id || e.className || e.tagName")
        )
    assert reached[0] == "skip"
    assert {"pause", "scroll"} <= set(reached)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_serious(page: Open, world: World, axe: str, state: str, scheme: str) -> None:
    STATES[state](world)
    world.events = [
        {"type": "feed.dead", "severity": "error", "instant": 1, "market": "BTC-PERP", "data": {"a": 1}}
    ]
    browser = page(state)
    browser.colour_scheme(scheme)
    keep(browser, f"{state}-{scheme}")
    browser.run(axe)
    found = browser.run_async("axe.run().then((found) => arguments[0](found.violations))")
    serious = [
        (one["id"], one["impact"], [node["html"][:120] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


async def test_the_page_of_a_running_daemon(program: Program, state_dir: Path, browser: Browser) -> None:
    port = str(free_port())
    process = program("run", "--demo", "--json", "--state-dir", state_dir, QUANTDESK_HTTP_PORT=port)
    await until_rows(state_dir, 12)
    browser.open("about:blank")
    browser.console()
    browser.resize(1280, 900)
    browser.open(f"http://127.0.0.1:{port}/")
    browser.until("return document.getElementById('state').innerText === 'Ready: all 3 markets are served'")
    browser.until("return document.querySelectorAll('#events tr').length >= 4")
    keep(browser, "running")
    assert "daemon.started" in text(browser, "#events")
    assert browser.console() == []
    process.terminate()
    assert process.wait(10) == 0
