"""Writes docs/settings.md from the settings themselves; `--check` only says if it is stale."""

from __future__ import annotations

import sys
from pathlib import Path

from aosd.settings import (
    FILE_ONLY,
    Settings,
    default_of,
    flag_of,
    is_repeatable,
    is_secret,
    kind_of,
    variable_of,
)

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

_HEAD = """\
<!-- Generated from aosd/settings.py by `make generate`: change that, not this. -->

# Settings

Each setting (but for those that only the file can hold) is a flag of `twistd aosd`, an environment variable, and a name in the TOML file that `--config` (or `AOSD_CONFIG`) names. A flag beats the environment, the environment beats the file, the file beats the default.

All settings are checked once, before anything listens. A wrong one ends the start with one line that names the setting, its value and what would be right. So does a flag, or a name in the file, that is no setting; a variable that begins with `AOSD_` and is no setting is warned of in the log. A variable that is empty counts as not set.

Settings that may be given several times: repeat the flag, separate the values by white space in the environment, write a list in the file. Whichever of the three is used replaces the others' values and the default. The names carry their units: `_s` is seconds, `_bytes` is bytes.

```toml
# twistd -n aosd --config aosd.toml
http = ["tcp:3000:interface=127.0.0.1", "unix:/run/aosd.sock"]
nodes = ["static:/etc/aosd/nodes.toml"]
log_format = "json"
body_memory_bytes = 536870912
```

Who may use the S3 door, and how `identities` are written: [identities.md](identities.md).

A flag can be seen by everyone who can list the machine's processes: secrets are better given in the environment or in the file.

| setting | what it is for | has to be | default |
|---|---|---|---|
"""


def reference() -> str:
    """The whole page."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = f"`{default_of(name)}`" if default_of(name) else "none"
        notes = " Repeatable." if is_repeatable(name) else ""
        notes += " Never shown or logged." if is_secret(name) else ""
        how = "in the file only"
        if name not in FILE_ONLY:
            how = f"`{flag_of(name)}`<br>`{variable_of(name)}`"
        rows.append(
            f"| **{name}**<br>{how} | {field.description}{notes} | {kind_of(name)} | {default} |\n"
        )
    return _HEAD + "".join(rows)


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    fresh = reference()
    if arguments == ["--check"]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == fresh:
            return 0
        print("docs/settings.md is stale: run `make generate`", file=sys.stderr)
        return 1
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
