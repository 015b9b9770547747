"""The cluster's keys: the first key pair, what seals upload ids, the operator's token.

A register of kind `keys`, made by the run that founds the cluster, or by the first run that
knows of it. Who can read it holds the nodes anyway. Nothing in it is ever logged.
"""

from __future__ import annotations

import base64
import binascii
import random
import secrets
import string
from collections.abc import Mapping
from typing import Any, NamedTuple

from aosd.consistency.registers import Registers
from aosd.model.errors import NoNodes
from aosd.model.node import Credentials
from aosd.model.seal import SEAL_KEY_BYTES, Seal

KEYS_KIND = "keys"
KEYS_NAME = "cluster"
ACCESS_KEY_START = "AOSD"
_ACCESS_KEY_LETTERS = string.ascii_uppercase + string.digits
_ACCESS_KEY_LENGTH = 20
# Without / and +, which some clients and many people get wrong.
_SECRET_LETTERS = string.ascii_letters + string.digits
_SECRET_LENGTH = 40
_TOKEN_LENGTH = 43


class _Held(NamedTuple):
    """What a value of the register was read as."""

    value: Mapping[str, Any]
    pair: Credentials
    seal: Seal
    token: str

    def __repr__(self) -> str:
        return "the cluster's keys"


class ClusterKeys:
    """What is known of the keys now, in this process; nobody is asked.

    `chance` draws them: the system's own, which can't be guessed, unless a test wants others.
    """

    def __init__(self, registers: Registers, chance: random.Random | None = None) -> None:
        self._registers = registers
        self._chance = secrets.SystemRandom() if chance is None else chance
        self._fresh: Mapping[str, Any] | None = None
        self._held: _Held | None = None

    @property
    def pair(self) -> Credentials | None:
        """The first key pair; None while it isn't known."""
        held = self._read()
        return None if held is None else held.pair

    @property
    def token(self) -> str:
        """The operator's token; raises NoNodes while it isn't known."""
        return self._known().token

    def seal(self) -> Seal:
        """What seals upload ids; raises NoNodes while it isn't known."""
        return self._known().seal

    async def confirm(self) -> None:
        """Let enough nodes have them, and make them where there are none.

        At each beginning, before ready: a run that ended while it made them may have left
        them with one node only, and they must not be gone with that one. Raises NoQuorum;
        done again then, it makes no others.
        """
        held = self._read()
        if held is None and self._fresh is None:
            self._fresh = fresh_keys(self._chance)
        value = self._fresh if held is None else held.value
        assert value is not None
        await self._registers.set(KEYS_KIND, KEYS_NAME, value)
        self._fresh = None

    def _known(self) -> _Held:
        held = self._read()
        if held is None:
            raise NoNodes("the cluster's keys aren't known yet")
        return held

    def _read(self) -> _Held | None:
        """As the register is; that says by its value whether it was read before."""
        register = self._registers.get(KEYS_KIND, KEYS_NAME)
        if register is None:
            return None
        if self._held is None or self._held.value is not register.value:
            self._held = _held(register.value)
        return self._held


def fresh_keys(chance: random.Random) -> dict[str, str]:
    """A value for the register: four secrets that have nothing to do with each other."""
    rest = _ACCESS_KEY_LENGTH - len(ACCESS_KEY_START)

    def draw(letters: str, length: int) -> str:
        return "".join(chance.choice(letters) for _ in range(length))

    return {
        "access_key": ACCESS_KEY_START + draw(_ACCESS_KEY_LETTERS, rest),
        "secret_key": draw(_SECRET_LETTERS, _SECRET_LENGTH),
        "seal": base64.b64encode(chance.randbytes(SEAL_KEY_BYTES)).decode("ascii"),
        "token": draw(_SECRET_LETTERS, _TOKEN_LENGTH),
    }


def read_pair(value: Mapping[str, Any]) -> Credentials | None:
    """The key pair in a value of the register; None when it holds none."""
    access_key, secret_key = value.get("access_key"), value.get("secret_key")
    if not (isinstance(access_key, str) and isinstance(secret_key, str)):
        return None
    return Credentials(access_key, secret_key) if access_key and secret_key else None


def _held(value: Mapping[str, Any]) -> _Held | None:
    """None for what we didn't write: it is made anew then."""
    pair, token = read_pair(value), value.get("token")
    try:
        seal = Seal(base64.b64decode(str(value.get("seal")), validate=True))
    except (binascii.Error, ValueError):
        return None
    if pair is None or not isinstance(token, str) or not token:
        return None
    return _Held(value, pair, seal, token)
