"""From a delivery to a row: each verdict and each refusal with its own reason, whatever order things come in."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from quantdesk_oracle.config import Feed
from quantdesk_oracle.model import (
    SECOND,
    Freshness,
    Generation,
    Observation,
    PriceUpdate,
    Reason,
    Source,
    StoredPrint,
    Verdict,
)
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.pricing.acceptance import StorageLimits
from quantdesk_oracle.pricing.quarantine import Agreement, SecondOpinion
from quantdesk_oracle.pricing.use import IndexUse, UseLimits
from quantdesk_oracle.pyth.messages import decode_price_message
from quantdesk_oracle.workers.ingest import REMEMBERED_PRINTS, Ingest
from quantdesk_oracle.workers.state import Markets
from tests.scrape import scraped
from tests.vectors import encoder

NOW = 1_800_000_000
RECEIVER_2 = "rec5EKMGg6MxZYaMdyBfgwp4d5rB9T1VQH5pJv5LtFJ"
RECEIVER_3 = "rec2HHDDnjLfj4kE7VyEtFA1HPGQLK33259532cRyHp"
LEGACY_MAINNET = "FsJ3A3u2vn5cTVofAjvy6y5kwABJAqYWpe4975bi2epH"
GENERATION_3 = Feed(
    "SOL-PERP", "7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE", Generation.CORE_UPGRADED, encoder.SOL_FEED
)
GENERATION_2 = Feed(
    "SOL-PERP", "7UVimffxr9ow1uXYxsr4LHAcV58mLzhmwaeKvJ1pjLiE", Generation.CORE, encoder.SOL_FEED
)
LEGACY = Feed("SOL-PERP", "H6ARHf6YXhGYeQfUzQNGk6rDNnLBQKrenN712K4AQJEG", Generation.LEGACY, None)
UNKNOWN = replace(GENERATION_3, generation=None)


class _Writer:
    """Takes rows, as the batch writer does."""

    def __init__(self) -> None:
        self.rows: list[StoredPrint] = []

    def put(self, row: StoredPrint) -> None:
        self.rows.append(row)


class _Journal:
    """Takes events, as the journal does."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str | None]] = []

    def record(self, type_: str, *_severity: object, market: str | None = None, **data: object) -> None:
        self.events.append((type_, str(data.get("reason"))))


class Intake:
    """An Ingest of one market, and what came out of it."""

    def __init__(self, *feeds: Feed, second_source: bool = False, **limits: Any) -> None:
        self.feeds = feeds or (GENERATION_3, GENERATION_2)
        self.state = SimpleNamespace(
            id=uuid4(),
            symbol="SOL-PERP",
            market=SimpleNamespace(
                feeds=self.feeds,
                storage=StorageLimits(**limits),
                feed_id=self.feeds[0].feed_id,
                on_hermes=not self.feeds[0].on_chain,
            ),
            index=IndexUse(len(self.feeds), UseLimits(slot_time=400_000 if self.feeds[0].on_chain else 0)),
            second_source=SecondOpinion(),
        )
        self.markets = Markets([self.state])  # type: ignore[list-item]
        self.writer, self.journal = _Writer(), _Journal()
        self.metrics = Metrics([feed.name for feed in self.feeds], ["SOL-PERP"], ["node"], "test")
        self.ingest = Ingest(
            self.markets,
            self.writer,  # type: ignore[arg-type]
            self.journal,  # type: ignore[arg-type]
            self.metrics,
            second_source=second_source,
        )

    def deliver(
        self,
        feed: Feed = GENERATION_3,
        *,
        owner: str = RECEIVER_3,
        source: Source = Source.SUBSCRIPTION,
        at: int = NOW,
        data: bytes | None = b"",
        **fields: Any,
    ) -> None:
        """Deliver an account: of these fields, or of ``data``."""
        if data == b"":
            data = encoder.price_update_v2(**{"publish_time": NOW, "slot": 1_000, **fields})
        self.ingest.observe(Observation(feed.pubkey, owner, data, source, at * SECOND))

    @property
    def rows(self) -> list[StoredPrint]:
        return self.writer.rows

    @property
    def identities(self) -> list[tuple[int, int]]:
        return [row.update.identity for row in self.rows]

    def rejected(self, reason: Reason, feed: Feed = GENERATION_3) -> float | None:
        """What the metric has counted."""
        return scraped(self.metrics, "quantdesk_oracle_rejected_total", feed=feed.name, reason=reason.value)


