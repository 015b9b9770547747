#!/bin/sh
# Makes the virtual environment .venv in the project folder, with aosd as an editable install.
# It is left alone while pyproject.toml and setup.py are what they were. Arguments are extras that
# one target alone needs (see pyproject.toml); they are added to it.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

wanted="$("$python" -VV; cat pyproject.toml setup.py)"
make_it() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        { echo "aosd needs Python 3.11 or newer; say which with PYTHON=…" >&2; exit 1; }
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        # Debian has it in a package of its own.
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv
        else
            echo "Python's venv is missing: install it first (Debian: apt install python3-venv)" >&2
            exit 1
        fi
    fi

    echo "making .venv: this takes a minute"
    rm -rf .venv
    "$python" -m venv .venv
    .venv/bin/python -m pip install -q --editable '.[embedded,test,dev]'
    printf '%s\n' "$wanted" > .venv/made-from
}

[ "$(cat .venv/made-from 2>/dev/null)" = "$wanted" ] || make_it
for extra; do
    [ ! -e ".venv/made-with-$extra" ] || continue
    .venv/bin/python -m pip install -q --editable ".[$extra]"
    touch ".venv/made-with-$extra"
done
