import json
from typing import Any

import pytest

from quantdesk_oracle.localnet import jsonrpc
from quantdesk_oracle.localnet.jsonrpc import Config, Parameters, RpcError


def call(method: str, params: Parameters) -> Any:
    if method == "add":
        return params.whole(0) + params.whole(1)
    raise jsonrpc.method_not_found()


def answer(body: str) -> Any:
    answered = jsonrpc.answer(body, call)
    return None if answered is None else json.loads(answered)


def code(body: str) -> int:
    return answer(body)["error"]["code"]


def test_a_result_has_the_requests_id() -> None:
    body = '{"jsonrpc":"2.0","id":"abc","method":"add","params":[1,2]}'
    assert answer(body) == {"jsonrpc": "2.0", "result": 3, "id": "abc"}


def test_a_batch_is_answered_in_its_order() -> None:
    requests = [{"jsonrpc": "2.0", "id": number, "method": "add", "params": [number, 1]} for number in (5, 6)]
    assert [one["result"] for one in answer(json.dumps(requests))] == [6, 7]


def test_a_batch_answers_the_broken_ones_too() -> None:
    answers = answer(
        '[{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}, 5, {"jsonrpc":"2.0","id":2,"method":"no"}]'
    )
    assert [one.get("error", {}).get("code") for one in answers] == [None, -32600, -32601]


@pytest.mark.parametrize("body", ["", "{", "5", '"text"', "null", "[" * 100_000])
def test_what_is_no_json_or_no_request_is_a_parse_error(body: str) -> None:
    assert code(body) == -32700


@pytest.mark.parametrize(
    "body", ["{}", "[]", '{"jsonrpc":"2.0","id":1}', '{"id":1,"method":"add","params":[1,2]}']
)
def test_what_is_no_jsonrpc_2_is_an_invalid_request(body: str) -> None:
    assert code(body) == -32600


def test_an_unknown_method_is_not_found() -> None:
    assert answer('{"jsonrpc":"2.0","id":1,"method":"no"}')["error"] == {
        "code": -32601,
        "message": "Method not found",
    }


@pytest.mark.parametrize("params", ["{}", "[1]", '[1,"2"]', "[1,-2]", "[1,2.5]", "[1,true]", "[1,null]", "5"])
def test_wrong_parameters_are_invalid(params: str) -> None:
    assert code(f'{{"jsonrpc":"2.0","id":1,"method":"add","params":{params}}}') == -32602


def test_a_notification_is_not_answered() -> None:
    assert answer('{"jsonrpc":"2.0","method":"add","params":[1,2]}') is None
    assert answer('[{"jsonrpc":"2.0","method":"no"}]') is None


def test_a_configuration_may_be_left_out_or_null() -> None:
    assert Parameters([]).config(1).encoding() == "base64"
    assert Parameters(["a", None]).config(1).commitment() == "finalized"


def test_an_encoding_may_stand_for_the_whole_configuration() -> None:
    assert Parameters(["a", "base64"]).config(1).transaction_encoding() == "base64"


def read_all(config: Config) -> None:
    config.encoding()
    config.commitment()
    config.data_slice()
    config.signature("before")
    config.check_context(10)


@pytest.mark.parametrize(
    "fields",
    [
        {"encoding": "base65"}, {"encoding": 5}, {"encoding": ["base64"]}, {"commitment": "max"},
        {"minContextSlot": -1}, {"minContextSlot": "1"}, {"dataSlice": 5}, {"dataSlice": {"offset": 1}},
        {"before": "zz"}, {"before": 5},
    ],
)  # fmt: skip
def test_a_wrong_value_in_a_configuration_is_invalid(fields: dict[str, Any]) -> None:
    with pytest.raises(RpcError) as raised:
        read_all(Config(fields))
    assert raised.value.code == -32602


def test_a_later_context_slot_is_refused_with_the_slot_that_there_is() -> None:
    Config({"minContextSlot": 10}).check_context(10)
    with pytest.raises(RpcError) as raised:
        Config({"minContextSlot": 11}).check_context(10)
    assert raised.value.to_json() == {
        "code": -32016,
        "message": "Minimum context slot has not been reached",
        "data": {"contextSlot": 10},
    }


def test_keys_that_nobody_knows_are_ignored() -> None:
    assert Config({"what": "ever"}).encoding() == "base64"
