"""Nodes from a TOML file, read again whenever it changes."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from aosd.discovery import DiscoveryContext
from aosd.discovery.fields import address_of, weight_of, zone_of
from aosd.discovery.rounds import RoundFailed, Rounds, Seen
from aosd.model.node import Credentials, Sighting, is_node_name
from aosd.ports import IDiscovery, Report, Trouble

_INTERVAL_S = 1.0
_SECTION = re.compile(r"\s*\[\[\s*[\"']?node[\"']?\s*\]\]")

Signature = tuple[int, int, int]
"""What tells one version of a file from the next: mtime in ns, size in bytes, inode."""


@implementer(IDiscovery)
class StaticDiscovery:
    """Looks once a second whether the file changed, in the daemon's threads.

    A file that can't be used is told as trouble once a version, and the last good one stands.
    """

    def __init__(self, path: str, context: DiscoveryContext) -> None:
        self.name = f"static:{path}"
        # A daemon's current folder may change; what the operator wrote doesn't.
        self._path = Path(path).absolute()
        self._context = context
        self._last: Signature | OSError | None = None
        self._rounds = Rounds(context.reactor, _INTERVAL_S, self._look)

    def start(self, report: Report, trouble: Trouble) -> Deferred[None]:
        """See IDiscovery."""
        return self._rounds.start(report, trouble)

    def stop(self) -> Deferred[None]:
        """See IDiscovery."""
        return Deferred.fromCoroutine(self._rounds.stop())

    async def _look(self) -> Seen | None:
        before = self._last
        answer: _Version | OSError = await deferToThreadPool(
            self._context.reactor,
            self._context.threads,
            _read,
            self._path,
            None if isinstance(before, OSError) else before,
        )
        if isinstance(answer, OSError):
            self._last = answer
            if isinstance(before, OSError) and before.errno == answer.errno:
                return None
            raise RoundFailed(f"{self._path}: {answer.strerror}")
        self._last = answer.signature
        if answer.content is None:
            return None
        try:
            return Seen(parse(answer.content, str(self._path)))
        except ValueError as error:
            raise RoundFailed(f"{self._path}, {error}") from error


@dataclass(frozen=True)
class _Version:
    signature: Signature
    content: bytes | None  # None when the signature is the one known already


def _read(path: Path, known: Signature | None) -> _Version | OSError:
    """Blocking. The signature is taken before the content: a change between is seen later."""
    try:
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            signature = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            return _Version(signature, None if signature == known else file.read())
    except OSError as error:
        return error


def _node_name(name: str) -> str:
    if not is_node_name(name):
        raise ValueError(f"must be letters, digits, '.', '_' and '-', such as n1, not {name!r}")
    return name


def _url(url: str) -> str:
    address_of(url)
    return url


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    name: Annotated[str, AfterValidator(_node_name)]
    url: Annotated[str, AfterValidator(_url)]
    access_key: Annotated[str, Field(min_length=1)]
    secret_key: Annotated[SecretStr, Field(min_length=1)]
    weight: Annotated[float, AfterValidator(weight_of)] = 1.0
    zone: Annotated[str, AfterValidator(zone_of)] | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    node: list[_Node] = []


def parse(content: bytes, source: str) -> Sequence[Sighting]:
    """The nodes that a file names; `source` is the sightings' `seen_as`.

    Raises ValueError that begins with the line, and never repeats a credential.
    """
    try:
        text = content.decode()
        file = _File.model_validate(tomllib.loads(text))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(_toml_error(str(error))) from error
    except ValidationError as error:
        raise ValueError(_explain(error.errors()[0], text)) from None
    if not file.node:
        # An editor may empty a file before it writes it anew.
        raise ValueError("line 1: no [[node]] in it")
    seen: set[str] = set()
    for number, node in enumerate(file.node):
        if node.name in seen:
            line = _line(text, number, "name")
            raise ValueError(f"line {line}: name: another node is called {node.name!r} already")
        seen.add(node.name)
    return [
        Sighting(
            node.name,
            address_of(node.url),
            Credentials(node.access_key, node.secret_key.get_secret_value()),
            node.weight,
            node.zone,
            seen_as=source,
        )
        for node in file.node
    ]


def _toml_error(message: str) -> str:
    """Tomllib puts the line at the end: `… (at line 3, column 5)`."""
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message)
    if found is None:
        return f"line 1: {message}"
    return f"line {found[2]}: {found[1]}" if found[2] else f"at its end: {found[1]}"


def _explain(error: ErrorDetails, text: str) -> str:
    where: tuple[Any, ...] = error["loc"]
    if len(where) < 2:
        what = f"{where[0]}: unknown; there is [[node]] only" if where else error["msg"]
        if where and where[0] == "node":
            what = "node: must be written as [[node]]"
        return f"line {_find(text.splitlines(), str(where[0]) if where else '')}: {what}"
    number = int(where[1])
    key = str(where[2]) if len(where) > 2 else ""
    messages = {
        "extra_forbidden": f"unknown; there are {', '.join(_Node.model_fields)}",
        "missing": "is missing",
    }
    message = messages.get(error["type"], error["msg"].removeprefix("Value error, "))
    place = f"line {_line(text, number, key)}: [[node]] number {number + 1}"
    return f"{place}: {key}: {message}" if key else f"{place}: {message}"


def _line(text: str, number: int, key: str) -> int:
    """The line of `key` in the node's section, or of the section when it isn't there."""
    lines = text.splitlines()
    sections = [at for at, line in enumerate(lines) if _SECTION.match(line)]
    if number >= len(sections):
        return 1
    begin = sections[number]
    end = sections[number + 1] if number + 1 < len(sections) else len(lines)
    return begin + _find(lines[begin:end], key)


def _find(lines: Sequence[str], key: str) -> int:
    """The line, from 1, that sets `key`; 1 when none does."""
    pattern = re.compile(rf"\s*(\[+\s*)?[\"']?{re.escape(key)}[\"']?\s*[=\]]")
    return next((at for at, line in enumerate(lines, 1) if key and pattern.match(line)), 1)
