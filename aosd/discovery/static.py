"""Nodes that a TOML file names; read again when it changes."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from aosd.discovery import DiscoveryContext
from aosd.discovery.rounds import Rounds
from aosd.model.errors import ConfigurationError
from aosd.model.node import Address, Credentials, Sighting, is_node_name
from aosd.ports import IDiscovery, Report, Trouble

_LOOK_EVERY_S = 1.0
_PORTS = {"http": 80, "https": 443}


def parse_url(url: str) -> Address:
    """An http(s) URL without a path as an address; ValueError says what is wrong with it."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("must be like http://host:port or https://host:port")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise ValueError("must have nothing but scheme, host and port")
    return Address(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme])


def _node_name(name: str) -> str:
    if not is_node_name(name):
        raise ValueError("must be 1 to 254 of letters, digits, '.', '_' and '-'")
    return name


def _url(url: str) -> str:
    parse_url(url)
    return url


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, AfterValidator(_node_name)]
    url: Annotated[str, AfterValidator(_url)]
    access_key: str = Field(min_length=1)
    secret_key: SecretStr = Field(min_length=1)
    weight: float = Field(1.0, ge=0.1, le=100)
    zone: str | None = Field(None, min_length=1)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    node: list[_Node] = []


def parse(text: str, path: str) -> list[Sighting]:
    """The nodes of a static file's text; ConfigurationError says where it is wrong."""
    try:
        content: dict[str, Any] = tomllib.loads(text)
        nodes = _File.model_validate(content).node
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {_first(error, content)}") from error
    names = [node.name for node in nodes]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{path}: node {name!r} stands there twice")
    return [
        Sighting(
            node.name,
            parse_url(node.url),
            Credentials(node.access_key, node.secret_key.get_secret_value()),
            weight=node.weight,
            zone=node.zone,
            seen_as=path,
        )
        for node in nodes
    ]


def _first(error: ValidationError, content: dict[str, Any]) -> str:
    """The first mistake in words: which node, which of its lines, what is wrong."""
    found = error.errors(include_url=False, include_input=False)[0]
    where = [str(part) for part in found["loc"]]
    if len(where) > 1 and where[0] == "node":
        number = int(where[1]) + 1
        return f"[[node]] number {number}, {'.'.join(where[2:])}: {found['msg']}"
    return f"{'.'.join(where)}: {found['msg']}"


@implementer(IDiscovery)
class StaticDiscovery:
    """See IDiscovery. Looks at the file once a second; a broken edit keeps the last good one."""

    def __init__(self, path: Path, context: DiscoveryContext) -> None:
        self.name = f"static:{path}"
        self._path = path
        self._context = context
        self._read_as: tuple[int, int, int] | None = None
        self._rounds = Rounds(self._look, context.reactor, _LOOK_EVERY_S)
        self._broken: ConfigurationError | None = None

    def start(self, report: Report, trouble: Trouble) -> Deferred[None]:
        """See IDiscovery."""
        return self._rounds.start(report, trouble)

    def stop(self) -> Deferred[None]:
        """See IDiscovery."""
        return self._rounds.stop()

    async def _look(self) -> Sequence[Sighting] | None:
        read = await deferToThreadPool(self._context.reactor, self._context.threads, self._read)
        if read is None:
            if self._broken is not None:
                raise self._broken
            return None
        seen_as, text = read
        self._read_as = seen_as
        self._broken = None
        try:
            return parse(text, str(self._path))
        except ConfigurationError as error:
            self._broken = error
            raise

    def _read(self) -> tuple[tuple[int, int, int], str] | None:
        """In a thread: the file's text, None when it is the one that was read before."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                seen_as = (status.st_mtime_ns, status.st_size, status.st_ino)
                if seen_as == self._read_as:
                    return None
                return seen_as, file.read().decode("utf-8")
        except OSError as error:
            raise ConfigurationError(f"{self._path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{self._path} isn't UTF-8") from error
