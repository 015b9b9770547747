"""Of what kind a setting's value is: what pydantic checks, and the words that tell it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError
from twisted.internet.endpoints import serverFromString

from aosd.identity_tables import (
    ACCESS_KEY_WORDS,
    SECRET_KEY_WORDS,
    DoorAccessKey,
    DoorSecretKey,
    IdentityTable,
)

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

ENDPOINT_ERROR = "aosd_endpoint"
_PORT = re.compile(r"(?:tcp|tcp6|ssl):(?:port=)?(\d+)(?::|$)")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# With a bucket's name in front it has to be a host's name still.
_DOMAIN = re.compile(rf"(?=.{{1,189}}\Z){_LABEL}(\.{_LABEL})*", re.ASCII)
_ALL_DIGITS = re.compile(r"[0-9.]+", re.ASCII)
_PROVIDER = re.compile(r"[a-z][a-z0-9_.+-]*(:.*)?", re.DOTALL)
# What an Authorization header can hold as one word.
_TOKEN = re.compile(r"[!-~]{16,512}", re.ASCII)


@dataclass(frozen=True)
class Kind:
    """What a value of some type has to be, in words: for the reference and for errors."""

    words: str


def _endpoint(description: str) -> str:
    """Parse a Twisted server endpoint without listening on it."""
    try:
        # No endpoint uses its reactor before it listens.
        serverFromString(None, description)
        port = _PORT.match(description)
        if port and int(port[1]) > 65535:
            raise ValueError(f"there is no port {port[1]}")
    except Exception as error:
        why = str(error) or type(error).__name__
        raise PydanticCustomError(ENDPOINT_ERROR, "{why}", {"why": why}) from error
    return description


def _provider(text: str) -> str:
    if not _PROVIDER.fullmatch(text):
        raise ValueError("no provider")
    return text


def _domain(text: str) -> str:
    domain = text.lower()
    if _DOMAIN.fullmatch(domain) is None or _ALL_DIGITS.fullmatch(domain):
        raise ValueError("no domain")
    return domain


def _token(token: SecretStr) -> SecretStr:
    if _TOKEN.fullmatch(token.get_secret_value()) is None:
        raise ValueError("no token")
    return token


DAY_S = 86400
Seconds = Annotated[
    float,
    Field(gt=0, le=DAY_S, allow_inf_nan=False),
    Kind(f"a number of seconds, more than 0 and at most {DAY_S}"),
]
GraceSeconds = Annotated[
    float,
    Field(ge=0, le=DAY_S, allow_inf_nan=False),
    Kind(f"a number of seconds from 0 to {DAY_S}"),
]
LongSeconds = Annotated[
    float,
    Field(gt=0, le=400 * DAY_S, allow_inf_nan=False),
    Kind(f"a number of seconds, more than 0 and at most {400 * DAY_S}"),
]
Rate = Annotated[
    float, Field(gt=0, le=1e9, allow_inf_nan=False), Kind("a number more than 0 a second")
]
Replicas = Annotated[int, Field(ge=1, le=9), Kind("a whole number from 1 to 9")]
Count = Annotated[int, Field(ge=1, le=10_000), Kind("a whole number from 1 to 10000")]
Bytes = Annotated[int, Field(ge=0), Kind("a whole number of bytes")]
PartBytes = Annotated[
    int,
    Field(ge=5 * MIB, le=5 * GIB),
    Kind(f"a whole number of bytes from {5 * MIB} to {5 * GIB}, as S3 wants its parts"),
]
SinglePutBytes = Annotated[
    int,
    Field(ge=5 * MIB, le=5 * GIB),
    Kind(f"a whole number of bytes from {5 * MIB} to {5 * GIB}, the most that S3 takes at once"),
]
Switch = Annotated[bool, Kind("true or false")]
Endpoint = Annotated[
    str,
    AfterValidator(_endpoint),
    Kind("a Twisted server endpoint, such as tcp:3000 or tcp:3000:interface=127.0.0.1"),
]
Provider = Annotated[
    str,
    AfterValidator(_provider),
    Kind("a provider of nodes, such as docker, static:nodes.toml, dns:NAMES or embedded:3"),
]
Endpoints = Annotated[
    tuple[Endpoint, ...],
    Field(min_length=1),
    Kind("one or more Twisted server endpoints, such as tcp:3000 or tcp:3000:interface=127.0.0.1"),
]
Providers = Annotated[
    tuple[Provider, ...],
    Field(min_length=1),
    Kind(
        "one or more providers of nodes, such as docker, static:nodes.toml, dns:NAMES or embedded:3"
    ),
]
FilePath = Annotated[Path, Kind("the path of a readable TOML file")]
DirectoryPath = Annotated[Path, Kind("the path of a directory")]
LogFormat = Annotated[Literal["text", "json"], Kind("text or json")]
PlainDoor = Annotated[Literal["open", "off"], Kind("open or off")]
AccessKey = Annotated[str, Field(min_length=1), Kind("an access key")]
SecretKey = Annotated[SecretStr, Field(min_length=1), Kind("a secret key")]
RootAccessKey = Annotated[DoorAccessKey, Kind(ACCESS_KEY_WORDS)]
RootSecretKey = Annotated[DoorSecretKey, Kind(SECRET_KEY_WORDS)]
OperatorToken = Annotated[
    SecretStr,
    AfterValidator(_token),
    Kind("16 to 512 characters of ASCII without white space"),
]
Domain = Annotated[
    str,
    AfterValidator(_domain),
    Kind("the name of a host, such as s3.example.org, in front of which buckets' names may stand"),
]
Tables = Annotated[tuple[IdentityTable, ...], Kind("tables of an identity each")]
NodeName = Annotated[str, Field(min_length=1), Kind("the name of a node")]
NodeNames = Annotated[tuple[NodeName, ...], Kind("names of nodes")]
Zone = Annotated[str, Field(min_length=1, max_length=63), Kind("the name of a zone")]
