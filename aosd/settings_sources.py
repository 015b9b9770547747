"""Where settings come from: flags, else the environment, else a file, else their defaults."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from aosd.identity_tables import explain
from aosd.model.errors import ConfigurationError
from aosd.settings import (
    ENVIRONMENT_PREFIX,
    FILE_ONLY,
    RELATION_ERROR,
    Settings,
    flag_of,
    from_flags,
    is_repeatable,
    is_secret,
    kind_of,
    variable_of,
)
from aosd.settings_kinds import ENDPOINT_ERROR

# Names that begin like ours but belong to docker-compose.yml.
COMPOSE_NAMES = frozenset(
    {"AOSD_IMAGE", "AOSD_BASE_IMAGE", "AOSD_NODE_IMAGE", "AOSD_PORT"}
    | {f"AOSD_NODE_{n}_{part}" for n in (1, 2, 3) for part in ("USER", "PASSWORD")}
)

# And what aosctl is told of a daemon elsewhere.
CONTROL_NAMES = frozenset({"AOSD_URL"})

_LONGEST_SHOWN = 120


class Loaded(NamedTuple):
    """Settings, and the names in the environment that look like settings but are none."""

    settings: Settings
    unknown_environment: tuple[str, ...]


def load_settings(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Loaded:
    """Read and validate all settings.

    `flags` maps settings' names to what the command line said (a list for a repeatable
    one). A variable that is empty counts as absent; one for a repeatable setting holds
    values separated by white space. Raises ConfigurationError, whose one line names the
    setting as it was written, its value (but for a secret) and what would be right.
    """
    given, unknown = _from_environment(environment)
    origins = {name: variable_of(name) for name in given} | {name: flag_of(name) for name in flags}
    given |= flags
    if config := given.get("config"):
        from_file = _from_file(Path(config), origins["config"])
        for name in from_file.keys() - given.keys():
            origins[name] = f"{name} in {config}"
        given = from_file | given
    try:
        return Loaded(Settings(**given), unknown)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        _refuse(first, origins)


def _from_environment(
    environment: Mapping[str, str],
) -> tuple[dict[str, Any], tuple[str, ...]]:
    given: dict[str, Any] = {}
    unknown = []
    names = {variable_of(name): name for name in from_flags()}
    for variable, value in sorted(environment.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        name = names.get(variable)
        if name is None:
            if variable not in COMPOSE_NAMES | CONTROL_NAMES:
                unknown.append(variable)
        elif value:
            given[name] = value.split() if is_repeatable(name) else value
    return given, tuple(unknown)


def _from_file(path: Path, origin: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigurationError(
            _line(origin, str(path), f"the path of a readable TOML file ({why})")
        ) from error
    known = Settings.model_fields.keys() - {"config"}
    for name in content.keys() - known:
        raise ConfigurationError(
            f"{name} in {path} is no setting{_meant(name, known)}; docs/settings.md lists them all"
        )
    return content


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f": {close[0]} may be meant" if close else ""


def _refuse(error: ErrorDetails, origins: Mapping[str, str]) -> NoReturn:
    name = str(error["loc"][0])
    if name in FILE_ONLY and error["type"] != RELATION_ERROR:
        raise ConfigurationError(f"{origins[name]}: {explain(error)}")
    origin = origins.get(name, f"the default of {flag_of(name)}")
    if error["type"] == RELATION_ERROR:
        right = error["msg"]
    else:
        right = kind_of(name, of_each=len(error["loc"]) > 1)
        if error["type"] == ENDPOINT_ERROR:
            right += f" ({error['msg']})"
    raise ConfigurationError(_line(origin, error["input"], right, secret=is_secret(name)))


def _line(origin: str, value: object, right: str, *, secret: bool = False) -> str:
    if value is None:
        shown = "not set"
    elif secret:
        shown = "a secret not shown here"
    else:
        shown = repr(value)
    if len(shown) > _LONGEST_SHOWN:
        shown = shown[:_LONGEST_SHOWN] + "…"
    return " ".join(f"{origin} is {shown}, but must be {right}".split())
