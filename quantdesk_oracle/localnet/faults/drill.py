"""Carries a schedule of faults out: the passage of a node that does not mean well.

    schedule ─► Later ─► begin / end ─► acting faults
                                             │
       requests ─► call, answer, reply ◄─────┼─────► DrilledPlan ─► pushes
                         notifications ◄─────┘

A message passes the faults in this order: drop, garbage, duplicate, unknown, behind, stall, reorder, delay.
"""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

from quantdesk_oracle.errors import DataError
from quantdesk_oracle.localnet.faults import chain, garbage, refusals
from quantdesk_oracle.localnet.faults.armed import Armed
from quantdesk_oracle.localnet.faults.calls import Calls, Limit
from quantdesk_oracle.localnet.faults.journal import Journal, journal_path
from quantdesk_oracle.localnet.faults.kinds import ACCOUNTS, SLOTS, Kind
from quantdesk_oracle.localnet.faults.later import Later
from quantdesk_oracle.localnet.faults.past import RecentStates
from quantdesk_oracle.localnet.faults.plan import DrilledPlan
from quantdesk_oracle.localnet.faults.schedule import Fault, Schedule
from quantdesk_oracle.localnet.passage import NoAnswerError, Passage
from quantdesk_oracle.localnet.subscriptions import AccountParameters
from quantdesk_oracle.model import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from quantdesk_oracle.localnet.inprocess import InProcessNode
    from quantdesk_oracle.localnet.passage import Client, Handler, HttpAnswer, Request, Subscriber
    from quantdesk_oracle.localnet.subscriptions import Topic
    from quantdesk_oracle.localnet.wire import Json

_VIEWS: Final = (Kind.SLOT_SHIFT, Kind.BEHIND, Kind.PRUNE)
_ABNORMAL: Final = 1006


