"""``quantdesk-oracle funding``: the running estimate, rates by hand, recomputation, other methods."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantdesk_oracle.cli.audits import tell_audit
from quantdesk_oracle.cli.instants import From, To, iso, parse_instant, parse_span
from quantdesk_oracle.cli.of_market import (
    Actor,
    Symbol,
    Why,
    actor_or_me,
    market_row,
)
from quantdesk_oracle.cli.options import AsJson, ConfigFile, EnvFile, StateDir
from quantdesk_oracle.cli.reading import as_json_value, exact, reading

if TYPE_CHECKING:
    from quantdesk_oracle.pricing.funding import FundingParameters
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.markets import MarketRow

app = typer.Typer(
    no_args_is_help=True,
    help="Funding rates: fractions per interval, positive where longs pay shorts (0.0001 = 1 basis point).\n\n"
    "Exit codes: 0 done, exact; 1 something differs, or a rate stands already; 2 wrong usage; 66 inputs expired; "
    "69 the database does not answer; 78 the settings cannot be used.",
)
HISTORY = 8


class Kind(StrEnum):
    """Who set a rate by hand, as an option."""

    manual = "manual"
    emergency = "emergency"


@app.command()
def show(
    market: Symbol,
    as_json: AsJson = False,
    config: ConfigFile = None,
    env_file: EnvFile = None,
    state_dir: StateDir = None,
) -> None:
    """Show the running interval's estimate with its components, the countdown, and the newest rates."""

    async def answer() -> dict[str, Any]:
        async with reading(config, env_file, state_dir) as database:
            return await _shown(database, await market_row(database, market))

    found = asyncio.run(answer())
    if as_json:
        typer.echo(json.dumps(found, default=as_json_value))
        return
    running = found["running"]
    typer.echo(f"{market}  method {found['method']}, parameters version {found['version']}")
    typer.echo(
        f"  running interval ends {running['boundary']} in {running['seconds_left']} s; estimate {running['estimate']}"
    )
    typer.echo(
        f"  average premium {running['premium']} of {running['used']} samples so far "
        f"({running['unusable']} without an oracle, {running['expected']} expected)"
    )
    for row in found["history"]:
        reason = f"  ({row['reason']})" if row["reason"] else ""
        typer.echo(f"  {row['boundary']}  {row['rate']:>16}  {row['status']}{reason}")


@app.command("set")
def set_command(
    market: Symbol,
    rate: Annotated[str, typer.Option("--rate", help="A fraction per interval, such as 0.0001 or -0.00005.")],
    reason: Why,
    kind: Annotated[Kind, typer.Option("--type", help="manual or emergency.")] = Kind.manual,
    interval: Annotated[
        str | None,
        typer.Option(
            "--interval", help="The interval's end (its boundary), ISO 8601; by default the running one's."
        ),
    ] = None,
    override_cap: Annotated[
        bool, typer.Option("--override-cap", help="Beyond the market's max_funding_rate too.")
    ] = False,
    actor: Actor = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    env_file: EnvFile = None,
    state_dir: StateDir = None,
) -> None:
    """Set a rate by hand. One that stands is never overwritten, and no daemon overwrites this one."""
    from quantdesk_oracle.store.operators import RateByHand, set_rate

    value = _rate(rate)

    async def answer() -> int:
        async with reading(config, env_file, state_dir) as database:
            row = await market_row(database, market)
            parameters, now = await _in_force(database, row)
            boundary = _boundary(interval, parameters, now)
            if abs(value) > parameters.max_rate and not override_cap:
                raise typer.BadParameter(
                    f"{rate} is beyond the market's cap of {exact(parameters.max_rate)}: "
                    "--override-cap sets it all the same",
                    param_hint="--rate",
                )
            by_hand = RateByHand(boundary, value, kind.value, actor_or_me(actor), reason, parameters.interval)
            await set_rate(database, row.id, market, by_hand)
            return boundary

    boundary = iso(asyncio.run(answer()))
    if as_json:
        typer.echo(json.dumps({"market": market, "boundary": boundary, "rate": exact(value)}))
    else:
        typer.echo(f"{market}: {exact(value)} for the interval that ends at {boundary} ({kind.value})")


@app.command()
def audit(
    market: Symbol,
    start: From = "24h",
    end: To = "now",
    as_json: AsJson = False,
    config: ConfigFile = None,
    env_file: EnvFile = None,
    state_dir: StateDir = None,
) -> None:
    """Recompute every rate of a span from the stored samples; the first difference is explained."""
    from quantdesk_oracle.store.audit import audit_funding

    where = config, env_file, state_dir
    tell_audit("rates", audit_funding, market, parse_span(start, end), where, as_json=as_json)


