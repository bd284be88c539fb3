"""Carries a schedule of faults out: the passage of a node that does not mean well.

    Schedule ─► Roster ─► begin / end ─► acting faults
                                              │
       requests ─► call, answer, reply ◄──────┼─────► DrilledPlan ─► pushes
      notifications ─► notify ─► Outbox ◄─────┘

A message passes the faults in this order: drop, garbage, duplicate, unknown, behind, stall, reorder, delay.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.localnet.faults import chain, garbage, refusals
from quantdesk_oracle.localnet.faults.calls import Calls, Limit
from quantdesk_oracle.localnet.faults.journal import Journal, journal_path
from quantdesk_oracle.localnet.faults.kinds import ACCOUNTS, SLOTS, Kind
from quantdesk_oracle.localnet.faults.later import Later
from quantdesk_oracle.localnet.faults.outbox import Outbox, delay_of
from quantdesk_oracle.localnet.faults.past import RecentStates
from quantdesk_oracle.localnet.faults.plan import DrilledPlan
from quantdesk_oracle.localnet.faults.roster import Roster
from quantdesk_oracle.localnet.faults.schedule import Fault, Schedule
from quantdesk_oracle.localnet.passage import NoAnswerError, Passage
from quantdesk_oracle.localnet.subscriptions import AccountParameters
from quantdesk_oracle.model import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quantdesk_oracle.localnet.faults.armed import Armed
    from quantdesk_oracle.localnet.faults.outbox import Hits
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
        self._limits: dict[Armed, Limit] = {}
        self._clients: dict[Client, None] = {}
        """In the order in which they came."""
        self._half_open: dict[Subscriber, Armed] = {}
        """Clients whose connection only they believe in, and the fault that did it."""
        self.calls = Calls()

    # ── life ─────────────────────────────────────────────────────────────────────────────────────
    def attach(self, local: InProcessNode) -> None:
        """Belong to ``local``. Raises DataError where the schedule names a feed that it does not serve."""
        self.local = local
        self.node = local.node
        self.seed = local.settings.seed if self._schedule.seed is None else self._schedule.seed
        self._clock = local.node.clock
        self._started = self._clock.now()
        self._later = Later(self._clock)
        self._outbox = Outbox(self._clock, self._later, local.settings.slot_us)
        self._roster = Roster(self.node, self._later, self.seed, self._begun, self._ended)
        if not local.settings.load:
            # Of a load's prints the past would fill the memory: a node under load lags in its notifications alone.
            self.node.view.past = RecentStates()
        local.simulation.plan = DrilledPlan(self)
        self._roster.check(self._schedule.faults)

    async def start(self) -> None:
        """Let the schedule begin: its seconds count from here."""
        if self.local.settings.ledger is not None:
            self._roster.journal = Journal(journal_path(self.local.settings.ledger))
        self._started = self._clock.now()
        self.add(self._schedule.faults)
        self._later.do_due()
        self._later.start()

    async def stop(self) -> None:
        """End every fault; whatever they hold is let go."""
        self.end()
        await self._later.stop()
        self.journal.close()

    # ── faults ───────────────────────────────────────────────────────────────────────────────────
    @property
    def journal(self) -> Journal:
        """What has happened."""
        return self._roster.journal

    @property
    def seconds(self) -> float:
        """Since the node's start."""
        return (self._clock.now() - self._started) / SECOND

    @property
    def armed(self) -> Sequence[Armed]:
        """All faults that there ever were, by number."""
        return self._roster.armed

    def acting(self, kind: Kind) -> Sequence[Armed]:
        """The faults of ``kind`` that act now."""
        return self._roster.acting(kind)

    def add(self, faults: Sequence[Fault]) -> list[int]:
        """Arm ``faults``, whose times count from now; their numbers. Raises DataError for an unknown feed."""
        self._roster.check(faults)
        return [self._roster.add(fault) for fault in faults]

    def end(self, number: int | None = None) -> bool:
        """End one fault for good, or all of them. False where there is none of that number."""
        found = [armed for armed in self.armed if number is None or armed.number == number]
        for armed in found:
            self._roster.end(armed)
        return bool(found)

    def _begun(self, armed: Armed) -> None:
        """What happens at once when a fault begins."""
        match armed.fault.kind:
            case Kind.HALF_OPEN:
                self._forsake(armed)
            case Kind.CLOSE:
                self._close_some(armed)
            case Kind.RESTART:
                self.node.subscriptions.reset()
                self._drop(list(self._clients))
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

    def _ended(self, armed: Armed) -> None:
        """What happens at once when a fault ends."""
        match armed.fault.kind:
            case Kind.HALF_OPEN:
                self._drop([one for one in self._clients if self._half_open.get(one) is armed])
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

    def _forsake(self, armed: Armed) -> None:
        for client in self._clients:
            if client not in self._half_open and armed.strikes():
                self._half_open[client] = armed
                client.freeze()

    def _close_some(self, armed: Armed) -> None:
        code = armed.fault.settings["code"]
        hit = [one for one in self._clients if armed.strikes()]
        if code == _ABNORMAL:
            self._drop(hit)
            return
        for client in hit:
            client.close(code)

    def _drop(self, clients: Iterable[Client]) -> None:
        for client in clients:
            client.drop()

    def _thaw(self) -> None:
        if self._silent():
            return
        for client in self._clients:
            if client not in self._half_open:
                client.thaw()

    def _silent(self) -> bool:
        """Whether a stall keeps the node from reading at all."""
        return any(not armed.aimed for armed in self.acting(Kind.STALL))

    def _look(self) -> None:
        """Show the chain as all faults together want it."""
        view = self.node.view
        view.slot_shift = sum(one.fault.settings["by"] for one in self.acting(Kind.SLOT_SHIFT))
        view.lag = sum(one.fault.settings["slots"] for one in self.acting(Kind.BEHIND))
        kept = [one.fault.settings["keep"] for one in self.acting(Kind.PRUNE)]
        view.history_slots = round(min(kept) * SECOND) // self.node.settings.slot_us if kept else None

    # ── the way in ───────────────────────────────────────────────────────────────────────────────
    def connecting(self) -> None:
        self._answer_at_all()
        for armed in self.acting(Kind.REFUSE):
            if armed.strikes():
                settings = armed.fault.settings
                raise refusals.refuse(settings["status"], settings["retry_after"])

    def connected(self, client: Client) -> None:
        self._clients[client] = None
        if self._silent():
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
        for kind, refusal in refusals.KINDS.items():
            for armed in self._hits(kind, [request]):
                raise refusal(armed.fault.settings)
        result = handler(request.method, request.params)
        for armed in self.acting(Kind.NULL_ACCOUNTS):
            refusals.empty_accounts(armed, request, result)
        return result

    def _answer_at_all(self) -> None:
        for armed in self.acting(Kind.RESTART):
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
            await self._clock.sleep(delay_of(armed) / SECOND)
        return answer

    def reply(self, client: Client, requests: Sequence[Request], message: bytes) -> None:
        if self._hits(Kind.DROP, requests):
            return
        for armed in self._hits(Kind.GARBAGE, requests):
            message = garbage.mangle(message, armed.random)
        # A node that lags answers at once, and from the past.
        self._send(client, message, lambda kind: [] if kind is Kind.BEHIND else self._hits(kind, requests))

    def notify(self, subscriber: Subscriber, message: bytes, topic: Topic) -> None:
        pubkeys = (topic.pubkey,) if isinstance(topic, AccountParameters) else ()
        method = ACCOUNTS if pubkeys else SLOTS

        def hits(kind: Kind) -> list[Armed]:
            return [armed for armed in self.acting(kind) if armed.strikes(method, pubkeys)]

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
            self._send(subscriber, one, hits)

    def _send(self, subscriber: Subscriber, message: bytes, hits: Hits) -> None:
        deliver = partial(self._deliver, subscriber, message)
        self._outbox.send(deliver, partial(self._overflow, subscriber), hits)

    def _deliver(self, subscriber: Subscriber, message: bytes) -> None:
        if subscriber not in self._half_open:
            subscriber.deliver(message)

    def _overflow(self, subscriber: Subscriber) -> None:
        """More is held back than is kept: the client is dropped, as a node drops one that lags."""
        self._drop([one for one in self._clients if one is subscriber])

    def _hits(self, kind: Kind, requests: Sequence[Request]) -> list[Armed]:
        """The faults of ``kind`` that hit an answer to ``requests``."""
        return [
            armed
            for armed in self.acting(kind)
            if any(armed.strikes(request.method, request.keys()) for request in requests)
        ]
