"""From a delivery of account bytes to a row and to the print in use. No waiting, no I/O: all in one call."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import structlog

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.errors import DecodeError
from quantdesk_oracle.model import (
    SECOND,
    Generation,
    Observation,
    PriceUpdate,
    Reason,
    Severity,
    Source,
    StoredPrint,
    Verdict,
)
from quantdesk_oracle.pricing.acceptance import judge
from quantdesk_oracle.pricing.quarantine import Agreement, Quarantine, Way
from quantdesk_oracle.pyth.accounts import decode_price
from quantdesk_oracle.pyth.addresses import (
    LEGACY_PROGRAMS,
    feed_id_of_legacy_mainnet,
    generation_of_owner,
)
from quantdesk_oracle.workers.chain_head import ChainHead

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Feed
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.pricing.use import FeedUse
    from quantdesk_oracle.store.writer import BatchWriter
    from quantdesk_oracle.workers.journal import Journal
    from quantdesk_oracle.workers.state import Markets, MarketState

log = structlog.get_logger("workers.ingest")
REMEMBERED_PRINTS = 4_096
"""Identities that a market remembers; an older one that comes again is caught by the table's key."""
FROZEN_AFTER = 86_400
"""Seconds without a print after which a legacy account is taken for one of those that were frozen in August 2024."""
_USABLE = (Verdict.ACCEPTED, Verdict.WIDE)
_MARKED = {Verdict.WIDE: Reason.WIDE, Verdict.QUARANTINED: Reason.QUARANTINED}


class Ingest:
    """The sink of all sources: every delivery is a row, a duplicate, or a counted rejection."""

    def __init__(
        self,
        markets: Markets,
        writer: BatchWriter[StoredPrint],
        journal: Journal,
        metrics: Metrics,
        *,
        clock: Clock | None = None,
        second_source: bool = False,
    ) -> None:
        """``second_source``: whether prints of accounts are compared with those that are heard of the same feed."""
        self._markets = markets
        self._clock = clock or SystemClock()
        self._head = ChainHead()
        self.updates = 0
        """Distinct valid prints received."""
        self.duplicates = 0
        """Deliveries of a print that had been received before."""
        self.rejected: Counter[Reason] = Counter()
        self._intakes: dict[str, list[_FeedIntake]] = {}
        self._listeners: dict[bytes, list[_FeedIntake | _SecondSource]] = {}
        self.compared: set[str] = set()
        """Markets whose prints are compared with a second source."""
        self._writer = writer
        self._journal = journal
        self._metrics = metrics
        self._second_source = second_source
        for state in markets:
            self.add(state)

    def add(self, state: MarketState) -> None:
        """Take in a market's deliveries."""
        seen: OrderedDict[tuple[int, int], None] = OrderedDict()
        intakes = [
            _FeedIntake(self, state, feed, use, seen, self._writer, self._journal, self._metrics)
            for feed, use in zip(state.market.feeds, state.index.feeds, strict=True)
        ]
        for intake in intakes:
            self._take_in(intake)
        if self._second_source and not state.market.on_hermes and state.market.feed_id is not None:
            second = _SecondSource(state, intakes, self._metrics)
            self._listeners.setdefault(state.market.feed_id, []).append(second)
            self.compared.add(state.symbol)

    def remove(self, symbol: str) -> None:
        """Take in no more of a market; deliveries of its accounts are passed over."""
        self._intakes = _without(self._intakes, symbol)
        self._listeners = _without(self._listeners, symbol)
        self.compared.discard(symbol)

    def _take_in(self, intake: _FeedIntake) -> None:
        feed = intake.feed
        if feed.on_chain:
            self._intakes.setdefault(feed.pubkey, []).append(intake)
        elif feed.feed_id is not None:
            self._listeners.setdefault(feed.feed_id, []).append(intake)

    @property
    def pubkeys(self) -> Sequence[str]:
        """The accounts to watch."""
        return tuple(self._intakes)

    @property
    def feed_ids(self) -> tuple[bytes, ...]:
        """The feeds to follow on Hermes: markets' own, and those that accounts' prints are compared with."""
        return tuple(self._listeners)

    @property
    def feeds(self) -> Mapping[str, str | None]:
        """Why each feed's newest delivery was rejected, by the feed's name; None where it was not."""
        of_accounts = (intake for intakes in self._intakes.values() for intake in intakes)
        heard = (one for listeners in self._listeners.values() for one in listeners)
        return {one.name: one.refused for one in (*of_accounts, *heard)}

    def observe(self, observation: Observation) -> None:
        """Take one delivery."""
        for intake in self._intakes.get(observation.pubkey, ()):
            intake.take(observation, self._markets.highest_slot)

    def hear(self, update: PriceUpdate, source: Source, received: int) -> None:
        """Take one print that ``source`` has verified: of a market's own feed there, or a second opinion."""
        if update.feed_id is not None:
            for listener in self._listeners.get(update.feed_id, ()):
                listener.hear(update, source, received)

    @property
    def highest_slot(self) -> int:
        """How far the chain is."""
        return self._markets.highest_slot

    def saw_slot(self, slot: int) -> None:
        """Take note of how far a node says that the chain is."""
        markets, head = self._markets, self._head
        markets.highest_slot = head.see(slot, self._clock.now())
        markets.slot_heard_at = head.heard_at
        markets.first_slot = markets.first_slot or head.slot


