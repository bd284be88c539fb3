"""From the socket to a queued row: ours against the loop of the libraries' documentation, flooded, per CPU second."""

from __future__ import annotations

import sys

from bench.measure import Case, Contender, Round, compared, interleaved
from bench.plan import Plan
from bench.processes import Feeder, Talker

NAME = "receive"
_WAYS = {"quantdesk-oracle": "ours", "solana-py + anchorpy": "plain"}


def run(plan: Plan) -> list[Case]:
    """With the three feeds of a first run, and with every feed that Pyth publishes."""
    updates = max(2_000, round(200_000 * plan.seconds))
    return [_case(plan, count, updates) for count in (3, 2_000)]


def _case(plan: Plan, count: int, updates: int) -> Case:
    contenders = [Contender(name, _round(way, count, updates)) for name, way in _WAYS.items()]
    figures = interleaved(contenders, max(3, plan.rounds // 2))
    return compared(
        NAME,
        f"socket to queued row, {count} feeds",
        "updates per CPU second",
        figures,
        lower_is_better=False,
        target=("solana-py + anchorpy", 2.5),
        notes=["ours also judges every print, looks for duplicates, keeps the index and ten metrics a feed"],
    )


def _round(way: str, count: int, updates: int) -> Round:
    def measured() -> float:
        with Feeder(count) as feeder:
            command = (sys.executable, "-m", "bench.receiver", way, str(count), feeder.ws, str(updates))
            with Talker(*command) as receiver:
                receiver.hear()
                feeder.say(rate=0, seconds=60)
                answer = receiver.hear()
        return float(answer["updates"] / answer["cpu"])

    return measured
