"""Seals: text that clients carry for us, and can neither read nor make.

AES-SIV (RFC 5297): the same bytes always have the same seal, nothing random is needed, and
16 bytes are all that it adds.
"""

from __future__ import annotations

import base64
import binascii
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

SEAL_KEY_BYTES = 32
LONGEST_SEALED = 8192
"""Characters: twice what an upload id needs that names the longest key and nine nodes."""

_TEXT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class Seal:
    """Seals with one key, of 32 bytes. `purpose` keeps one kind of text from passing for another.

    Its repr says nothing of the key.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != SEAL_KEY_BYTES:
            raise ValueError(f"a key of {SEAL_KEY_BYTES} bytes seals, not one of {len(key)}")
        self._cipher = AESSIV(key)

    def seal(self, data: bytes, purpose: str = "") -> str:
        """`data` as URL-safe text (A-Z, a-z, 0-9, - and _), four characters for three bytes.

        Raises ValueError when it would be longer than `open` takes.
        """
        sealed = base64.urlsafe_b64encode(self._cipher.encrypt(data, [purpose.encode()]))
        if len(sealed) > LONGEST_SEALED:
            raise ValueError(f"{len(data)} bytes are too many to be sealed")
        return sealed.rstrip(b"=").decode("ascii")

    def open(self, text: str, purpose: str = "") -> bytes:
        """What was sealed; ValueError for anything that this key didn't seal for `purpose`."""
        if len(text) > LONGEST_SEALED or _TEXT.fullmatch(text) is None:
            raise ValueError("no seal of ours")
        try:
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            data = self._cipher.decrypt(sealed, [purpose.encode()])
        except (binascii.Error, InvalidTag) as error:
            raise ValueError("no seal of ours") from error
        if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii") != text:
            # Of the last character not all bits count: two texts would open alike.
            raise ValueError("no seal of ours")
        return data
