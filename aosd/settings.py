"""All settings of the daemon: one frozen object, validated once, before anything listens.

A setting comes from a flag, else from the environment (`AOSD_` and its name in capitals),
else from the TOML file that `config` names, else it has its default.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from aosd.identity_tables import IdentityTable, first_twice
from aosd.model.node import Credentials
from aosd.settings_kinds import (
    DAY_S,
    GIB,
    MIB,
    AccessKey,
    Bytes,
    Count,
    DirectoryPath,
    Domain,
    Endpoint,
    Endpoints,
    FilePath,
    GraceSeconds,
    Kind,
    LogFormat,
    LongSeconds,
    NodeNames,
    OperatorToken,
    PartBytes,
    PlainDoor,
    Providers,
    Rate,
    Replicas,
    RootAccessKey,
    RootSecretKey,
    Seconds,
    SecretKey,
    SinglePutBytes,
    Switch,
    Tables,
    Zone,
)

ENVIRONMENT_PREFIX = "AOSD_"
OWN_REQUESTS = 96
"""Room for those that the daemon itself has under way at one node: 72 if all comes together."""

# What no flag and no variable can hold.
FILE_ONLY = frozenset({"identities"})

RELATION_ERROR = "aosd_relation"


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
        7 * DAY_S, description="Time between two sweeps of everything, without an occasion."
    )
    journal_keep_s: LongSeconds = Field(7 * DAY_S, description="How long deletes are remembered.")
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
        description="Requests that may be under way at once, past it 503 SlowDown; three quarters "
        "of it by one client, and as many, or at least 96, waiting for one node.",
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

    @property
    def most_requests_of_one(self) -> int:
        """How many of `max_requests` one client's address may have: three quarters, at least 1.

        What is left is for the others.
        """
        return max(1, self.max_requests * 3 // 4)

    @property
    def most_waiting_for_one(self) -> int:
        """How many requests may wait for one node: as many, and no fewer than OWN_REQUESTS.

        To begin, to compare and to mend, the daemon asks for a good deal at once itself.
        """
        return max(OWN_REQUESTS, self.most_requests_of_one)

    @field_validator("node_secret_key", "secret_key")
    @classmethod
    def _goes_with_access_key(
        cls, value: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        other = str(info.field_name).replace("secret_key", "access_key")
        if other in info.data and (info.data[other] is None) != (value is None):
            raise PydanticCustomError(
                RELATION_ERROR, "given together with {other} or not at all", {"other": other}
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
                RELATION_ERROR,
                "of an access key each, and {twice} is there twice",
                {"twice": twice},
            )
        return value

    @field_validator("breaker_backoff_max_s", "part_bytes_max")
    @classmethod
    def _reaches_its_start(cls, value: float, info: ValidationInfo) -> float:
        start = str(info.field_name).replace("_max", "")
        least = info.data.get(start)
        if least is not None and value < least:
            raise PydanticCustomError(
                RELATION_ERROR,
                "at least {start}, which is {least}",
                {"start": start, "least": least},
            )
        return value

    @field_validator("replay_bytes", "part_bytes_max")
    @classmethod
    def _fits_into_memory(cls, value: int, info: ValidationInfo) -> int:
        bound = info.data.get("body_memory_bytes")
        if bound is not None and value > bound:
            raise PydanticCustomError(
                RELATION_ERROR, "at most body_memory_bytes, which is {bound}", {"bound": bound}
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
