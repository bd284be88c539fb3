"""The methods that the node answers over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quantdesk_oracle.localnet import jsonrpc, wire
from quantdesk_oracle.localnet.rendering import error_of, render_transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantdesk_oracle.localnet.jsonrpc import Config, Parameters
    from quantdesk_oracle.localnet.node import Node
    from quantdesk_oracle.localnet.transactions import Pusher

FEATURE_SET: Final = 3_345_198_602
"""Of the release that API_VERSION names."""
MOST_ACCOUNTS: Final = 100
MOST_SIGNATURES: Final = 1_000


class Methods:
    """A node's methods by their names, over ``node``; ``pusher`` rebuilds the transactions."""

    def __init__(self, node: Node, pusher: Pusher) -> None:
        self._node = node
        self._pusher = pusher
        self._methods: dict[str, Callable[[Parameters], wire.Json]] = {
            "getHealth": lambda _: "ok",
            "getVersion": lambda _: {"feature-set": FEATURE_SET, "solana-core": wire.API_VERSION},
            "getGenesisHash": lambda _: node.settings.genesis_hash,
            "getSlot": self._slot,
            "getFirstAvailableBlock": lambda _: max(node.window().oldest, node.history.first_slot),
            "getBlockTime": self._block_time,
            "getAccountInfo": self._account,
            "getMultipleAccounts": self._accounts,
            "getSignaturesForAddress": self._signatures,
            "getTransaction": self._transaction,
        }

    def call(self, method: str, params: Parameters) -> wire.Json:
        """The result of ``method``. Raises RpcError."""
        handler = self._methods.get(method)
        if handler is None:
            raise jsonrpc.method_not_found()
        return handler(params)

    def _slot(self, params: Parameters) -> wire.Json:
        config = params.config(0)
        config.commitment()
        slot = self._node.shown_slot
        config.check_context(slot)
        return slot

    def _block_time(self, params: Parameters) -> wire.Json:
        slot = params.whole(0)
        if slot > self._node.shown_slot:
            raise jsonrpc.RpcError(jsonrpc.BLOCK_NOT_AVAILABLE, f"Block not available for slot {slot}")
        return self._node.block_time(slot)

    def _account(self, params: Parameters) -> wire.Json:
        pubkey, config = params.pubkey(0), params.config(1)
        read = self._reader(config)
        return {"context": wire.context(self._node.shown_slot), "value": read(pubkey)}

    def _accounts(self, params: Parameters) -> wire.Json:
        texts, config = params.texts(0), params.config(1)
        if len(texts) > MOST_ACCOUNTS:
            raise jsonrpc.invalid(f"Too many inputs provided; max {MOST_ACCOUNTS}")
        pubkeys = [jsonrpc.parse_pubkey(text, "Invalid param: {}") for text in texts]
        read = self._reader(config)
        return {"context": wire.context(self._node.shown_slot), "value": [read(pubkey) for pubkey in pubkeys]}

    def _reader(self, config: Config) -> Callable[[str], wire.Json]:
        """How to read an account under ``config``, once all of it has been checked."""
        commitment = config.commitment()
        encoding, data_slice = config.encoding(), config.data_slice()
        config.check_context(self._node.shown_slot)

        def read(pubkey: str) -> wire.Json:
            state = self._node.read(pubkey, commitment)
            if state is None:
                return None
            part = len(state.data) if data_slice is None else min(data_slice.length, len(state.data))
            if encoding in ("base58", "binary") and part > wire.LONGEST_BASE58:
                raise jsonrpc.RpcError(
                    jsonrpc.INVALID_REQUEST,
                    f"Encoded binary (base 58) data should be less than {wire.LONGEST_BASE58} bytes, "
                    "please use Base64 encoding.",
                )
            return wire.account(state, encoding, data_slice)

        return read

    def _signatures(self, params: Parameters) -> wire.Json:
        address, config = params.pubkey(0), params.config(1)
        config.at_least_confirmed()
        limit = config.whole("limit")
        limit = MOST_SIGNATURES if limit is None else limit
        if not 0 < limit <= MOST_SIGNATURES:
            raise jsonrpc.invalid(f"Invalid limit; max {MOST_SIGNATURES}")
        before, until = config.signature("before"), config.signature("until")
        config.check_context(self._node.shown_slot)
        found = self._node.history.of_address(
            address, limit=limit, before=before, until=until, window=self._node.window()
        )
        return [
            {
                "blockTime": self._node.block_time(push.slot),
                "confirmationStatus": "finalized",
                "err": error_of(push.outcome),
                "memo": None,
                "signature": push.signature,
                "slot": push.slot,
            }
            for push in found
        ]

    def _transaction(self, params: Parameters) -> wire.Json:
        signature, config = jsonrpc.parse_signature(params.text(0)), params.config(1)
        config.at_least_confirmed()
        encoding, most = config.transaction_encoding(), config.whole("maxSupportedTransactionVersion")
        push = self._node.history.find(signature, self._node.window())
        if push is None:
            return None
        if most is None:
            raise jsonrpc.RpcError(
                jsonrpc.UNSUPPORTED_VERSION,
                "Transaction version (0) is not supported by the requesting client. Please try the request "
                'again with the following configuration parameter: "maxSupportedTransactionVersion": 0',
            )
        rendered = render_transaction(self._pusher.transaction_of(push), encoding)
        slot = push.slot
        return {"blockTime": self._node.block_time(slot), "slot": slot, "version": 0, **rendered}
