"""Writes Pyth's accounts, messages and instructions byte by byte, from the published offsets.

It knows nothing of ``quantdesk_oracle.pyth.layouts``: what it writes and the decoder reads must meet by fact.
"""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Any

from quantdesk_oracle.pyth.keccak import keccak256

SOL_FEED = bytes.fromhex("ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d")
AUTHORITY = bytes(range(32))
PRODUCT = bytes(range(32, 64))

PRICE_FIELDS: dict[str, Any] = {
    "feed_id": SOL_FEED,
    "price": 10_259_321_149,
    "confidence": 1_384_501,
    "exponent": -8,
    "publish_time": 1_789_699_386,
    "prev_publish_time": 1_789_699_385,
    "ema_price": 10_212_384_680,
    "ema_confidence": 1_661_189,
}

# (name, offset, bytes, signed, value), after pyth-client's oracle.h
LEGACY_PRICE_FIELDS = (
    ("magic", 0, 4, False, 0xA1B2C3D4),
    ("version", 4, 4, False, 2),
    ("account_type", 8, 4, False, 3),
    ("used_size", 12, 4, False, 3312),
    ("price_type", 16, 4, False, 1),
    ("exponent", 20, 4, True, -8),
    ("components", 24, 4, False, 32),
    ("quoting", 28, 4, False, 20),
    ("last_slot", 32, 8, False, 208_451_177),
    ("valid_slot", 40, 8, False, 208_451_176),
    ("ema_price", 48, 8, True, 2_493_214_500),
    ("ema_price_numerator", 56, 8, True, 3_604_103_551),
    ("ema_price_denominator", 64, 8, True, 1_445_564_990),
    ("ema_confidence", 72, 8, True, 1_758_239),
    ("ema_confidence_numerator", 80, 8, True, 2_541_649_660),
    ("ema_confidence_denominator", 88, 8, True, 1_445_564_990),
    ("timestamp", 96, 8, True, 1_690_737_765),
    ("min_publishers", 104, 1, False, 5),
    ("message_sent", 105, 1, False, 0),
    ("max_latency", 106, 1, False, 0),
    ("flags", 107, 1, False, 0),
    ("feed_index", 108, 4, False, 0),
    ("product", 112, 32, False, int.from_bytes(PRODUCT, "little")),
    ("next_price", 144, 32, False, 0),
    ("prev_slot", 176, 8, False, 208_451_176),
    ("prev_price", 184, 8, True, 2_495_437_612),
    ("prev_confidence", 192, 8, False, 1_967_612),
    ("prev_timestamp", 200, 8, True, 1_690_737_764),
    ("price", 208, 8, True, 2_495_335_717),
    ("confidence", 216, 8, False, 2_126_633),
    ("status", 224, 4, False, 1),
    ("corporate_action", 228, 4, False, 0),
    ("publish_slot", 232, 8, False, 208_451_177),
)


def price_update_v2(
    *, signatures: int | None = None, slot: int = 447_956_893, spare: bytes = b"\0", **fields: Any
) -> bytes:
    """A PriceUpdateV2 of 134 bytes: *Full*, or *Partial* with that many signatures."""
    level = b"\x01" if signatures is None else bytes([0, signatures])
    account = discriminator("account:PriceUpdateV2") + AUTHORITY + level + _price_fields("little", fields)
    return account + _int(slot, 8) + (spare if signatures is None else b"")


def twap_update() -> bytes:
    """A TwapUpdate: the receiver's other account, which holds no spot price."""
    return discriminator("account:TwapUpdate") + AUTHORITY + SOL_FEED + bytes(8 * 4 + 4 + 4)


def legacy_price(space: int = 3312, **fields: int) -> bytes:
    """A legacy price account of ``space`` bytes, components left empty."""
    unknown = fields.keys() - {name for name, *_ in LEGACY_PRICE_FIELDS}
    assert not unknown, unknown
    account = bytearray(240)
    for name, offset, size, signed, value in LEGACY_PRICE_FIELDS:
        account[offset : offset + size] = _int(fields.get(name, value), size, signed=signed)
    return bytes(account) + bytes(space - 240)


def legacy_product(attributes: dict[str, str], space: int = 512, price_account: bytes = AUTHORITY) -> bytes:
    """A legacy product account of ``space`` bytes."""
    body = price_account
    for text in (part for pair in attributes.items() for part in pair):
        body += bytes([len(text.encode())]) + text.encode()
    return legacy_account(2, body, space)


def legacy_mapping(products: list[bytes], space: int | None = None) -> bytes:
    """A legacy mapping account, as long as its products or of ``space`` bytes."""
    body = _int(len(products), 4) + bytes(4) + bytes(32) + b"".join(products)
    return legacy_account(1, body, 16 + len(body) if space is None else space)