_Key = TypeVar("_Key")
_Taker = TypeVar("_Taker", bound="_FeedIntake | _SecondSource")


def _without(takers: Mapping[_Key, list[_Taker]], symbol: str) -> dict[_Key, list[_Taker]]:
    """The takers of every other market."""
    others = {key: [one for one in ones if one.market != symbol] for key, ones in takers.items()}
    return {key: ones for key, ones in others.items() if ones}


class _FeedIntake:
    """One feed's way from bytes to a row."""

    def __init__(
        self,
        ingest: Ingest,
        state: MarketState,
        feed: Feed,
        use: FeedUse,
        seen: OrderedDict[tuple[int, int], None],
        writer: BatchWriter[StoredPrint],
        journal: Journal,
        metrics: Metrics,
    ) -> None:
        self._ingest = ingest
        self.market = state.symbol
        self._state = state
        self.feed = feed
        self._use = use
        self._seen = seen
        self._writer = writer
        self._journal = journal
        self._metrics = metrics.feed(feed.name)
        self._lag = metrics.ingest_lag
        self._last: tuple[str, bytes | None] | None = None
        self._last_print: PriceUpdate | None = None
        self._quarantine = Quarantine()
        self._opinion = Agreement.SILENT
        self._unconfirmed: PriceUpdate | None = None
        """The newest print, where the second source has yet to say something of it."""
        self._may_be_missing = feed.configured_by is None and feed is not state.market.feeds[0]
        self.name = feed.name
        self.refused: str | None = None

    def take(self, observation: Observation, highest_slot: int) -> None:
        """Decode, judge, store and put to use."""
        delivered = (observation.owner, observation.data)
        if delivered == self._last:
            self._again(observation, highest_slot)
            return
        if observation.data is None and self._may_be_missing:
            # Nobody named this account: it is derived for an older generation, and is simply not there.
            log.info("account.missing", feed=self.name, account=observation.pubkey)
            self._note(Reason.ACCOUNT_MISSING)
            self._last, self._last_print = delivered, None
            return
        try:
            update = self._decode(observation)
        except DecodeError as error:
            self._reject(error.reason, str(error), observation)
            self._last, self._last_print = delivered, None
            return
        self._judge(update, observation, highest_slot)

    def hear(self, update: PriceUpdate, source: Source, received: int) -> None:
        """Judge, store and put to use what needs no decoding any more."""
        self._judge(update, Observation(self.feed.pubkey, "", None, source, received), 0)

    def _judge(self, update: PriceUpdate, observation: Observation, highest_slot: int) -> None:
        delivered = (observation.owner, observation.data)
        if update.identity in self._seen:
            self._last, self._last_print = delivered, update
            self._again(observation, highest_slot)
            return
        judgement = judge(update, self._state.market.storage, observation.received)
        if judgement.verdict is Verdict.REJECTED:
            assert judgement.reason is not None
            self._reject(
                judgement.reason, f"slot {update.slot}, published {update.publish_time}", observation
            )
            # A print of the future may become one of the present: it must not be taken for known.
            self._last = None if judgement.reason is Reason.FUTURE else delivered
            self._last_print = None
            return
        self._last, self._last_print = delivered, update
        self._store(update, judgement.verdict, observation, highest_slot)

    def _decode(self, observation: Observation) -> PriceUpdate:
        """The print, once its account is what the feed says. Raises DecodeError."""
        if observation.data is None:
            raise DecodeError(Reason.ACCOUNT_MISSING, 0, "no account", "an account at this address")
        generation = generation_of_owner(observation.owner)
        expected = self.feed.generation
        if generation is Generation.FOREIGN or (expected is not None and generation is not expected):
            wanted = f"the owner of {expected or 'one of the'} Pyth accounts"
            raise DecodeError(Reason.WRONG_OWNER, 0, observation.owner, wanted)
        update = decode_price(observation.data)
        if update.legacy is not (generation is Generation.LEGACY):
            raise DecodeError(Reason.WRONG_OWNER, 0, observation.owner, "the owner of such an account")
        self._check_feed_id(update, observation)
        return update

    def _check_feed_id(self, update: PriceUpdate, observation: Observation) -> None:
        expected, found = self.feed.feed_id, update.feed_id
        if found is None and LEGACY_PROGRAMS.get(observation.owner) == "mainnet-beta":
            found = feed_id_of_legacy_mainnet(observation.pubkey)
        if expected is not None and found is not None and found != expected:
            raise DecodeError(Reason.WRONG_FEED, 41, found.hex(), f"feed {expected.hex()}")

    def _store(
        self, update: PriceUpdate, verdict: Verdict, observation: Observation, highest_slot: int
    ) -> None:
        self._note(None)
        self._remember(update)
        self._ingest.updates += 1
        received = observation.received
        self._writer.put(StoredPrint(self.market, update, verdict, observation.source, received))
        if verdict is not Verdict.ACCEPTED:
            self._metrics.rejected[_MARKED[verdict]].inc()
        opinion = self._state.second_source.of(update)
        self._unconfirmed = update if opinion is Agreement.SILENT else None
        if verdict in _USABLE:
            self._quarantine.clear()
            self._follow_opinion(opinion)
            self._use.accept(update, received, highest_slot)
        elif self._leaves_quarantine(update, agrees=opinion is Agreement.AGREES):
            self._use.accept(update, received, highest_slot)
        if update.legacy and received - update.publish_time * SECOND > FROZEN_AFTER * SECOND:
            self._tell_frozen(update, observation)
        self._measure(update, observation)

    def _tell_frozen(self, update: PriceUpdate, observation: Observation) -> None:
        """The print is stored, for it was true in its time; nothing will come after it."""
        self._note(Reason.FROZEN)
        self._metrics.rejected[Reason.FROZEN].inc()
        log.warning(
            "feed.frozen", feed=self.name, reason=Reason.FROZEN.value, publish_time=update.publish_time,
            cure="take the feed's current account: doctor names it",
        )  # fmt: skip
        self._journal.record(
            "feed.frozen",
            Severity.WARNING,
            market=self.market,
            reason=Reason.FROZEN.value,
            feed=self.name,
            account=observation.pubkey,
            publish_time=update.publish_time,
        )

    def _leaves_quarantine(self, update: PriceUpdate, *, agrees: bool) -> bool:
        """Whether something speaks for a print that is far off its own average."""
        before = self._quarantine.released
        usable = self._quarantine.offer(update, second_source_agrees=agrees)
        way = self._quarantine.released
        if way is not None and way is not before:
            self._tell_left(update, way)
        if not usable:
            self._journal.record(
                "print.quarantined",
                Severity.WARNING,
                market=self.market,
                reason=Reason.QUARANTINED.value,
                feed=self.name,
            )
        return usable

    def _tell_left(self, update: PriceUpdate, way: Way) -> None:
        log.warning("quarantine.left", feed=self.name, way=way.value, publish_time=update.publish_time)
        self._journal.record(
            "quarantine.left", Severity.WARNING, market=self.market, feed=self.name, way=way.value
        )

    def second_source_spoke(self, received: int) -> None:
        """The second source has a new print: what it says of ours, where it was silent on it until now."""
        update = self._unconfirmed
        opinion = Agreement.SILENT if update is None else self._state.second_source.of(update)
        if update is None or opinion is Agreement.SILENT:
            return
        self._unconfirmed = None
        if opinion is Agreement.AGREES and self._quarantine.agreed(update):
            self._tell_left(update, Way.SECOND_SOURCE)
            self._use.accept(update, received, self._ingest.highest_slot)
        elif not self._quarantine.waits:
            self._follow_opinion(opinion)

    def _follow_opinion(self, opinion: Agreement) -> None:
        """A print that the second source contradicts is used as a wide one; told once until it agrees again."""
        if opinion is Agreement.DIFFERS:
            self._metrics.rejected[Reason.WIDE].inc()
            if self._opinion is not opinion:
                self._journal.record(
                    "source.disagreed", Severity.WARNING, market=self.market, feed=self.name,
                    difference=f"{self._state.second_source.difference:.6f}",
                )  # fmt: skip
        if opinion is not Agreement.SILENT:
            self._opinion = opinion

    def _again(self, observation: Observation, highest_slot: int) -> None:
        """The same state once more: from a poll, it confirms the print that is known."""
        if self._last_print is None:
            return
        self._ingest.duplicates += 1
        if observation.source is Source.POLL:
            self._use.confirm(self._last_print, observation.received, highest_slot)

    def _remember(self, update: PriceUpdate) -> None:
        self._seen[update.identity] = None
        if len(self._seen) > REMEMBERED_PRINTS:
            self._seen.popitem(last=False)

    def _reject(self, reason: Reason, detail: str, observation: Observation) -> None:
        self._ingest.rejected[reason] += 1
        self._metrics.rejected[reason].inc()
        if self.refused != reason.value:
            log.warning("print.rejected", feed=self.name, reason=reason.value, detail=detail)
        self._note(reason)
        self._journal.record(
            "print.rejected",
            Severity.WARNING,
            market=self.market,
            reason=reason.value,
            feed=self.name,
            account=observation.pubkey,
            detail=detail,
        )

    def _note(self, reason: Reason | None) -> None:
        """Why the newest delivery was refused, or is of no use; None: it was neither."""
        self.refused = None if reason is None else reason.value
        self._metrics.refused.set(reason)

    def _measure(self, update: PriceUpdate, observation: Observation) -> None:
        metrics = self._metrics
        metrics.updates[observation.source].inc()
        metrics.newest.take(update, observation.received)
        lag = observation.received / SECOND - update.publish_time
        self._lag[observation.source].observe(max(lag, 0.0))


