"""Identities as operators write them: tables of TOML, in the settings' file or one of their own.

[[identities]]
access_key = "backup"
secret_key = "…"
role = "readwrite"
buckets = ["backup-*"]
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_core import ErrorDetails

SHORTEST_SECRET = 8
# Printable ASCII without what separates fields where access keys stand in signatures.
_ACCESS_KEY = re.compile(r"[!-+.0-<>-~-]{3,128}", re.ASCII)
_PATTERN = re.compile(r"[a-z0-9.*?-]{1,128}", re.ASCII)

ACCESS_KEY_WORDS = "3 to 128 printable characters without spaces, commas, / and ="
SECRET_KEY_WORDS = f"{SHORTEST_SECRET} printable characters or more"
_WORDS = {
    "access_key": ACCESS_KEY_WORDS,
    "secret_key": SECRET_KEY_WORDS,
    "role": "admin, readwrite or readonly",
    "buckets": "a list of buckets' names, in which * stands for anything and ? for one character",
}
_SHOWN = ("access_key", "role", "buckets")
_LONGEST_SHOWN = 60


def _access_key(text: str) -> str:
    if _ACCESS_KEY.fullmatch(text) is None:
        raise ValueError("no access key")
    return text


def _secret_key(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if len(text) < SHORTEST_SECRET or not text.isprintable():
        raise ValueError("no secret key")
    return secret


def _pattern(text: str) -> str:
    if _PATTERN.fullmatch(text) is None:
        raise ValueError("no name of a bucket")
    return text


DoorAccessKey = Annotated[str, AfterValidator(_access_key)]
DoorSecretKey = Annotated[SecretStr, AfterValidator(_secret_key)]
Role = Literal["admin", "readwrite", "readonly"]


class IdentityTable(BaseModel):
    """Who may use the S3 door, and for what. `buckets` are patterns, of which one must match."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    access_key: DoorAccessKey
    secret_key: DoorSecretKey
    role: Role
    buckets: Annotated[
        tuple[Annotated[str, AfterValidator(_pattern)], ...], Field(min_length=1)
    ] = ("*",)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    identities: tuple[IdentityTable, ...] = ()


def parse_tables(content: bytes) -> tuple[IdentityTable, ...]:
    """The identities in a file, which may be none.

    Raises ValueError with one line that says what is wrong, and never repeats a secret.
    """
    try:
        tables = _File.model_validate(tomllib.loads(content.decode())).identities
    except UnicodeDecodeError as error:
        raise ValueError("it isn't UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(str(error)) from None
    except ValidationError as error:
        raise ValueError(explain(error.errors(include_url=False)[0])) from None
    if twice := first_twice(each.access_key for each in tables):
        raise ValueError(f"two identities have the access key {twice!r}")
    return tables


def first_twice(names: Iterable[str]) -> str:
    """The first that was there before; "" when all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""


def explain(error: ErrorDetails) -> str:
    """What is wrong with a value of `identities`, in one line and without any secret."""
    where: tuple[Any, ...] = error["loc"]
    if where[0] != "identities":
        return f"{where[0]}: unknown; there is [[identities]] only"
    if len(where) < 3:
        return "identities must be tables, each begun by [[identities]]"
    number, name = int(where[1]) + 1, str(where[2])
    place = f"[[identities]] number {number}: {name}"
    if error["type"] == "extra_forbidden":
        return f"{place} is unknown; there are {', '.join(IdentityTable.model_fields)}"
    if error["type"] == "missing":
        return f"{place} is missing"
    value = error["input"]
    shown = f"is {value!r}, but " if name in _SHOWN and isinstance(value, str) else ""
    if len(shown) > _LONGEST_SHOWN:
        shown = ""
    return f"{place} {shown}must be {_WORDS[name]}"
