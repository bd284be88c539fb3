"""anchorpy with the bundled IDL: the specification that the decoder is held against."""

from __future__ import annotations

import subprocess
import sys

import pytest

from quantdesk_oracle.errors import DataError, DecodeError
from quantdesk_oracle.model import Reason
from quantdesk_oracle.pyth import idl, layouts
from quantdesk_oracle.pyth.accounts import decode_price_update_v2
from quantdesk_oracle.pyth.messages import decode_instruction
from tests.vectors import encoder

FULL = encoder.price_update_v2()
PARTIAL = encoder.price_update_v2(signatures=5)


def test_anchorpy_computes_the_discriminators_that_the_decoder_knows():
    idl.assert_discriminators()


def test_a_wrong_discriminator_in_the_decoder_is_noticed(monkeypatch):
    monkeypatch.setitem(idl._ACCOUNTS, "PriceUpdateV2", bytes.fromhex("46093b0f975f03ea"))
    with pytest.raises(DataError, match="46093b0f975f03ea"):
        idl.assert_discriminators()


def test_discriminators_are_hashes_of_the_programs_own_names():
    assert encoder.discriminator("account:PriceUpdateV2") == layouts.PRICE_UPDATE_V2
    assert encoder.discriminator("account:TwapUpdate") == layouts.TWAP_UPDATE
    assert encoder.discriminator("global:update_price_feed") == layouts.UPDATE_PRICE_FEED
    assert encoder.discriminator("global:post_update") == layouts.POST_UPDATE
    assert encoder.discriminator("global:post_update_atomic") == layouts.POST_UPDATE_ATOMIC


@pytest.mark.parametrize("data", [FULL, PARTIAL, FULL[:133]])
def test_the_reference_reads_an_account_as_the_decoder_does(data):
    assert idl.decode_reference(data) == decode_price_update_v2(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.TOO_SHORT),
        (FULL[:132], Reason.TOO_SHORT),
        (PARTIAL[:133], Reason.TOO_SHORT),
        (bytes(134), Reason.UNKNOWN_ACCOUNT),
        (encoder.legacy_price(), Reason.UNKNOWN_ACCOUNT),
        (FULL[:40] + b"\x02" + FULL[41:], Reason.BAD_VERIFICATION),
        (encoder.twap_update(), Reason.NOT_A_PRICE),
    ],
)
def test_the_reference_refuses_for_the_decoders_reason(data, reason):
    for decode in (idl.decode_reference, decode_price_update_v2):
        with pytest.raises(DecodeError) as caught:
            decode(data)
        assert caught.value.reason is reason


def test_anchorpy_reads_the_same_message_and_proof_out_of_an_instruction():
    message, proof = encoder.price_message(), [bytes([n] * 20) for n in range(12)]
    for data in (encoder.post_update(message, proof), encoder.post_update_atomic(b"vaa", message, proof)):
        update = idl.instruction_coder().parse(data).data.params.merkle_price_update
        decoded = decode_instruction(data)
        assert bytes(update.message) == decoded.message == message
        assert tuple(bytes(node) for node in update.proof) == decoded.proof


def test_the_idl_puts_the_price_account_where_the_decoder_looks_for_it():
    indices = {
        name: [account.name for account in instruction.accounts].index("priceUpdateAccount")
        for instruction in idl.load_idl().instructions
        for name in [instruction.name]
    }
    assert indices == {"postUpdate": 4, "postUpdateAtomic": 4}


def test_the_decoder_does_without_anchorpy_until_it_is_asked_for():
    code = "import sys; import quantdesk_oracle.pyth.idl; print('anchorpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
