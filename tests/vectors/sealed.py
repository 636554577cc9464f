#!/usr/bin/env python3
"""A second implementation of the sealed forms, from docs/credentials.md and Python's `cryptography`.

    sealed.py open      reads cases with an `envelope` or a `wrapped` from standard input, opens each,
                        and prints the list of what was in them
    sealed.py seal      reads cases, seals each under a fresh salt, and prints the list
    sealed.py vectors   writes the vectors beside this file anew: they must not change

A case is an object as in envelope-v1.json or wrap-v1.json; lists of them are JSON, bytes are hex.
"""

import hmac
import json
import os
import pathlib
import sys
import uuid

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

LABEL, ORGANIZATION, PLATFORM, RECORD, KIND, FIELD, PROVIDER, VERSION, KEY, PURPOSE, KEK, COLUMN, VALUE = range(1, 14)
KINDS = {"integer": 1, "text": 2, "uuid": 3}


def tlv(*parts):
    return b"".join(bytes([tag]) + len(value).to_bytes(4, "big") + value for tag, value in parts)


def owner(case):
    kind = case["organization_kind"]
    if kind == "platform":
        return PLATFORM, b""
    text = case["organization"]
    value = {
        "integer": lambda: int(text).to_bytes(8, "big"),
        "text": lambda: text.encode(),
        "uuid": lambda: uuid.UUID(text).bytes,
    }[kind]()
    return ORGANIZATION, bytes([KINDS[kind]]) + value


def seal_aad(case):
    return tlv(
        (LABEL, b"tenantry/aad/1"),
        owner(case),
        (RECORD, uuid.UUID(case["record_id"]).bytes),
        (KIND, case["kind"].encode()),
        (FIELD, case["field"].encode()),
        (PROVIDER, case["provider"].encode()),
        (VERSION, case["secret_version"].to_bytes(8, "big")),
        (KEY, uuid.UUID(case["key_id"]).bytes),
    )


def wrap_aad(case):
    return tlv(
        (LABEL, b"tenantry/wrap/1"),
        owner(case),
        (KEY, uuid.UUID(case["key_id"]).bytes),
        (PURPOSE, case["purpose"].encode()),
        (KEK, case["kek_id"].encode()),
    )


def expand(key, info, length=32):
    return HKDFExpand(hashes.SHA256(), length, info).derive(key)


def message(key, salt, info):
    okm = HKDF(hashes.SHA256(), 76, salt, info).derive(key)
    return okm[:32], okm[32:44], okm[44:]


def pad(text):
    text += b"\x80"
    return text + bytes(-len(text) % 64)


def unpad(text):
    body = text.rstrip(b"\0")
    assert len(text) % 64 == 0 and len(text) - len(body) < 64 and body[-1:] == b"\x80", "padding"
    return body[:-1]


def envelope(case, salt):
    prefix = bytes([0xFA, 1, 1, int(case["padded"])])
    aad = seal_aad(case)
    purpose_key = expand(bytes.fromhex(case["data_key"]), case["kind"].encode())
    key, nonce, commitment = message(purpose_key, salt, b"tenantry/seal/1" + prefix + aad)
    text = bytes.fromhex(case["text"])
    sealed = AESGCM(key).encrypt(nonce, pad(text) if case["padded"] else text, aad)
    return prefix + uuid.UUID(case["key_id"]).bytes + salt + commitment + sealed


def open_envelope(case):
    sealed = bytes.fromhex(case["envelope"])
    prefix, key_id, salt, commitment = sealed[:4], sealed[4:20], sealed[20:52], sealed[52:84]
    assert prefix[:3] == b"\xfa\x01\x01" and prefix[3] in (0, 1), "form"
    assert key_id == uuid.UUID(case["key_id"]).bytes, "key"
    aad = seal_aad(case)
    purpose_key = expand(bytes.fromhex(case["data_key"]), case["kind"].encode())
    key, nonce, expected = message(purpose_key, salt, b"tenantry/seal/1" + prefix + aad)
    assert hmac.compare_digest(commitment, expected), "commitment"
    text = AESGCM(key).decrypt(nonce, sealed[84:], aad)
    return unpad(text) if prefix[3] else text