class Drill(Passage):
    """The faults of ``schedule``, and those that are added while it runs. One drill is of one node."""

    def __init__(self, schedule: Schedule | None = None) -> None:
        self._schedule = schedule or Schedule()
        self._armed: list[Armed] = []
        self._acting: dict[Kind, list[Armed]] = {kind: [] for kind in Kind}
        self._limits: dict[Armed, Limit] = {}
        self._clients: dict[Client, None] = {}
        """In the order in which they came."""
        self._half_open: dict[Subscriber, Armed] = {}
        """Clients whose connection only they believe in, and the fault that did it."""
        self.calls = Calls()
        self.journal = Journal()

    # ── life ─────────────────────────────────────────────────────────────────────────────────────
    def attach(self, local: InProcessNode) -> None:
        """Belong to ``local``. Raises DataError where the schedule names a feed that it does not serve."""
        self.local = local
        self.node = local.node
        self._clock = local.node.clock
        self._later = Later(self._clock)
        self._seed = local.settings.seed if self._schedule.seed is None else self._schedule.seed
        self._addresses = {
            name: feed.address
            for feed in local.settings.feeds
            for name in (feed.symbol, feed.market, feed.feed_id.hex(), feed.address)
        }
        self.node.view.past = RecentStates()
        local.simulation.plan = DrilledPlan(self)
        self._check(self._schedule.faults)

    async def start(self) -> None:
        """Let the schedule begin: its seconds count from here."""
        if self.local.settings.ledger is not None:
            self.journal = Journal(journal_path(self.local.settings.ledger))
        self.started = self._clock.now()
        self.add(self._schedule.faults)
        self._later.do_due()
        self._later.start()

    async def stop(self) -> None:
        """End every fault; whatever they hold is let go."""
        self.end_all()
        await self._later.stop()
        self.journal.close()

    # ── faults ───────────────────────────────────────────────────────────────────────────────────
    def add(self, faults: Sequence[Fault]) -> list[int]:
        """Arm ``faults``, whose times count from now; their numbers. Raises DataError for an unknown feed."""
        self._check(faults)
        return [self._arm(fault) for fault in faults]

    def end(self, number: int) -> bool:
        """End a fault, and let it not begin again. False where there is none of that number."""
        found = next((armed for armed in self._armed if armed.number == number), None)
        if found is None:
            return False
        found.over = True
        self._end(found)
        return True

    def end_all(self) -> None:
        """End all of them."""
        for armed in self._armed:
            armed.over = True
            self._end(armed)

    def acting(self, kind: Kind) -> Sequence[Armed]:
        """The faults of ``kind`` that act now."""
        return self._acting[kind]

    def armed(self) -> Sequence[Armed]:
        """All faults that were ever armed, by number."""
        return self._armed

    def _check(self, faults: Sequence[Fault]) -> None:
        if self.local.settings.accounts is not None:
            return
        unknown = sorted({name for fault in faults for name in fault.feeds if name not in self._addresses})
        if unknown:
            known = ", ".join(feed.symbol for feed in self.local.settings.feeds[:10])
            raise DataError(f"feeds has {', '.join(unknown)}, which this node does not serve; it has {known}")

    def _arm(self, fault: Fault) -> int:
        number = len(self._armed)
        pubkeys = frozenset(self._addresses.get(name, name) for name in fault.feeds)
        dice = Random(f"{self._seed}/{number}/{fault.kind}")  # noqa: S311 - a drill's dice
        if fault.slot is None:
            begins = self._clock.now() + round(fault.at * SECOND)
        else:
            begins = self.node.slot_instant(self.node.slot + fault.slot)
        armed = Armed(number, fault, pubkeys, dice, begins)
        self._armed.append(armed)
        self._later.at(begins, partial(self._begin, armed))
        return number

    def _begin(self, armed: Armed) -> None:
        if armed.over:
            return
        armed.acting = True
        self._acting[armed.fault.kind].append(armed)
        self.journal.note(self._clock.now(), "fault.began", fault=armed.number, kind=armed.fault.kind)
        self._take_effect(armed)
        if armed.fault.kind is Kind.CLOSE:
            self._end(armed)
        elif armed.ends is not None:
            self._later.at(armed.ends, partial(self._end, armed))

    def _end(self, armed: Armed) -> None:
        if not armed.acting:
            return
        armed.acting = False
        self._acting[armed.fault.kind].remove(armed)
        self.journal.note(
            self._clock.now(), "fault.ended", fault=armed.number, kind=armed.fault.kind, struck=armed.struck
        )
        self._lose_effect(armed)
        if armed.fault.every is None:
            armed.over = True
        elif not armed.over:
            armed.begins += round(armed.fault.every * SECOND)
            self._later.at(armed.begins, partial(self._begin, armed))

    def _take_effect(self, armed: Armed) -> None:
        """What happens at once when a fault begins."""
        match armed.fault.kind:
            case Kind.HALF_OPEN:
                for client in self._clients:
                    if client not in self._half_open and armed.strikes():
                        self._half_open[client] = armed
                        client.freeze()
            case Kind.CLOSE:
                self._close_some(armed)
            case Kind.RESTART:
                armed.struck += len(self._clients)
                self.node.subscriptions.reset()
                for client in tuple(self._clients):
                    client.drop()
            case Kind.STALL if not armed.aimed:
                for client in self._clients:
                    client.freeze()
            case Kind.LIMITS:
                settings = armed.fault.settings
                within = round(settings["within"] * SECOND)
                self._limits[armed] = Limit(settings["requests"], settings["per_method"], within)
            case Kind.FORK:
                chain.fork(self, armed)
            case kind if kind in _VIEWS:
                self._look()

    def _lose_effect(self, armed: Armed) -> None:
        """What happens at once when a fault ends."""
        match armed.fault.kind:
            case Kind.HALF_OPEN:
                for client in [one for one in self._clients if self._half_open.get(one) is armed]:
                    client.drop()
            case Kind.STALL if not armed.aimed:
                self._thaw()
            case Kind.LIMITS:
                del self._limits[armed]
            case kind if kind in _VIEWS:
                self._look()
        while armed.held:
            armed.held.popleft()()
        if armed.ended is not None:
            armed.ended.set()
            armed.ended = None

    def _close_some(self, armed: Armed) -> None:
        code = armed.fault.settings["code"]
        for client in [one for one in self._clients if armed.strikes()]:
            if code == _ABNORMAL:
                client.drop()
            else:
                client.close(code)

    def _thaw(self) -> None:
        if any(not other.aimed for other in self._acting[Kind.STALL]):
            return
        for client in self._clients:
            if client not in self._half_open:
                client.thaw()

    def _look(self) -> None:
        """Show the chain as all faults together want it."""
        view = self.node.view
        view.slot_shift = sum(one.fault.settings["by"] for one in self._acting[Kind.SLOT_SHIFT])
        view.lag = sum(one.fault.settings["slots"] for one in self._acting[Kind.BEHIND])
        kept = [one.fault.settings["keep"] for one in self._acting[Kind.PRUNE]]
        slot_us = self.local.settings.slot_us
        view.history_slots = round(min(kept) * SECOND) // slot_us if kept else None

    # ── the way in ───────────────────────────────────────────────────────────────────────────────
    def connecting(self) -> None:
        self._answer_at_all()
        for armed in self._acting[Kind.REFUSE]:
            if armed.strikes():
                settings = armed.fault.settings
                raise refusals.refuse(settings["status"], settings["retry_after"])

    def connected(self, client: Client) -> None:
        self._clients[client] = None
        if any(not armed.aimed for armed in self._acting[Kind.STALL]):
            client.freeze()

    def disconnected(self, client: Client) -> None:
        self._clients.pop(client, None)
        self._half_open.pop(client, None)

    def posted(self) -> None:
        self._answer_at_all()

    def call(self, request: Request, handler: Handler) -> Json:
        now = self._clock.now()
        self.calls.note(request.method, now)
        for armed, limit in self._limits.items():
            wait = limit.wait(request.method, now)
            if wait is not None:
                armed.struck += 1
                raise refusals.refuse(429, max(1, -(-wait // SECOND)))
        for kind, refuse in refusals.KINDS.items():
            for armed in self._hits(kind, [request]):
                raise refuse(armed.fault.settings)
        result = handler(request.method, request.params)
        for armed in self._acting[Kind.NULL_ACCOUNTS]:
            refusals.empty_accounts(armed, request, result)
        return result

    def _answer_at_all(self) -> None:
        for armed in self._acting[Kind.RESTART]:
            armed.struck += 1
            raise NoAnswerError

    # ── the way out ──────────────────────────────────────────────────────────────────────────────
    async def answer(self, requests: Sequence[Request], answer: HttpAnswer) -> HttpAnswer:
        for _ in self._hits(Kind.DROP, requests):
            raise NoAnswerError
        for armed in self._hits(Kind.GARBAGE, requests):
            answer = answer._replace(body=garbage.mangle(answer.body, armed.random))
        for armed in self._hits(Kind.STALL, requests):
            armed.ended = armed.ended or asyncio.Event()
            await armed.ended.wait()
        for armed in self._hits(Kind.DELAY, requests):
            await self._clock.sleep(_wait(armed) / SECOND)
        return answer

    def reply(self, client: Client, requests: Sequence[Request], message: bytes) -> None:
        if any(self._hits(Kind.DROP, requests)):
            return
        for armed in self._hits(Kind.GARBAGE, requests):
            message = garbage.mangle(message, armed.random)
        self._send(partial(self._deliver, client, message), client, lambda kind: self._hits(kind, requests))

    def notify(self, subscriber: Subscriber, message: bytes, topic: Topic) -> None:
        pubkeys = (topic.pubkey,) if isinstance(topic, AccountParameters) else ()
        method = ACCOUNTS if pubkeys else SLOTS

        def hits(kind: Kind) -> Iterable[Armed]:
            return [armed for armed in self._acting[kind] if armed.strikes(method, pubkeys)]

        if hits(Kind.DROP):
            return
        messages = [message]
        for armed in hits(Kind.GARBAGE):
            messages = [garbage.mangle(message, armed.random)]
        for armed in hits(Kind.DUPLICATE):
            messages *= armed.fault.settings["times"]
        for armed in hits(Kind.UNKNOWN):
            at = armed.random.randrange(len(messages) + 1)
            messages.insert(at, garbage.stranger(message, armed.random))
        for one in messages:
            self._send(partial(self._deliver, subscriber, one), subscriber, hits)

    def _send(
        self, deliver: Callable[[], None], subscriber: Subscriber, hits: Callable[[Kind], Iterable[Armed]]
    ) -> None:
        """Deliver, now or when the faults let it through."""
        for armed in self._acting[Kind.BEHIND]:
            armed.struck += 1
            self._hold(armed, deliver, subscriber)
            lag = armed.fault.settings["slots"] * self.local.settings.slot_us
            self._later.at(self._clock.now() + lag, partial(_let_go, armed, deliver))
            return
        for armed in hits(Kind.STALL):
            self._hold(armed, deliver, subscriber)
            return
        for armed in hits(Kind.REORDER):
            if not armed.held:
                within = round(armed.fault.settings["within"] * SECOND)
                self._later.at(self._clock.now() + within, partial(_let_go_shuffled, armed, deliver))
            self._hold(armed, deliver, subscriber)
            return
        for armed in hits(Kind.DELAY):
            if self._later.full:
                self._overflow(subscriber)
                return
            self._later.at(self._clock.now() + _wait(armed), deliver)
            return
        deliver()

    def _hold(self, armed: Armed, deliver: Callable[[], None], subscriber: Subscriber) -> None:
        if len(armed.held) >= _MOST_HELD or self._later.full:
            self._overflow(subscriber)
        else:
            armed.held.append(deliver)

    def _deliver(self, subscriber: Subscriber, message: bytes) -> None:
        if subscriber not in self._half_open:
            subscriber.deliver(message)

    def _overflow(self, subscriber: Subscriber) -> None:
        """More is held back than is kept: the client is dropped, as a node drops one that lags."""
        for client in [one for one in self._clients if one is subscriber]:
            client.drop()

    def _hits(self, kind: Kind, requests: Sequence[Request]) -> list[Armed]:
        """The faults of ``kind`` that hit an answer to ``requests``."""
        return [
            armed
            for armed in self._acting[kind]
            if any(armed.strikes(request.method, request.keys()) for request in requests)
        ]

    def status(self) -> dict[str, Any]:
        """What there is to know, as the control endpoint says it."""
        return {
            "slot": self.node.slot,
            "seconds": (self._clock.now() - self.started) / SECOND,
            "seed": self._seed,
            "clients": len(self._clients),
            "waiting": len(self._later),
            "faults": [
                {
                    "number": armed.number,
                    "kind": armed.fault.kind,
                    "state": "acting" if armed.acting else "over" if armed.over else "to come",
                    "begins_in": (armed.begins - self._clock.now()) / SECOND,
                    "struck": armed.struck,
                }
                for armed in self._armed
            ],
            "calls": self.calls.count()._asdict(),
            "newest": list(self.journal.newest)[-20:],
        }


_MOST_HELD: Final = 50_000
"""Messages that one fault holds back at once."""


def _wait(armed: Armed) -> int:
    """How long a delay lets this one wait, µs."""
    settings = armed.fault.settings
    seconds: float = settings["by"] + settings["jitter"] * armed.random.random()
    return round(seconds * SECOND)


def _let_go(armed: Armed, deliver: Callable[[], None]) -> None:
    """Send the oldest that is held: ``deliver``, unless the fault has ended since."""
    if armed.held and armed.held[0] is deliver:
        armed.held.popleft()()


def _let_go_shuffled(armed: Armed, first: Callable[[], None]) -> None:
    """Send what has been held since ``first`` in some other order."""
    if not armed.held or armed.held[0] is not first:
        return
    held = list(armed.held)
    armed.held.clear()
    armed.random.shuffle(held)
    for deliver in held:
        deliver()
