"""What a transaction says of the prints that it wrote, and what it leaves open."""

from __future__ import annotations

import pytest

from quantdesk_oracle.config import Feed
from quantdesk_oracle.errors import NodeProtocolError
from quantdesk_oracle.localnet import DEFAULT_FEEDS
from quantdesk_oracle.model import Generation
from quantdesk_oracle.pyth.addresses import PUSH_PROGRAMS
from quantdesk_oracle.sources.chain_history import prints_of
from quantdesk_oracle.sources.wire import Instruction, Message, Meta, Transaction, TransactionBody

SOL = DEFAULT_FEEDS[2]
FEED = Feed(SOL.market, SOL.address, Generation.CORE_UPGRADED, SOL.feed_id)
PUSH = PUSH_PROGRAMS[Generation.CORE_UPGRADED]
ANOTHER = "ComputeBudget111111111111111111111111111111"


def transaction(program: str, meta: Meta | None) -> Transaction:
    message = Message([SOL.address, program], [Instruction(1, [0], "")])
    return Transaction(7, TransactionBody(message), meta)


@pytest.mark.parametrize("meta", [None, Meta(inner=None)])
def test_a_push_without_the_record_of_its_calls_is_not_taken_for_one_that_wrote_nothing(
    meta: Meta | None,
) -> None:
    with pytest.raises(NodeProtocolError, match="slot 7"):
        prints_of(transaction(PUSH, meta), FEED)


@pytest.mark.parametrize(
    ("program", "meta"),
    [(PUSH, Meta(inner=[])), (PUSH, Meta(err={"InstructionError": [0, "x"]})), (ANOTHER, Meta(inner=None))],
)
def test_what_failed_or_called_nobody_wrote_nothing(program: str, meta: Meta) -> None:
    assert prints_of(transaction(program, meta), FEED) == []
