"""A local Solana node that serves Pyth accounts: for the first run, for tests, for drills. Its market is simulated."""

from quantdesk_oracle.localnet.inprocess import InProcessNode
from quantdesk_oracle.localnet.load import load_feeds
from quantdesk_oracle.localnet.localnode import LocalNode
from quantdesk_oracle.localnet.settings import DEFAULT_FEEDS, Feed, LocalnetSettings

__all__ = ["DEFAULT_FEEDS", "Feed", "InProcessNode", "LocalNode", "LocalnetSettings", "load_feeds"]