@pytest.fixture
def intake() -> Intake:
    return Intake()


def test_a_print_is_a_row_with_its_exact_values(intake: Intake) -> None:
    intake.deliver()
    (row,) = intake.rows
    assert (row.market, row.verdict, row.source, row.received) == (
        "SOL-PERP",
        Verdict.ACCEPTED,
        Source.SUBSCRIPTION,
        NOW * SECOND,
    )
    assert row.update.identity == (NOW, 1_000)
    assert (row.update.price, row.update.confidence, row.update.exponent) == (10_259_321_149, 1_384_501, -8)


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({}, Verdict.ACCEPTED),
        ({"confidence": 10_259_321_149 * 26 // 10_000}, Verdict.WIDE),
        ({"ema_price": 10_259_321_149 * 100 // 111}, Verdict.QUARANTINED),
    ],
)
def test_what_is_stored_carries_its_verdict(intake: Intake, fields: dict[str, int], verdict: Verdict) -> None:
    intake.deliver(**fields)
    assert [row.verdict for row in intake.rows] == [verdict]


def test_a_quarantined_print_is_a_row_and_an_event_and_is_not_in_use(intake: Intake) -> None:
    for second in range(4):
        intake.deliver(
            publish_time=NOW + second, slot=1_000 + second, ema_price=9_000_000_000, at=NOW + second
        )
    assert len(intake.rows) == 4
    assert intake.journal.events.count(("print.quarantined", "quarantined")) == 4
    assert intake.state.index.at((NOW + 4) * SECOND, 1_000).update is None


@pytest.mark.parametrize(
    ("delivery", "reason"),
    [
        ({"data": None}, Reason.ACCOUNT_MISSING),
        ({"data": b"\x01\x02"}, Reason.TOO_SHORT),
        ({"data": bytes(134)}, Reason.UNKNOWN_ACCOUNT),
        ({"data": encoder.twap_update()}, Reason.NOT_A_PRICE),
        ({"owner": "So11111111111111111111111111111111111111112"}, Reason.WRONG_OWNER),
        ({"owner": RECEIVER_2}, Reason.WRONG_OWNER),
        ({"owner": ""}, Reason.WRONG_OWNER),
        ({"feed_id": bytes(32)}, Reason.WRONG_FEED),
        ({"signatures": 5}, Reason.NOT_FULL),
        ({"price": 0}, Reason.PRICE_NOT_POSITIVE),
        ({"price": -1}, Reason.PRICE_NOT_POSITIVE),
        ({"exponent": 1}, Reason.BAD_EXPONENT),
        ({"exponent": -13}, Reason.BAD_EXPONENT),
        ({"publish_time": -1}, Reason.BAD_TIMESTAMP),
        ({"slot": 2**63}, Reason.BAD_SLOT),
        ({"publish_time": NOW + 6}, Reason.FUTURE),
        ({"confidence": 10_259_321_149 // 49}, Reason.UNCERTAIN),
        ({"ema_price": 10_259_321_149 * 6}, Reason.IMPLAUSIBLE),
    ],
)
def test_each_refusal_has_its_own_reason_in_count_metric_event_and_status(
    intake: Intake, delivery: dict[str, Any], reason: Reason
) -> None:
    intake.deliver(**delivery)
    assert intake.rows == []
    assert intake.ingest.rejected == {reason: 1}
    assert intake.rejected(reason) == 1
    assert intake.journal.events == [("print.rejected", reason.value)]
    assert intake.ingest.feeds[GENERATION_3.name] == reason.value


def test_an_older_generation_that_nobody_named_may_be_missing() -> None:
    intake = Intake(GENERATION_3, GENERATION_2)
    intake.deliver(GENERATION_2, data=None, owner="")
    assert not intake.ingest.rejected
    assert intake.journal.events == []
    assert intake.ingest.feeds == {
        GENERATION_3.name: None,
        GENERATION_2.name: Reason.ACCOUNT_MISSING.value,
    }


def test_an_older_generation_that_somebody_named_may_not_be_missing() -> None:
    named = replace(GENERATION_2, configured_by="SOL_ORACLE_ACCOUNT")
    intake = Intake(GENERATION_3, named)
    intake.deliver(named, data=None, owner="")
    assert intake.ingest.rejected == {Reason.ACCOUNT_MISSING: 1}


def test_a_partial_print_is_stored_where_the_operator_says_so() -> None:
    intake = Intake(accept_partial=True)
    intake.deliver(signatures=5)
    assert [row.update.signatures for row in intake.rows] == [5]


def test_a_legacy_layout_in_a_receivers_account_is_nobodys_price() -> None:
    intake = Intake(UNKNOWN)
    intake.deliver(UNKNOWN, data=encoder.legacy_price())
    assert intake.ingest.rejected == {Reason.WRONG_OWNER: 1}


def test_a_new_layout_in_a_legacy_account_is_nobodys_price() -> None:
    intake = Intake(LEGACY)
    intake.deliver(LEGACY, owner=LEGACY_MAINNET)
    assert intake.ingest.rejected == {Reason.WRONG_OWNER: 1}


def test_a_legacy_print_that_does_not_trade_is_refused() -> None:
    intake = Intake(LEGACY)
    intake.deliver(LEGACY, owner=LEGACY_MAINNET, data=encoder.legacy_price(status=2))
    assert intake.ingest.rejected == {Reason.NOT_TRADING: 1}


def test_a_frozen_legacy_account_is_a_row_of_its_own_time_and_never_in_use() -> None:
    intake = Intake(LEGACY)
    intake.markets.highest_slot = 300_000_000
    for _ in range(5):
        intake.deliver(LEGACY, owner=LEGACY_MAINNET, data=encoder.legacy_price(), source=Source.POLL)
    assert [row.update.publish_time for row in intake.rows] == [1_690_737_765]
    assert intake.state.index.at(NOW * SECOND, 300_000_000).freshness is Freshness.DEAD


def test_an_account_of_no_given_generation_may_be_any_of_pyths() -> None:
    intake = Intake(UNKNOWN)
    intake.deliver(UNKNOWN, owner=RECEIVER_2)
    intake.deliver(UNKNOWN, owner=RECEIVER_3, publish_time=NOW + 1)
    assert len(intake.rows) == 2


def test_a_refused_feed_recovers_with_its_next_good_print(intake: Intake) -> None:
    intake.deliver(data=None)
    intake.deliver()
    assert intake.ingest.feeds[GENERATION_3.name] is None
    assert len(intake.rows) == 1


def test_the_same_refusal_again_is_counted_once_while_nothing_changes(intake: Intake) -> None:
    for _ in range(5):
        intake.deliver(price=0, source=Source.POLL)
    assert intake.ingest.rejected == {Reason.PRICE_NOT_POSITIVE: 1}
    intake.deliver(price=0, publish_time=NOW + 1)
    assert intake.ingest.rejected == {Reason.PRICE_NOT_POSITIVE: 2}


def test_a_print_seen_by_both_ways_is_one_row(intake: Intake) -> None:
    intake.deliver()
    intake.deliver(source=Source.POLL)
    assert len(intake.rows) == 1
    assert (intake.ingest.updates, intake.ingest.duplicates) == (1, 1)


def test_an_older_state_that_comes_back_is_a_duplicate(intake: Intake) -> None:
    intake.deliver()
    intake.deliver(publish_time=NOW + 1, slot=1_002)
    intake.deliver()  # a fork was rolled back, or a node lags
    assert intake.identities == [(NOW, 1_000), (NOW + 1, 1_002)]
    assert intake.ingest.duplicates == 1


def test_two_prints_of_one_second_are_two_rows(intake: Intake) -> None:
    intake.deliver(slot=1_000)
    intake.deliver(slot=1_001)
    assert intake.identities == [(NOW, 1_000), (NOW, 1_001)]


def test_a_print_that_two_feeds_of_a_market_hold_is_one_row(intake: Intake) -> None:
    intake.deliver(GENERATION_3)
    intake.deliver(GENERATION_2, owner=RECEIVER_2)
    assert len(intake.rows) == 1
    assert intake.ingest.duplicates == 1


def test_prints_that_differ_between_feeds_are_all_stored(intake: Intake) -> None:
    intake.deliver(GENERATION_3, slot=1_000)
    intake.deliver(GENERATION_2, owner=RECEIVER_2, slot=1_001)
    assert len(intake.rows) == 2


def test_prints_out_of_order_are_all_rows(intake: Intake) -> None:
    for second in (3, 1, 2):
        intake.deliver(publish_time=NOW - second, slot=1_000 - second)
    assert sorted(intake.identities) == [(NOW - 3, 997), (NOW - 2, 998), (NOW - 1, 999)]


def test_what_is_remembered_is_bounded_and_forgets_the_oldest(intake: Intake) -> None:
    for number in range(REMEMBERED_PRINTS + 1):
        intake.deliver(publish_time=NOW - 10_000 + number, slot=number)
    intake.deliver(publish_time=NOW - 10_000, slot=0)
    assert len(intake.rows) == REMEMBERED_PRINTS + 2  # the table's key catches the last one
    intake.deliver(publish_time=NOW - 9_000, slot=1_000)
    assert len(intake.rows) == REMEMBERED_PRINTS + 2


def test_a_print_of_the_future_is_stored_once_its_time_has_come(intake: Intake) -> None:
    intake.deliver(publish_time=NOW + 8, at=NOW)
    assert intake.ingest.rejected == {Reason.FUTURE: 1}
    intake.deliver(publish_time=NOW + 8, at=NOW + 2, source=Source.POLL)
    assert intake.rows == []
    intake.deliver(publish_time=NOW + 8, at=NOW + 3, source=Source.POLL)
    assert intake.identities == [(NOW + 8, 1_000)]


def test_one_fresh_print_that_a_poll_reads_again_proves_the_feed(intake: Intake) -> None:
    intake.deliver(source=Source.POLL)
    assert intake.state.index.at(NOW * SECOND, 1_000).freshness is Freshness.UNPROVEN
    intake.deliver(source=Source.POLL, at=NOW + 2)
    assert intake.state.index.at((NOW + 2) * SECOND, 1_000).freshness is Freshness.FRESH


def test_a_second_notification_proves_nothing(intake: Intake) -> None:
    intake.deliver()
    intake.deliver()
    assert intake.state.index.at(NOW * SECOND, 1_000).freshness is Freshness.UNPROVEN


def test_a_poll_confirms_what_the_subscription_brought(intake: Intake) -> None:
    intake.deliver()
    intake.deliver(source=Source.POLL)
    assert intake.state.index.at(NOW * SECOND, 1_000).freshness is Freshness.FRESH


def test_an_account_that_nobody_asked_for_is_ignored(intake: Intake) -> None:
    intake.deliver(LEGACY)
    assert intake.rows == []
    assert intake.ingest.rejected == {}


def test_slots_only_go_up(intake: Intake) -> None:
    for slot in (5, 9, 7):
        intake.ingest.saw_slot(slot)
    assert intake.markets.highest_slot == 9


def test_every_account_is_watched_once() -> None:
    assert list(Intake(GENERATION_3, GENERATION_2).ingest.pubkeys) == [
        GENERATION_3.pubkey,
        GENERATION_2.pubkey,
    ]


# ── a second source, and a feed on Hermes ────────────────────────────────────────────────────────
OURS = encoder.PRICE_FIELDS["price"]
OWN_FEED = Feed("SOL-PERP", encoder.SOL_FEED.hex(), None, encoder.SOL_FEED, source=Source.HERMES)


def hermes_print(**changed: int) -> PriceUpdate:
    """A print of the feed as Hermes serves it."""
    fields = {"publish_time": NOW, "ema_price": OURS, **changed}
    slot = fields.pop("slot", 77)
    return decode_price_message(encoder.price_message(**fields), slot)


def hear(intake: Intake, **changed: int) -> None:
    intake.ingest.hear(hermes_print(**changed), Source.HERMES, NOW * SECOND)


@pytest.fixture
def compared() -> Intake:
    return Intake(GENERATION_3, second_source=True)


def in_use(intake: Intake) -> PriceUpdate | None:
    intake.state.index.feeds[0]._proven = True
    return intake.state.index.at((NOW + 2) * SECOND, 1_000).update


def test_a_second_source_that_agrees_says_nothing_and_is_not_stored(compared: Intake) -> None:
    hear(compared, price=OURS * 1_004 // 1_000)
    compared.deliver()
    assert [row.source for row in compared.rows] == [Source.SUBSCRIPTION]
    assert compared.journal.events == []
    assert compared.state.second_source.opinion is Agreement.AGREES


@pytest.mark.parametrize("first", ["the second source", "the account"])
def test_a_print_that_differs_is_used_as_wide_and_an_event_says_so_once(compared: Intake, first: str) -> None:
    if first == "the second source":
        hear(compared, price=OURS * 99 // 100)
        compared.deliver()
    else:
        compared.deliver()
        hear(compared, price=OURS * 99 // 100)
    assert [row.verdict for row in compared.rows] == [
        Verdict.ACCEPTED
    ]  # what is stored goes by the message alone
    assert compared.journal.events == [("source.disagreed", "None")]
    assert compared.rejected(Reason.WIDE) == 1
    used = in_use(compared)
    assert used is not None
    assert used.price == OURS  # never averaged
    compared.deliver(publish_time=NOW + 1, slot=1_001, at=NOW + 1)
    assert (len(compared.journal.events), compared.rejected(Reason.WIDE)) == (1, 2)


@pytest.mark.parametrize("first", ["the second source", "the account"])
def test_a_quarantined_print_is_used_once_the_second_source_agrees(compared: Intake, first: str) -> None:
    far = {"ema_price": OURS * 100 // 111}
    if first == "the second source":
        hear(compared, price=OURS, **far)
        compared.deliver(**far)
    else:
        compared.deliver(**far)
        assert in_use(compared) is None
        hear(compared, price=OURS, **far)
    used = in_use(compared)
    assert used is not None
    assert used.price == OURS
    assert ("quarantine.left", "None") in compared.journal.events


def test_a_quarantined_print_that_the_second_source_contradicts_stays_out(compared: Intake) -> None:
    compared.deliver(ema_price=OURS * 100 // 111)
    hear(compared, price=OURS * 100 // 111)
    assert in_use(compared) is None
    assert ("source.disagreed", "None") not in compared.journal.events


def test_a_second_source_of_another_time_is_no_opinion(compared: Intake) -> None:
    hear(compared, price=OURS // 2, publish_time=NOW - 11, ema_price=OURS // 2)
    compared.deliver()
    assert compared.journal.events == []


def test_a_second_source_is_judged_before_it_is_listened_to(compared: Intake) -> None:
    hear(compared, price=OURS * 99 // 100, confidence=OURS // 10)  # unsure of itself
    compared.deliver()
    assert compared.journal.events == []
    assert compared.ingest.feeds["SOL-PERP/hermes"] == "uncertain"


def test_what_is_wide_or_quarantined_is_counted(intake: Intake) -> None:
    intake.deliver(confidence=OURS * 26 // 10_000)
    intake.deliver(publish_time=NOW + 1, slot=1_001, ema_price=OURS * 100 // 111, at=NOW + 1)
    assert (intake.rejected(Reason.WIDE), intake.rejected(Reason.QUARANTINED)) == (1, 1)


def test_a_feed_on_hermes_is_stored_with_pythnets_slot_and_used() -> None:
    intake = Intake(OWN_FEED)
    hear(intake, slot=138_881_186)
    hear(intake, slot=138_881_186)
    (row,) = intake.rows
    assert (row.update.identity, row.source, row.verdict) == (
        (NOW, 138_881_186),
        Source.HERMES,
        Verdict.ACCEPTED,
    )
    assert in_use(intake) is not None
    assert (intake.ingest.duplicates, intake.ingest.pubkeys) == (1, ())


def test_a_feed_on_hermes_refuses_with_the_same_reasons() -> None:
    intake = Intake(OWN_FEED)
    hear(intake, price=0)
    hear(intake, publish_time=NOW + 60)
    assert intake.rows == []
    assert intake.ingest.rejected == {Reason.PRICE_NOT_POSITIVE: 1, Reason.FUTURE: 1}


def test_another_feed_of_hermes_is_nobodys() -> None:
    intake = Intake(OWN_FEED)
    intake.ingest.hear(hermes_print()._replace(feed_id=bytes(32)), Source.HERMES, NOW * SECOND)
    assert intake.rows == []
