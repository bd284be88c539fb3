"""The methods of one websocket client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantdesk_oracle.localnet import jsonrpc, wire
from quantdesk_oracle.localnet.subscriptions import AccountParameters, SlotParameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantdesk_oracle.localnet.jsonrpc import Parameters
    from quantdesk_oracle.localnet.node import Node
    from quantdesk_oracle.localnet.passage import Subscriber


class PubSub:
    """What ``subscriber`` can ask of ``node``; :meth:`close` when its connection is gone."""

    def __init__(self, node: Node, subscriber: Subscriber) -> None:
        self._node = node
        self._subscriber = subscriber
        self._methods: dict[str, Callable[[Parameters], wire.Json]] = {
            "accountSubscribe": self._subscribe_account,
            "accountUnsubscribe": lambda params: self._unsubscribe(params, AccountParameters),
            "slotSubscribe": lambda _: self._subscribe(SlotParameters()),
            "slotUnsubscribe": lambda params: self._unsubscribe(params, SlotParameters),
        }

    def call(self, method: str, params: Parameters) -> wire.Json:
        """The result of ``method``. Raises RpcError."""
        handler = self._methods.get(method)
        if handler is None:
            raise jsonrpc.method_not_found()
        return handler(params)

    def close(self) -> None:
        """Forget every subscription of this client."""
        self._node.subscriptions.drop(self._subscriber)

    def _subscribe_account(self, params: Parameters) -> wire.Json:
        pubkey = jsonrpc.parse_pubkey(params.text(0), "Invalid Request: Invalid pubkey provided")
        config = params.config(1)
        parameters = AccountParameters(pubkey, config.encoding(), config.commitment(), config.data_slice())
        subscription = self._subscribe(parameters)
        if self._node.audience is not None:
            self._node.audience.touched(pubkey, subscribed=True)
        return subscription

    def _subscribe(self, parameters: AccountParameters | SlotParameters) -> int:
        return self._node.subscriptions.subscribe(self._subscriber, parameters)

    def _unsubscribe(
        self, params: Parameters, kind: type[AccountParameters] | type[SlotParameters]
    ) -> wire.Json:
        if not self._node.subscriptions.unsubscribe(self._subscriber, params.whole(0), kind):
            raise jsonrpc.invalid("Invalid subscription id.")
        return True
