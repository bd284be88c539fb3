"""What the doctor says of a Hermes: each trouble by its own code, with a cure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.config import Feed, Settings, load_settings
from quantdesk_oracle.doctor.findings import Finding, Grade
from quantdesk_oracle.doctor.hermes import examine_benchmarks, examine_hermes
from quantdesk_oracle.model import Source
from tests.hermes_server import KEY, HermesServer, hermes_server, of_bytes

CLOCK = SystemClock()
SYMBOLS = ["BTC-PERP", "ETH-PERP", "SOL-PERP"]


@pytest.fixture
async def hermes() -> AsyncIterator[HermesServer]:
    """One that has a print of now of each of three feeds."""
    async with hermes_server() as server:
        for market in settings_of(server).markets:
            assert market.feed_id is not None
            server.publish(market.feed_id, now(), 1, 1_000_000, confidence=100)
        yield server


def now() -> int:
    return CLOCK.now() // 1_000_000


def settings_of(server: HermesServer, *, on_hermes: bool = True, **hermes: Any) -> Settings:
    """Three markets that live on ``server``, or have it as their second source."""
    loaded = load_settings(database="postgresql://localhost/none", own_network=True)
    markets = loaded.markets
    if on_hermes:
        markets = tuple(
            replace(
                one,
                feeds=(
                    Feed(one.symbol, (one.feed_id or b"").hex(), None, one.feed_id, source=Source.HERMES),
                ),
            )
            for one in markets
        )
    asked = {
        "urls": (SecretStr(server.url),),
        "key": SecretStr(KEY),
        "second_source": not on_hermes,
        **hermes,
    }
    return replace(loaded, markets=markets, hermes=replace(loaded.hermes, **asked))


async def found(settings: Settings) -> list[Finding]:
    return await examine_hermes(settings, CLOCK)


async def the_one(settings: Settings) -> Finding:
    (finding,) = await found(settings)
    assert finding.cure
    return finding


async def test_fresh_prints_of_every_feed_are_well(hermes: HermesServer) -> None:
    findings = await found(settings_of(hermes))
    assert [(one.code, one.grade, one.subject) for one in findings] == [
        ("hermes.fresh", Grade.OK, f"{symbol}/hermes") for symbol in SYMBOLS
    ]


async def test_where_nobody_wants_it_nothing_is_asked(hermes: HermesServer) -> None:
    (finding,) = await found(settings_of(hermes, on_hermes=False, second_source=False))
    assert (finding.code, finding.grade) == ("hermes.unused", Grade.SKIP)
    assert hermes.seen == []


@pytest.mark.parametrize(
    ("key", "code", "said"),
    [
        (None, "hermes.no_key", "wants a key"),
        (SecretStr("another"), "hermes.refused", "refuses the key"),
    ],
)
async def test_no_key_is_told_from_a_wrong_one(
    hermes: HermesServer, key: SecretStr | None, code: str, said: str
) -> None:
    finding = await the_one(settings_of(hermes, key=key))
    assert (finding.code, finding.grade) == (code, Grade.FAIL)
    assert said in finding.finding
    assert "another" not in f"{finding}"


async def test_a_key_that_does_not_cover_a_feed_names_its_market(hermes: HermesServer) -> None:
    settings = settings_of(hermes)
    hermes.covered = {one.feed_id for one in settings.markets if one.symbol != "ETH-PERP" and one.feed_id}
    finding = await the_one(settings)
    assert finding.code == "hermes.not_covered"
    assert "ETH-PERP" in finding.finding
    assert "BTC-PERP" not in finding.finding


@pytest.mark.parametrize(
    ("status", "content", "code"),
    [
        (429, b"", "hermes.rate_limited"),
        (502, b"", "hermes.unreachable"),
        (200, b"<html>a proxy</html>", "hermes.protocol"),
        (404, b"", "hermes.unknown_feed"),
    ],
)
async def test_each_answer_that_is_none_has_its_code(
    hermes: HermesServer, status: int, content: bytes, code: str
) -> None:
    hermes.instead = of_bytes(content, status=status)
    assert (await the_one(settings_of(hermes))).code == code


async def test_a_second_source_that_is_away_is_a_warning_and_each_host_is_looked_at(
    hermes: HermesServer,
) -> None:
    urls = (SecretStr("http://127.0.0.1:9"), SecretStr(hermes.url))
    findings = await found(settings_of(hermes, on_hermes=False, urls=urls))
    assert [(one.code, one.grade) for one in findings] == [
        ("hermes.unreachable", Grade.WARN),
        *[("hermes.fresh", Grade.OK)] * 3,
    ]


async def test_a_feed_that_hermes_does_not_know_is_a_failure_of_its_market_alone(
    hermes: HermesServer,
) -> None:
    del hermes.published[1]
    findings = {one.subject: one for one in await found(settings_of(hermes))}
    assert (findings["ETH-PERP/hermes"].code, findings["ETH-PERP/hermes"].grade) == (
        "hermes.unknown_feed",
        Grade.FAIL,
    )
    assert findings["BTC-PERP/hermes"].code == "hermes.fresh"


@pytest.mark.parametrize(("on_hermes", "grade"), [(True, Grade.FAIL), (False, Grade.WARN)])
async def test_an_old_print_is_stale(hermes: HermesServer, on_hermes: bool, grade: Grade) -> None:
    hermes.published[0] = hermes.published[0]._replace(publish_time=now() - 1_000)
    findings = {one.subject: one for one in await found(settings_of(hermes, on_hermes=on_hermes))}
    finding = findings["BTC-PERP/hermes"]
    assert (finding.code, finding.grade) == ("hermes.stale", grade)
    assert "dead" in finding.finding
    assert finding.figures["age_seconds"] >= 1_000


MINUTES_AGO = 150
"""Seconds: within the minute that is asked for."""


async def the_past(server: HermesServer, **hermes: Any) -> Finding:
    """What is said of Benchmarks, which is at another address than Hermes."""
    settings = settings_of(server, benchmarks_url=SecretStr(server.url), **hermes)
    (finding,) = await examine_benchmarks(settings, CLOCK)
    return finding


@pytest.fixture
async def benchmarks() -> AsyncIterator[HermesServer]:
    """One that has a print of a few minutes ago of each of three feeds."""
    async with hermes_server() as server:
        for market in settings_of(server).markets:
            assert market.feed_id is not None
            server.publish(market.feed_id, now() - MINUTES_AGO, 1, 1_000_000, confidence=100)
        yield server


async def test_a_minute_of_the_past_of_every_feed_is_well(benchmarks: HermesServer) -> None:
    finding = await the_past(benchmarks)
    assert (finding.code, finding.grade, finding.figures) == ("benchmarks.history", Grade.OK, {"prints": 3})
    (path,) = benchmarks.paths
    assert path.startswith("/v1/updates/price/")


@pytest.mark.parametrize("history", [Source.HERMES, None])
async def test_benchmarks_is_not_asked_where_gaps_are_not_read_back_from_there(
    benchmarks: HermesServer, history: Source | None
) -> None:
    settings = settings_of(benchmarks, benchmarks_url=SecretStr(benchmarks.url), history=history)
    assert await examine_benchmarks(settings, CLOCK) == []
    second = settings_of(benchmarks, on_hermes=False, benchmarks_url=SecretStr(benchmarks.url))
    assert await examine_benchmarks(second, CLOCK) == []
    assert benchmarks.seen == []


@pytest.mark.parametrize(
    ("status", "content", "code"),
    [
        (429, b"", "benchmarks.rate_limited"),
        (502, b"", "benchmarks.unreachable"),
        (200, b"<html>a proxy</html>", "benchmarks.protocol"),
        (200, b'{"binary": {"encoding": "hex", "data": []}}', "benchmarks.protocol"),
        (200, b'[{"binary": {"encoding": "hex", "data": ["00"]}}]', "benchmarks.protocol"),
        (200, b"[]", "benchmarks.nothing"),
        (404, b"", "benchmarks.nothing"),
        (403, b"", "benchmarks.not_covered"),
    ],
)
async def test_each_answer_of_benchmarks_that_is_none_has_its_code(
    benchmarks: HermesServer, status: int, content: bytes, code: str
) -> None:
    benchmarks.instead = of_bytes(content, status=status)
    finding = await the_past(benchmarks)
    assert (finding.code, finding.grade) == (code, Grade.WARN)
    assert finding.cure


async def test_a_key_that_benchmarks_wants_is_told_and_not_shown(benchmarks: HermesServer) -> None:
    assert (await the_past(benchmarks, key=None)).code == "benchmarks.no_key"
    finding = await the_past(benchmarks, key=SecretStr("another"))
    assert finding.code == "benchmarks.refused"
    assert "another" not in f"{finding}"


async def test_a_feed_that_benchmarks_lacks_is_named(benchmarks: HermesServer) -> None:
    del benchmarks.published[1]
    finding = await the_past(benchmarks)
    assert finding.code == "benchmarks.nothing"
    assert "ETH-PERP" in finding.finding
    assert "BTC-PERP" not in finding.finding