def wrapped(case, salt):
    prefix = b"\xfb\x01\x01\x00"
    aad = wrap_aad(case)
    key, nonce, commitment = message(
        bytes.fromhex(case["kek"]), salt, b"tenantry/wrap/1" + prefix + aad
    )
    return prefix + salt + commitment + AESGCM(key).encrypt(nonce, bytes.fromhex(case["data_key"]), aad)


def unwrap(case):
    sealed = bytes.fromhex(case["wrapped"])
    prefix, salt, commitment = sealed[:4], sealed[4:36], sealed[36:68]
    assert prefix == b"\xfb\x01\x01\x00", "form"
    aad = wrap_aad(case)
    key, nonce, expected = message(bytes.fromhex(case["kek"]), salt, b"tenantry/wrap/1" + prefix + aad)
    assert hmac.compare_digest(commitment, expected), "commitment"
    return AESGCM(key).decrypt(nonce, sealed[68:], aad)


def blind_index(case):
    key = expand(bytes.fromhex(case["data_key"]), b"blind-index")
    parts = tlv(
        (LABEL, b"tenantry/index/1"),
        (COLUMN, case["column"].encode()),
        (VALUE, bytes.fromhex(case["value"])),
    )
    return b"\x01" + case["key_version"].to_bytes(4, "big") + hmac.digest(key, parts, "sha256")[:16]


# A ciphertext that is authentic under two keys.
#
# A tag is GHASH(H, AAD, ciphertext) xor E(J0), and GHASH is linear in each ciphertext block. All
# blocks but the last are free; the last solves GHASH1 + E1 = GHASH2 + E2 for two given keys.

POLYNOMIAL = 0xE1 << 120


def times(x, y):
    product = 0
    for bit in range(127, -1, -1):
        if (y >> bit) & 1:
            product ^= x
        x = (x >> 1) ^ (POLYNOMIAL if x & 1 else 0)
    return product


def inverse(x):
    result, power = 1 << 127, x
    for bit in range(128):
        if bit:
            result = times(result, power)
        power = times(power, power)
    return result


def blocks(text):
    return [int.from_bytes(text[at:at + 16].ljust(16, b"\0"), "big") for at in range(0, len(text), 16)]


def ghash(h, parts):
    value = 0
    for part in parts:
        value = times(value ^ part, h)
    return value


def block(key, text):
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return int.from_bytes(encryptor.update(text), "big")


def two_keys(case):
    """One ciphertext and tag for the messages of two data keys, with the commitment of each."""
    prefix, salt = b"\xfa\x01\x01\x00", bytes.fromhex(case["salt"])
    aad = seal_aad(case)
    sides = []
    for data_key in case["data_keys"]:
        purpose_key = expand(bytes.fromhex(data_key), case["kind"].encode())
        key, nonce, commitment = message(purpose_key, salt, b"tenantry/seal/1" + prefix + aad)
        sides.append((key, block(key, bytes(16)), block(key, nonce + b"\0\0\0\1"), commitment))
    free = bytes.fromhex(case["free_blocks"])
    lengths = (len(aad) * 8 << 64) | ((len(free) + 16) * 8)
    # What the tag is with a last block of zeros; the last block counts H squared times.
    known = [ghash(h, [*blocks(aad), *blocks(free), 0, lengths]) ^ mask for _, h, mask, _ in sides]
    factor = times(sides[0][1], sides[0][1]) ^ times(sides[1][1], sides[1][1])
    last = times(known[0] ^ known[1], inverse(factor))
    tag = known[0] ^ times(last, times(sides[0][1], sides[0][1]))
    sealed = free + last.to_bytes(16, "big") + tag.to_bytes(16, "big")
    head = prefix + uuid.UUID(case["key_id"]).bytes + salt
    return [(head + commitment + sealed).hex() for _, _, _, commitment in sides]


def example_owners():
    return [
        ("uuid", "5a1d7f1e-9c33-4c55-8a3e-0d6b2f4c8e10"),
        ("integer", "42"),
        ("text", "org_2fX"),
        ("platform", ""),
    ]


