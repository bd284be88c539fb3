"""The three accounts of QuantDesk's env file, as it is in use: what is wrong with each, and what to write instead."""

from __future__ import annotations

import pytest

from quantdesk_oracle.config.accounts import account_problems
from tests.unit.config.conftest import Load

TODAY = """
SOLANA_NETWORK={network}
BTC_ORACLE_ACCOUNT=HovQMDrbAgAYPCmHVSrezcSmkMtXSSUsLDFANExrZh2J
ETH_ORACLE_ACCOUNT=JBu1AL4obBcCMqKBBxhpWCNUt136ijcuMZLFvTP7iWdB
SOL_ORACLE_ACCOUNT=H6ARHf6YXhGYeQfUzQNGk6rDNnLBQKrenN712K4AQJEG
"""
CURRENT = {
    "BTC": "APgzQGGdv2qCgBkX6aHVkrGePtBVDDg68GiqaM7rmtf5",
    "ETH": "7odryi4WfoMFHtv2eubdMgP1pqQMmdiXSK1N2tqZ2nRH",
    "SOL": "7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE",
}


def test_each_of_todays_accounts_is_told_with_generation_last_print_and_replacement(load: Load) -> None:
    found = account_problems(load(env_file=TODAY.format(network="mainnet-beta")))
    assert [problem.key for problem in found] == [f"{asset}_ORACLE_ACCOUNT" for asset in CURRENT]
    for problem, (asset, account) in zip(found, CURRENT.items(), strict=True):
        assert problem.replacement == account
        assert f"a legacy account of {asset}/USD" in problem.problem
        assert "frozen in August 2024" in problem.problem
        assert f"Set {asset}_ORACLE_ACCOUNT={account}" in problem.cure


@pytest.mark.parametrize(
    ("network", "elsewhere"),
    [("mainnet-beta", {"BTC"}), ("devnet", {"ETH", "SOL"}), ("testnet", {"BTC", "ETH", "SOL"})],
)
def test_an_account_of_another_cluster_is_told_so(load: Load, network: str, elsewhere: set[str]) -> None:
    found = account_problems(load(env_file=TODAY.format(network=network)))
    told = {
        problem.market.split("-")[0]
        for problem in found
        if f"while the network is {network}" in problem.problem
    }
    assert told == elsewhere


def test_the_replacement_of_a_mainnet_key_is_derived_from_the_key_itself(load: Load) -> None:
    toml = """
    [[markets]]
    symbol = "SOL-PERP"
    base_asset = "SOL"
    accounts = ["H6ARHf6YXhGYeQfUzQNGk6rDNnLBQKrenN712K4AQJEG"]
    """
    (problem,) = account_problems(load(toml))
    assert problem.key == "markets.SOL-PERP.accounts"
    assert problem.replacement == CURRENT["SOL"]


def test_a_devnet_key_says_nothing_of_the_feed_and_the_market_does(load: Load) -> None:
    (problem, *_) = account_problems(load(env_file=TODAY.format(network="devnet")))
    assert "derived from the market's feed id; a legacy devnet key says nothing of it" in problem.cure


def test_a_devnet_key_of_a_market_without_feed_id_has_no_replacement(load: Load) -> None:
    toml = """
    [[markets]]
    symbol = "BTC-PERP"
    base_asset = "BTC"
    accounts = ["HovQMDrbAgAYPCmHVSrezcSmkMtXSSUsLDFANExrZh2J"]
    """
    (problem,) = account_problems(load(toml))
    assert problem.replacement is None
    assert "Give the market a feed_id" in problem.cure


def test_an_account_of_another_asset_is_told_so(load: Load) -> None:
    (problem,) = account_problems(load(BTC_ORACLE_ACCOUNT="H6ARHf6YXhGYeQfUzQNGk6rDNnLBQKrenN712K4AQJEG"))
    assert "it is not for BTC" in problem.problem
    assert problem.replacement == CURRENT["BTC"]


def test_the_default_accounts_have_no_problem(load: Load) -> None:
    assert account_problems(load()) == ()
