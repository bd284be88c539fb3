"""``quantdesk-oracle decode``: what is in account dumps, and whether it could be stored."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantdesk_oracle.errors import EX_DATA, DataError, DecodeError
from quantdesk_oracle.model import PriceUpdate, Reason, Verdict

if TYPE_CHECKING:
    from quantdesk_oracle.pricing.acceptance import Judgement
    from quantdesk_oracle.pyth.accounts import Account
    from quantdesk_oracle.pyth.describe import Description
    from quantdesk_oracle.pyth.dumps import AccountDump

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Record:
    """One account of one file."""

    file: str
    account: Description
    usable: bool
    reason: Reason | None
    message: str | None = None
    """What is wrong with an account that does not decode: offset, value and what was expected."""

    def as_json(self) -> dict[str, Any]:
        """The keys in the order that ``--json`` documents; ``message`` only where there is one."""
        record = {"file": self.file, **asdict(self.account), "usable": self.usable, "reason": self.reason}
        return record if self.message is None else {**record, "message": self.message}


def decode(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Account dumps; - reads one from standard input.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON list, an object per account, on standard output.")
    ] = False,
) -> None:
    """Decode dumps of Pyth accounts: PriceUpdateV2, and legacy price, product and mapping.

    A dump is what the Solana command line writes, one account or a list of them:

        solana account 7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE
            --output json --output-file sol.json

        quantdesk-oracle decode sol.json

        quantdesk-oracle decode --json *.json | jq '.[] | [.symbol, .price]'

    Prices are exact. "usable" says whether the account, in its own time, held
    a price that the daemon would use: a program of Pyth's owns it, it is fully
    verified (or trading), and its confidence and its distance to its own EMA
    are within the limits. "reason" is the code of what speaks against it, the
    same that metrics, events and status use.

    Exit code 0: everything decoded. 65: an account or a file did not; the
    others are printed all the same, the problem stands in its own object and
    on standard error.
    """
    records = [record for file in files for record in examine(file)]
    if as_json:
        typer.echo(json.dumps([record.as_json() for record in records], indent=2))
    else:
        typer.echo("\n\n".join(_text(record) for record in records))
    problems = [record for record in records if record.message is not None]
    for record in problems:
        name = ": ".join(filter(None, (record.file, record.account.pubkey)))
        typer.echo(_printable(f"{name}: {record.message}"), err=True)
    if problems:
        raise typer.Exit(EX_DATA)


def examine(file: Path) -> Iterator[Record]:
    """Every account of one file; an unreadable file is one record that says so."""
    from quantdesk_oracle.pyth.dumps import split_dumps

    try:
        entries = split_dumps(_read(file))
    except DataError as error:
        yield _undecodable(str(file), None, None, error)
        return
    for entry in entries:
        yield _examine_entry(str(file), entry)


def _read(file: Path) -> str:
    try:
        raw = sys.stdin.buffer.read() if str(file) == STDIN else file.read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"not text: byte {error.start} is 0x{error.object[error.start]:02x}") from None


def _examine_entry(file: str, entry: object) -> Record:
    from quantdesk_oracle.pyth.accounts import decode_account
    from quantdesk_oracle.pyth.describe import describe
    from quantdesk_oracle.pyth.dumps import parse_dump

    try:
        dump = parse_dump(entry)
    except DataError as error:
        return _undecodable(file, None, None, error)
    try:
        account = decode_account(dump.data)
    except DecodeError as error:
        return _undecodable(file, dump.pubkey, dump.owner, error)
    description = describe(dump, account)
    judgement = _judge(dump, account, description.symbol)
    return Record(file, description, judgement.usable, judgement.reason)


def _undecodable(file: str, pubkey: str | None, owner: str | None, error: DataError) -> Record:
    from quantdesk_oracle.pyth.describe import describe_undecodable

    reason = error.reason if isinstance(error, DecodeError) else Reason.BAD_DUMP
    return Record(file, describe_undecodable(pubkey, owner), usable=False, reason=reason, message=str(error))


def _judge(dump: AccountDump, account: Account, symbol: str | None) -> Judgement:
    """What storage would decide, the clock aside: first whose account it is, then what it says."""
    from quantdesk_oracle.pricing.acceptance import Judgement, default_limits, judge
    from quantdesk_oracle.pyth.accounts import LegacyPrice
    from quantdesk_oracle.pyth.addresses import may_write

    update = account.update if isinstance(account, LegacyPrice) else account
    if not isinstance(update, PriceUpdate):
        return Judgement(Verdict.REJECTED, Reason.NOT_A_PRICE)
    if not may_write(dump.owner, legacy=update.legacy):
        return Judgement(Verdict.REJECTED, Reason.WRONG_OWNER)
    return judge(update, default_limits(symbol), now=None)


def _text(record: Record) -> str:
    """One account as a block of aligned lines, without what it does not have."""
    account = record.account
    lines = {
        "account": account.pubkey,
        "owner": _noted(account.owner, account.generation),
        "kind": account.kind,
        "feed": _noted(account.symbol, account.feed_id) or account.feed_id,
        "price": _with_confidence(account.price, account.confidence),
        "ema": _with_confidence(account.ema_price, account.ema_confidence),
        "raw": None if account.price_raw is None else _raw(account),
        "published": _noted(account.publish_time_iso, account.publish_time) or account.publish_time,
        "slot": account.slot,
        "status": account.status,
        "verification": account.verification,
        "usable": _noted("yes" if record.usable else "no", record.reason),
        "problem": record.message,
    }
    body = [f"  {name:<14}{_printable(str(value))}" for name, value in lines.items() if value is not None]
    return "\n".join([_printable(record.file), *body])


def _raw(account: Description) -> str:
    return f"{account.price_raw} ± {account.confidence_raw}, exponent {account.exponent}"


def _with_confidence(price: str | None, confidence: str | None) -> str | None:
    return None if price is None else f"{price} ± {confidence}"


def _noted(value: str | None, note: object) -> str | None:
    return value if value is None or note is None else f"{value}  ({note})"


def _printable(text: str) -> str:
    """``text`` without what would move a terminal's cursor: an account may hold any bytes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