def write_vectors():
    here = pathlib.Path(__file__).parent

    def sequence(first, length=32):
        return bytes((first + at) % 256 for at in range(length)).hex()

    def write(name, value):
        (here / name).write_text(json.dumps(value, indent=2) + "\n")

    vectors, kinds = [], ["credential", "webhook-secret", "file", "export"]
    texts = [b"", b"example-token", bytes(range(256)) * 3, "schl\u00fcssel".encode()]
    for number, (kind, organization) in enumerate(example_owners()):
        for padded in (False, True):
            case = {
                "name": f"{kinds[number]} of {kind}, {'padded' if padded else 'plain'}",
                "organization_kind": kind,
                "organization": organization,
                "record_id": str(uuid.UUID(int=(number + 1) << 64 | 0xABCDEF)),
                "kind": kinds[number],
                "field": "access_token",
                "provider": "example",
                "secret_version": [0, 1, 2**32, 2**63][number],
                "key_id": str(uuid.UUID(int=(number + 1) << 100 | 7)),
                "data_key": sequence(number * 16),
                "padded": padded,
                "salt": sequence(128 + number + padded),
                "text": texts[number].hex(),
            }
            case["key_check_value"] = expand(bytes.fromhex(case["data_key"]), b"kcv", 8).hex()
            case["purpose_key"] = expand(
                bytes.fromhex(case["data_key"]), case["kind"].encode()
            ).hex()
            case["aad"] = seal_aad(case).hex()
            case["envelope"] = envelope(case, bytes.fromhex(case["salt"])).hex()
            vectors.append(case)
    write("envelope-v1.json", {"format": "envelope 1", "vectors": vectors})

    vectors = []
    for number, (kind, organization) in enumerate(example_owners()):
        case = {
            "organization_kind": kind,
            "organization": organization,
            "key_id": str(uuid.UUID(int=(number + 1) << 100 | 7)),
            "purpose": "canary" if kind == "platform" else "data-key",
            "kek_id": f"local:2026-0{number + 1}",
            "kek": sequence(200 + number),
            "data_key": sequence(number * 16),
            "salt": sequence(64 + number),
        }
        case["aad"] = wrap_aad(case).hex()
        case["wrapped"] = wrapped(case, bytes.fromhex(case["salt"])).hex()
        vectors.append(case)
    write("wrap-v1.json", {"format": "wrap 1", "vectors": vectors})

    vectors = []
    for number, column in enumerate(["external_account", "email", "a"]):
        case = {
            "data_key": sequence(number * 16),
            "key_version": number + 1,
            "column": column,
            "value": [b"", b"ann@example.com", bytes(range(256))][number].hex(),
        }
        case["index"] = blind_index(case).hex()
        vectors.append(case)
    write("index-v1.json", {"format": "blind index 1", "vectors": vectors})

    case = {
        "organization_kind": "integer",
        "organization": "1",
        "record_id": str(uuid.UUID(int=7)),
        "kind": "credential",
        "field": "access_token",
        "provider": "shopify",
        "secret_version": 3,
        "key_id": str(uuid.UUID(int=9)),
        "data_keys": ["01" * 32, "02" * 32],
        "salt": sequence(0),
        "free_blocks": sequence(1, 48),
    }
    case["committed_to_one"], case["committed_to_two"] = two_keys(case)
    write("two-keys.json", case)


def main():
    act = sys.argv[1] if len(sys.argv) == 2 else ""
    if act == "vectors":
        return write_vectors()
    if act not in ("open", "seal"):
        sys.exit(__doc__)
    for case in (cases := json.load(sys.stdin)):
        if act == "open":
            opened = open_envelope(case) if "envelope" in case else unwrap(case)
            case["text" if "envelope" in case else "data_key"] = opened.hex()
        elif "record_id" in case:
            case["envelope"] = envelope(case, os.urandom(32)).hex()
        else:
            case["wrapped"] = wrapped(case, os.urandom(32)).hex()
    json.dump(cases, sys.stdout)


main()
