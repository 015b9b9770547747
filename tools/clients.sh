#!/bin/sh
# Installs the S3 clients that tests/integration/clients runs: those from Debian where they are
# missing (only as root), those from PyPI and npm in .cache/clients, out of everybody's way.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
into=.cache/clients

missing=
need() { # program, package
    command -v "$1" >/dev/null || missing="$missing $2"
}
PATH=$PATH:/usr/sbin:/sbin
need rclone rclone
need s3cmd s3cmd
need s3fs s3fs
need fusermount3 fuse3
need restic restic
need docker-registry docker-registry
# Buckets as subdomains of localhost: it makes the system's resolver know them.
getent hosts bucket.s3.localhost >/dev/null || missing="$missing libnss-myhostname"

if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "the client matrix needs these first:$missing" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # A service that its package starts is none of the tests' business.
    RUNLEVEL=1 apt-get install -y -q --no-install-recommends $missing
fi

wanted="$("$python" -VV; cat tools/clients/*)"
if [ "$(cat $into/made-from 2>/dev/null)" = "$wanted" ]; then exit 0; fi

echo "fetching S3 clients: this takes a minute"
rm -rf $into
mkdir -p $into/node
for each in sdks awscli; do
    "$python" -m venv $into/$each
    $into/$each/bin/python -m pip install -q --requirement tools/clients/$each.txt
done
cp tools/clients/package.json $into/node/
PATH="$PWD/$into/sdks/bin:$PATH"
# Node.js trusts a list of its own; the system may know of more.
system=/etc/ssl/certs/ca-certificates.crt
[ -n "${NODE_EXTRA_CA_CERTS:-}" ] || [ ! -f $system ] || export NODE_EXTRA_CA_CERTS=$system
(cd $into/node && npm install --silent --no-audit --no-fund --no-package-lock --fetch-retries=2)
printf '%s\n' "$wanted" > $into/made-from