class _SecondSource:
    """What another source says of a market's feed: compared with the market's own prints, never stored."""

    def __init__(self, state: MarketState, intakes: Sequence[_FeedIntake], metrics: Metrics) -> None:
        self.market = state.symbol
        self.name = second_source_name(state.symbol)
        self.refused: str | None = None
        self._state = state
        self._intakes = tuple(intakes)
        self._metrics = metrics.feed(self.name)
        self._lag = metrics.ingest_lag
        self._last = (0, 0)

    def hear(self, update: PriceUpdate, source: Source, received: int) -> None:
        """Take a print that is newer than the one known, and would be stored if it were the market's own."""
        judgement = judge(update, self._state.market.storage, received)
        if judgement.reason is not None and judgement.verdict is Verdict.REJECTED:
            self.refused = judgement.reason.value
            self._metrics.rejected[judgement.reason].inc()
            return
        if update.identity <= self._last:
            return
        self.refused, self._last = None, update.identity
        self._metrics.updates[source].inc()
        self._metrics.newest.take(update, received)
        self._lag[source].observe(max(received / SECOND - update.publish_time, 0.0))
        self._state.second_source.hear(update)
        for intake in self._intakes:
            intake.second_source_spoke(received)


def second_source_name(market: str) -> str:
    """How logs and metrics call a market's second source."""
    return f"{market}/{Source.HERMES.value}"
