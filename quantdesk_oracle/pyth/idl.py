"""The receiver's IDL and what anchorpy makes of it: the executable specification of ``pyth.layouts``.

``receiver_idl.json`` is Pyth's published IDL (pyth-solana-receiver 0.2.1) in the legacy format, the one that
anchorpy reads, cut down to the accounts and instructions that hold prices and corrected in one point: the
published file names the accounts ``priceUpdateV2`` and ``twapUpdate``, and anchorpy hashes a name as it is
written, so it would look for discriminators that no account has.

anchorpy takes most of a second to import and some 60 µs for an account, 60 times what ``pyth.accounts`` takes:
it is imported when it is first asked.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from quantdesk_oracle.errors import DataError, DecodeError
from quantdesk_oracle.model import PriceUpdate, Reason
from quantdesk_oracle.pyth import layouts

if TYPE_CHECKING:
    from anchorpy.coder.accounts import AccountsCoder
    from anchorpy.coder.instruction import InstructionCoder
    from anchorpy_core.idl import Idl

_ACCOUNTS: Final = {"PriceUpdateV2": layouts.PRICE_UPDATE_V2, "TwapUpdate": layouts.TWAP_UPDATE}
_INSTRUCTIONS: Final = {
    "post_update": layouts.POST_UPDATE,
    "post_update_atomic": layouts.POST_UPDATE_ATOMIC,
}


def assert_discriminators() -> None:
    """Check that anchorpy, given the IDL, computes the discriminators of ``layouts``. Raises DataError."""
    for computed, known in (
        (account_coder().acc_name_to_discriminator, _ACCOUNTS),
        (instruction_coder().sighashes, _INSTRUCTIONS),
    ):
        if computed != known:
            raise DataError(
                f"the receiver's IDL gives the discriminators {_hex(computed)}, the decoder knows {_hex(known)}: "
                "one of the two is not the program's"
            )


def decode_reference(data: bytes) -> PriceUpdate:
    """Decode a PriceUpdateV2 account the slow way, through anchorpy.

    Raises DecodeError with the reason that ``accounts.decode_price_update_v2`` has. The offset is 0: anchorpy
    does not say it.
    """
    from construct import StreamError

    try:
        account = account_coder().decode(data)
    except StreamError as error:
        raise DecodeError(Reason.TOO_SHORT, 0, f"{len(data)} bytes", str(error)) from None
    except KeyError:
        raise DecodeError(Reason.UNKNOWN_ACCOUNT, 0, f"0x{data[:8].hex()}", "a discriminator") from None
    except IndexError:
        raise DecodeError(Reason.BAD_VERIFICATION, 0, "a tag that is no variant", "0 or 1") from None
    if type(account).__name__ != "PriceUpdateV2":
        raise DecodeError(Reason.NOT_A_PRICE, 0, type(account).__name__, "PriceUpdateV2")
    return _price_update(account)


@cache
def load_idl() -> Idl:
    """The bundled IDL, parsed."""
    from anchorpy_core.idl import Idl

    return Idl.from_json(files("quantdesk_oracle.pyth").joinpath("receiver_idl.json").read_text("utf-8"))


@cache
def account_coder() -> AccountsCoder:
    """anchorpy's decoder and encoder of the receiver's accounts."""
    from anchorpy.coder.accounts import AccountsCoder

    with warnings.catch_warnings():
        # sumtypes, which anchorpy makes enums with, calls attrs in a way that attrs has deprecated.
        warnings.filterwarnings("ignore", "The `repr_ns` argument is deprecated", DeprecationWarning)
        return AccountsCoder(load_idl())


@cache
def instruction_coder() -> InstructionCoder:
    """anchorpy's decoder and encoder of the receiver's instructions."""
    from anchorpy.coder.instruction import InstructionCoder

    return InstructionCoder(load_idl())


def _price_update(account: Any) -> PriceUpdate:
    message = account.price_message
    return PriceUpdate(
        feed_id=bytes(message.feed_id),
        price=message.price,
        confidence=message.conf,
        exponent=message.exponent,
        publish_time=message.publish_time,
        prev_publish_time=message.prev_publish_time,
        ema_price=message.ema_price,
        ema_confidence=message.ema_conf,
        slot=account.posted_slot,
        # The variant Full has no such attribute.
        signatures=getattr(account.verification_level, "num_signatures", None),
    )


def _hex(discriminators: dict[str, bytes]) -> dict[str, str]:
    return {name: value.hex() for name, value in discriminators.items()}
