"""Account bytes to values: ours, every check included, against the decoders that can be had."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import samples
from bench.measure import Case, Contender, Round, compared, interleaved, per_call
from bench.peers import borsh
from bench.peers.environments import PYTHCLIENT, python_with
from bench.plan import Plan
from quantdesk_oracle.pyth import accounts, messages
from quantdesk_oracle.pyth.idl import account_coder
from tests.vectors.references import LEGACY_PRICE

NAME = "decode"
_PYTHCLIENT_CALLS = 200


def run(plan: Plan) -> list[Case]:
    """All kinds of accounts, and the message inside an instruction."""
    return [*_price_update_v2(plan), *_legacy(plan), _message(plan)]


def _price_update_v2(plan: Plan) -> Iterator[Case]:
    coder = account_coder()
    for title, data in (("PriceUpdateV2, full", samples.FULL), ("PriceUpdateV2, partial", samples.PARTIAL)):
        works = {
            "quantdesk-oracle": _of(accounts.decode_price, data),
            "anchorpy": _of(coder.decode, data),
            "borsh-construct, unchecked": _of(borsh.decode_price_update_v2, data),
        }
        yield compared(NAME, title, "µs", _figures(works, plan), target=("anchorpy", 40))


def _legacy(plan: Plan) -> Iterator[Case]:
    kinds = {
        "price": ("legacy price account", accounts.decode_price, samples.legacy_price()),
        "product": ("legacy product account", accounts.decode_legacy_product, samples.legacy_product()),
        "mapping": (
            "legacy mapping account, 640 products",
            accounts.decode_legacy_mapping,
            samples.legacy_mapping(),
        ),
    }
    for kind, (title, decode, data) in kinds.items():
        with _pythclient(kind, data) as peer:
            rounds = {"quantdesk-oracle": per_call(_of(decode, data), plan.seconds)}
            if peer is not None:
                rounds["pythclient"] = peer
            if kind == "price":
                rounds["construct, unchecked"] = per_call(_of(LEGACY_PRICE.parse, data), plan.seconds)
            contenders = [Contender(name, round_) for name, round_ in rounds.items()]
            target = ("pythclient", 100) if kind == "price" else None
            yield compared(NAME, title, "µs", interleaved(contenders, plan.rounds), target=target)


def _message(plan: Plan) -> Case:
    works = {
        "quantdesk-oracle": lambda: messages.decode_price_message(samples.MESSAGE, 447_956_893),
        "construct, unchecked": _of(borsh.PRICE_MESSAGE.parse, samples.MESSAGE),
    }
    return compared(NAME, "price message", "µs", _figures(works, plan))


def _figures(works: dict[str, Callable[[], object]], plan: Plan) -> dict[str, list[float]]:
    contenders = [Contender(name, per_call(work, plan.seconds)) for name, work in works.items()]
    return interleaved(contenders, plan.rounds)


def _of(decode: Callable[[bytes], object], data: bytes) -> Callable[[], object]:
    return lambda: decode(data)


@contextmanager
def _pythclient(kind: str, data: bytes) -> Iterator[Round | None]:
    """A round of pythclient in a process of its own; None where it does not install."""
    python = python_with(PYTHCLIENT)
    if python is None:
        yield None
        return
    script = Path(__file__).parent / "peers" / "pythclient_decode.py"
    process = subprocess.Popen(
        [python, script, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def say(line: str) -> None:
        print(line, file=process.stdin, flush=True)

    def measured() -> float:
        say(str(_PYTHCLIENT_CALLS))
        return float(process.stdout.readline())  # type: ignore[union-attr]

    say(base64.b64encode(data).decode())
    try:
        yield measured
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()
