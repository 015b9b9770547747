"""All settings of the daemon: one frozen object, validated once, before anything listens.

A setting comes from a flag, else from the environment (`AOSD_` and its name in capitals),
else from the TOML file that `config` names, else it has its default.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from twisted.internet.endpoints import serverFromString

from aosd.identity_tables import (
    ACCESS_KEY_WORDS,
    SECRET_KEY_WORDS,
    DoorAccessKey,
    DoorSecretKey,
    IdentityTable,
    explain,
    first_twice,
)
from aosd.model.errors import ConfigurationError
from aosd.model.node import Credentials

ENVIRONMENT_PREFIX = "AOSD_"

# Names that begin like ours but belong to docker-compose.yml.
COMPOSE_NAMES = frozenset(
    {"AOSD_IMAGE", "AOSD_BASE_IMAGE", "AOSD_NODE_IMAGE", "AOSD_PORT"}
    | {f"AOSD_NODE_{n}_{part}" for n in (1, 2, 3) for part in ("USER", "PASSWORD")}
)

# And what aosctl is told of a daemon elsewhere.
CONTROL_NAMES = frozenset({"AOSD_URL"})

# What no flag and no variable can hold.
FILE_ONLY = frozenset({"identities"})

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_RELATION = "aosd_relation"
_ENDPOINT = "aosd_endpoint"
_PORT = re.compile(r"(?:tcp|tcp6|ssl):(?:port=)?(\d+)(?::|$)")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# With a bucket's name in front it has to be a host's name still.
_DOMAIN = re.compile(rf"(?=.{{1,189}}\Z){_LABEL}(\.{_LABEL})*", re.ASCII)
_ALL_DIGITS = re.compile(r"[0-9.]+", re.ASCII)
_PROVIDER = re.compile(r"[a-z][a-z0-9_.+-]*(:.*)?", re.DOTALL)
_LONGEST_SHOWN = 120
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
        raise PydanticCustomError(_ENDPOINT, "{why}", {"why": why}) from error
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


_DAY_S = 86400
Seconds = Annotated[
    float,
    Field(gt=0, le=_DAY_S, allow_inf_nan=False),
    Kind(f"a number of seconds, more than 0 and at most {_DAY_S}"),
]
GraceSeconds = Annotated[
    float,
    Field(ge=0, le=_DAY_S, allow_inf_nan=False),
    Kind(f"a number of seconds from 0 to {_DAY_S}"),
]
LongSeconds = Annotated[
    float,
    Field(gt=0, le=400 * _DAY_S, allow_inf_nan=False),
    Kind(f"a number of seconds, more than 0 and at most {400 * _DAY_S}"),
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


class Settings(BaseModel):
    """Every setting, with its unit in its name. `Settings()` holds the defaults."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )

    config: FilePath | None = Field(
        None, description="The TOML file that settings are read from; not to be set in it."
    )
    http: Endpoints = Field(
        ("tcp:3000",), description="Where the doors listen; may be given several times."
    )
    operations: Endpoint | None = Field(
        None,
        description="Where the operations door listens instead of on the doors' own endpoints.",
    )
    nodes: Providers = Field(
        ("docker",),
        description="Who finds the nodes; may be given several times.",
    )
    replicas: Replicas = Field(
        2, description="Copies of each object, all of them written before the answer."
    )
    zone: Zone | None = Field(
        None, description="The gateway's own zone: nodes of the same one are read from first."
    )
    adopt: NodeNames = Field(
        (),
        description="Nodes that join with the objects which they hold already; may be given "
        "several times.",
    )
    data: DirectoryPath = Field(
        Path("./aosd-data"), description="Where embedded nodes keep their data."
    )
    log_format: LogFormat = Field("text", description="How the log is written.")
    access_log: Switch = Field(True, description="Whether each request is logged.")
    express: Switch = Field(
        True,
        description="Whether requests for objects take the express lane, which is faster; "
        "the standard lane serves all others, and all without it.",
    )
    plain_door: PlainDoor = Field(
        "open",
        description="Whether the plain door, which asks nobody for credentials, is open.",
    )
    access_key: RootAccessKey | None = Field(
        None,
        description="The access key of the root pair, which may do everything; without it the "
        "pair made for the cluster counts.",
    )
    secret_key: RootSecretKey | None = Field(None, description="The secret key of the root pair.")
    operator_token: OperatorToken | None = Field(
        None,
        description="The token that operators show to change something; without it the one made "
        "for the cluster counts.",
    )
    identities: Tables = Field((), description="Who else may use the S3 door, a table each.")
    identities_file: FilePath | None = Field(
        None,
        description="A TOML file with more identities, read again when it changes.",
    )
    s3_domain: Domain | None = Field(
        None,
        description="The domain whose subdomains are buckets to the S3 door.",
    )
    node_access_key: AccessKey | None = Field(
        None, description="The access key of nodes that are found by DNS."
    )
    node_secret_key: SecretKey | None = Field(
        None, description="The secret key of nodes that are found by DNS."
    )
    discovery_interval_s: Seconds = Field(
        10, description="Time between two rounds of looking for nodes."
    )
    connect_timeout_s: Seconds = Field(
        1.5, description="How long a connection to a node may take to open."
    )
    first_byte_timeout_s: Seconds = Field(
        30,
        description="How long a node may take from the end of a request to its answer's head.",
    )
    node_idle_timeout_s: Seconds = Field(
        10, description="How long a node may neither send nor take a byte of a body."
    )
    complete_timeout_s: Seconds = Field(
        300, description="How long a node may take to complete a multipart upload."
    )
    client_idle_timeout_s: Seconds = Field(
        25, description="How long a client may send no byte of an upload."
    )
    client_stall_timeout_s: Seconds = Field(
        300, description="How long a client may take no byte of a download."
    )
    turn_timeout_s: Seconds = Field(
        20, description="How long a change waits for its key's turn before it is given up."
    )
    probe_interval_s: Seconds = Field(1, description="Time between two probes of a node.")
    probe_timeout_s: Seconds = Field(0.9, description="How long a probe may take.")
    node_down_after_s: Seconds = Field(
        10, description="How long a silent node is only suspect; then it is down."
    )
    late_write_window_s: Seconds = Field(
        1200,
        description="How long after a silent node's return a request of before may take effect.",
    )
    founding_wait_s: GraceSeconds = Field(
        15, description="How long the first start waits for nodes that don't answer yet."
    )
    sweep_keys_per_s: Rate = Field(2000, description="Keys a second that a sweep compares.")
    repair_bytes_per_s: Bytes = Field(
        100 * MIB, description="Bytes a second that repair copies between nodes."
    )
    sweep_interval_s: LongSeconds = Field(
        7 * _DAY_S, description="Time between two sweeps of everything, without an occasion."
    )
    journal_keep_s: LongSeconds = Field(7 * _DAY_S, description="How long deletes are remembered.")
    breaker_failures: Count = Field(
        3, description="Failures in a row after which a node isn't asked for a while."
    )
    breaker_backoff_s: Seconds = Field(
        1, description="How long a node that failed isn't asked at first; doubles each time."
    )
    breaker_backoff_max_s: Seconds = Field(
        5, description="The longest time that a node which fails isn't asked."
    )
    node_connections: Count = Field(
        64, description="Idle connections that are kept open to each node."
    )
    max_requests: Count = Field(
        1024,
        description="Requests that may be under way at once; past it, and past three quarters of "
        "it by one client or waiting for one node, they are answered 503 SlowDown.",
    )
    body_memory_bytes: Bytes = Field(
        256 * MIB,
        description="Bound on all bodies held in memory together; past it clients aren't read.",
    )
    replay_bytes: Bytes = Field(
        1 * MIB,
        description="Bodies up to this length are read whole before a node gets them.",
    )
    single_put_bytes: SinglePutBytes = Field(
        5 * GIB,
        description="Longer bodies go to the nodes in parts; less where a node, or a proxy in "
        "front of it, takes less.",
    )
    part_bytes: PartBytes = Field(
        8 * MIB,
        description="Length of the first parts of a body whose length the client didn't say.",
    )
    part_bytes_max: PartBytes = Field(
        64 * MIB, description="Length that the parts of such a body grow to."
    )
    shutdown_grace_s: GraceSeconds = Field(
        30, description="How long requests in flight may go on when the daemon stops."
    )

    @property
    def root_pair(self) -> Credentials | None:
        """The pair that may do everything; None when the cluster's own counts."""
        if self.access_key is None or self.secret_key is None:
            return None
        return Credentials(self.access_key, self.secret_key.get_secret_value())

    @field_validator("node_secret_key", "secret_key")
    @classmethod
    def _goes_with_access_key(
        cls, value: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        other = str(info.field_name).replace("secret_key", "access_key")
        if other in info.data and (info.data[other] is None) != (value is None):
            raise PydanticCustomError(
                _RELATION, "given together with {other} or not at all", {"other": other}
            )
        return value

    @field_validator("identities")
    @classmethod
    def _differ_in_access_keys(
        cls, value: tuple[IdentityTable, ...], info: ValidationInfo
    ) -> tuple[IdentityTable, ...]:
        root = info.data.get("access_key")
        keys = [each.access_key for each in value]
        if twice := first_twice(keys if root is None else [root, *keys]):
            raise PydanticCustomError(
                _RELATION, "of an access key each, and {twice} is there twice", {"twice": twice}
            )
        return value

    @field_validator("breaker_backoff_max_s", "part_bytes_max")
    @classmethod
    def _reaches_its_start(cls, value: float, info: ValidationInfo) -> float:
        start = str(info.field_name).replace("_max", "")
        least = info.data.get(start)
        if least is not None and value < least:
            raise PydanticCustomError(
                _RELATION, "at least {start}, which is {least}", {"start": start, "least": least}
            )
        return value

    @field_validator("replay_bytes", "part_bytes_max")
    @classmethod
    def _fits_into_memory(cls, value: int, info: ValidationInfo) -> int:
        bound = info.data.get("body_memory_bytes")
        if bound is not None and value > bound:
            raise PydanticCustomError(
                _RELATION, "at most body_memory_bytes, which is {bound}", {"bound": bound}
            )
        return value


def from_flags() -> list[str]:
    """The names of settings that a flag or a variable can set: all but FILE_ONLY."""
    return [name for name in Settings.model_fields if name not in FILE_ONLY]


def flag_of(name: str) -> str:
    """The flag that sets `name`, such as `--log-format`."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """The environment variable that sets `name`, such as `AOSD_LOG_FORMAT`."""
    return ENVIRONMENT_PREFIX + name.upper()


def is_repeatable(name: str) -> bool:
    """Whether `name` takes several values."""
    return name not in FILE_ONLY and get_origin(Settings.model_fields[name].annotation) is tuple


def is_secret(name: str) -> bool:
    """Whether values of `name` must never be shown."""
    if name in FILE_ONLY:
        return True
    annotation = Settings.model_fields[name].annotation
    return any(get_args(inner)[:1] == (SecretStr,) for inner in get_args(annotation))


def kind_of(name: str, *, of_each: bool = False) -> str:
    """What a value of `name` has to be, in words, or each value of a repeatable one."""
    field = Settings.model_fields[name]
    metadata = [] if of_each else list(field.metadata)
    # `X | None` and `tuple[X, ...]` keep what was said of X one level down.
    metadata += [said for inner in get_args(field.annotation) for said in _metadata(inner)]
    return next(said.words for said in metadata if isinstance(said, Kind))


def default_of(name: str) -> str:
    """The default of `name` as it would be written on the command line; "" for none."""
    default = Settings.model_fields[name].default
    if default is None:
        return ""
    if isinstance(default, tuple):
        return " ".join(default)
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Path):
        return f"./{default}"
    return str(default)


def _metadata(annotated: object) -> Iterable[object]:
    return getattr(annotated, "__metadata__", ())


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
    if name in FILE_ONLY and error["type"] != _RELATION:
        raise ConfigurationError(f"{origins[name]}: {explain(error)}")
    origin = origins.get(name, f"the default of {flag_of(name)}")
    if error["type"] == _RELATION:
        right = error["msg"]
    else:
        right = kind_of(name, of_each=len(error["loc"]) > 1)
        if error["type"] == _ENDPOINT:
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