@app.command()
def simulate(
    market: Symbol,
    method: Annotated[
        str, typer.Option("--method", help="quantdesk, hyperliquid, binance, bitmex, dydx_v4, drift.")
    ],
    start: From = "24h",
    end: To = "now",
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", help="One that differs from the method's default, such as interest=0.0002."
        ),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    env_file: EnvFile = None,
    state_dir: StateDir = None,
) -> None:
    """Show what another method or other parameters would have paid, beside what was paid."""
    span = parse_span(start, end)

    async def answer() -> list[dict[str, Any]]:
        async with reading(config, env_file, state_dir) as database:
            row = await market_row(database, market)
            return await _simulated(database, row, _parameters(row, method, parameter or []), span)

    rows = asyncio.run(answer())
    if as_json:
        typer.echo(json.dumps(rows, default=as_json_value))
        return
    typer.echo(f"{'boundary':<22}{'paid':>18}{method:>18}")
    for row in rows:
        typer.echo(f"{row['boundary']:<22}{exact(row['paid']):>18}{exact(row['simulated']):>18}")
    totals = [exact(sum((row[name] for row in rows), Decimal(0))) for name in ("paid", "simulated")]
    typer.echo(f"{'together':<22}{totals[0]:>18}{totals[1]:>18}")


async def _in_force(database: Database, market: MarketRow) -> tuple[FundingParameters, int]:
    """The parameters in force at the database's clock (µs), and that."""
    from quantdesk_oracle.store.markets import read_parameters
    from quantdesk_oracle.store.series import database_clock

    now = await database_clock(database)
    async with database.connection("cannot read the funding parameters") as connection:
        versions = await read_parameters(connection, market.id)
    if not versions:
        raise typer.BadParameter(f"{market.symbol} has no parameters yet: no daemon has run with it")
    in_force = [version.parameters for version in versions if version.in_force_from <= now]
    return (in_force or [versions[0].parameters])[-1], now


async def _shown(database: Database, market: MarketRow) -> dict[str, Any]:
    from quantdesk_oracle.model import SECOND
    from quantdesk_oracle.store.settlement import estimate, newest_rates

    parameters, now = await _in_force(database, market)
    running = await estimate(database, market.id, parameters, now, market.funding_rate)
    average = running.average
    return {
        "market": market.symbol,
        "method": parameters.method,
        "version": parameters.version,
        "running": {
            "boundary": iso(running.boundary),
            "seconds_left": (running.boundary - now) // SECOND,
            "estimate": None if running.rate is None else exact(running.rate),
            "premium": None if average.premium is None else exact(average.premium),
            "used": average.used,
            "unusable": average.unusable,
            "expected": average.expected,
        },
        "history": [
            {
                "boundary": f"{row['created_at']:%Y-%m-%dT%H:%M:%SZ}",
                "rate": exact(row["funding_rate"]),
                "status": row["status"],
                "type": row["kind"],
                "reason": row["reason"],
            }
            for row in await newest_rates(database, market.id, HISTORY)
        ],
    }


async def _simulated(
    database: Database, market: MarketRow, wished: FundingParameters, span: tuple[int, int]
) -> list[dict[str, Any]]:
    from dataclasses import replace

    from quantdesk_oracle.pricing import methods
    from quantdesk_oracle.store.audit import read_interval, read_rates

    method, previous, table = methods.of(wished.method), Decimal(0), []
    for row in await read_rates(database, market.id, *span):
        rate, parameters = row.rate, replace(wished, interval=row.parameters.interval)
        samples = [each.sample for each in await read_interval(database, market.id, row)]
        average = method.average(samples, parameters)
        skipped = rate.status == "skipped" or average.premium is None
        simulated = (
            Decimal(0) if skipped else method.rate(average.premium or Decimal(0), parameters, previous)
        )
        previous = simulated
        table.append({"boundary": iso(rate.boundary), "paid": rate.funding_rate, "simulated": simulated})
    return table


def _parameters(market: MarketRow, method: str, given: list[str]) -> FundingParameters:
    from dataclasses import replace

    from quantdesk_oracle.pricing.funding import TUNABLE
    from quantdesk_oracle.pricing.methods import METHODS

    if method not in METHODS:
        raise typer.BadParameter(f"{method!r} is none of {', '.join(METHODS)}", param_hint="--method")
    tuned: dict[str, Any] = {}
    for each in given:
        name, _, value = each.partition("=")
        if name not in TUNABLE:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(TUNABLE)}", param_hint="--parameter")
        tuned[name] = _rate(value)
    wished = METHODS[method].defaults(market.funding_interval, market.max_funding_rate / 10_000)
    wished = replace(
        wished, initial_margin=market.initial_margin, maintenance_margin=market.maintenance_margin
    )
    return replace(wished, **tuned)


def _rate(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value) > 10**9:
        raise typer.BadParameter(f"{text!r} is no number")
    return value.quantize(Decimal("1e-12"))


def _boundary(text: str | None, parameters: FundingParameters, now: int) -> int:
    from quantdesk_oracle.model import SECOND
    from quantdesk_oracle.pricing.funding import next_boundary

    if text is None:
        return next_boundary(now, parameters.interval)
    boundary = parse_instant(text, now)
    if boundary % (parameters.interval * SECOND):
        raise typer.BadParameter(
            f"{text} is no boundary of an interval of {parameters.interval} s", param_hint="--interval"
        )
    return boundary