def legacy_account(account_type: int, body: bytes, space: int) -> bytes:
    """Magic, version 2, type, used size, ``body``, and zeros up to ``space``."""
    used = 16 + len(body)
    header = _int(0xA1B2C3D4, 4) + _int(2, 4) + _int(account_type, 4) + _int(used, 4)
    return (header + body).ljust(space, b"\0")


def price_message(kind: int = 0, **fields: Any) -> bytes:
    """A price feed message of 85 bytes, big endian."""
    return bytes([kind]) + _price_fields("big", fields)


def post_update(message: bytes, proof: list[bytes], treasury: int = 0) -> bytes:
    """Data of the receiver's instruction for a VAA that was verified before."""
    return discriminator("global:post_update") + _merkle_update(message, proof) + bytes([treasury])


def post_update_atomic(vaa: bytes, message: bytes, proof: list[bytes], treasury: int = 0) -> bytes:
    """Data of the receiver's instruction that brings its VAA along."""
    start = discriminator("global:post_update_atomic") + _int(len(vaa), 4) + vaa
    return start + _merkle_update(message, proof) + bytes([treasury])


def update_price_feed(message: bytes, proof: list[bytes], shard: int = 0, feed_id: bytes = SOL_FEED) -> bytes:
    """Data of the push program's instruction."""
    start = discriminator("global:update_price_feed") + _merkle_update(message, proof)
    return start + b"\0" + _int(shard, 2) + feed_id


def accumulator_update(
    messages: list[bytes], slot: int, *, others: int = 5, damage: int | None = None
) -> bytes:
    """An update as Hermes serves it: each message with its proof in a tree that holds ``others`` besides.

    ``damage``: the byte of the update that is flipped.
    """
    leaves = [*messages, *(bytes([index]) * 40 for index in range(others))]
    root, proofs = _merkle(leaves)
    payload = b"AUWV\0" + slot.to_bytes(8, "big") + (10_000).to_bytes(4, "big") + root
    vaa = b"\x01" + bytes(4) + bytes([13]) + bytes(66 * 13) + bytes(4 + 4 + 2 + 32 + 8 + 1) + payload
    head = b"PNAU\x01\0\0\0" + len(vaa).to_bytes(2, "big") + vaa + bytes([len(messages)])
    body = b"".join(
        len(message).to_bytes(2, "big") + message + bytes([len(proof)]) + b"".join(proof)
        for message, proof in zip(messages, proofs, strict=False)
    )
    update = bytearray(head + body)
    if damage is not None:
        update[damage] ^= 1
    return bytes(update)


def _merkle(leaves: list[bytes]) -> tuple[bytes, list[list[bytes]]]:
    """The root of a tree over ``leaves``, and the proof of each, leaf side first; an odd one is paired with zeros."""
    level = [_digest(b"\0" + leaf) for leaf in leaves]
    proofs: list[list[bytes]] = [[] for _ in leaves]
    at = list(range(len(leaves)))
    while len(level) > 1:
        level += [bytes(20)] * (len(level) % 2)
        for leaf, position in enumerate(at):
            proofs[leaf].append(level[position ^ 1])
            at[leaf] = position // 2
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [_digest(b"\x01" + min(pair) + max(pair)) for pair in pairs]
    return level[0], proofs


def _digest(content: bytes) -> bytes:
    return keccak256(content)[:20]


def dump(pubkey: str, owner: str, data: bytes) -> dict[str, Any]:
    """What ``solana account --output json`` prints of an account."""
    return {
        "pubkey": pubkey,
        "account": {
            "lamports": 1_825_020,
            "data": [base64.b64encode(data).decode(), "base64"],
            "owner": owner,
            "executable": False,
            "rentEpoch": 2**64 - 1,
            "space": len(data),
        },
    }


def discriminator(name: str) -> bytes:
    """Anchor's first eight bytes of an account or an instruction."""
    return sha256(name.encode()).digest()[:8]


def _merkle_update(message: bytes, proof: list[bytes]) -> bytes:
    return _int(len(message), 4) + message + _int(len(proof), 4) + b"".join(proof)


def _price_fields(order: Any, changed: dict[str, Any]) -> bytes:
    unknown = changed.keys() - PRICE_FIELDS.keys()
    assert not unknown, unknown
    fields = PRICE_FIELDS | changed
    sizes = {"exponent": 4}
    unsigned = {"confidence", "ema_confidence"}
    encoded = [
        fields[name].to_bytes(sizes.get(name, 8), order, signed=name not in unsigned)
        for name in PRICE_FIELDS
        if name != "feed_id"
    ]
    return bytes(fields["feed_id"]) + b"".join(encoded)


def _int(value: int, size: int, *, signed: bool = False) -> bytes:
    return value.to_bytes(size, "little", signed=signed)
