#!/bin/sh
# Installs what the integration tests need from Debian: only what is missing, and only as root.
set -eu

missing=
need() { # program, package
    command -v "$1" >/dev/null || missing="$missing $2"
}
PATH=$PATH:/usr/sbin:/sbin
need dockerd docker.io
need iptables iptables
need mmdebstrap mmdebstrap
need nginx nginx-light
need wrk wrk
need luajit luajit
need curl curl
docker compose version >/dev/null 2>&1 || need docker-compose docker-compose

[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "the integration tests need these first:$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# A service that its package starts is none of the tests' business.
RUNLEVEL=1 apt-get install -y -q --no-install-recommends $missing
