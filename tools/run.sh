#!/bin/sh
# `make run`: in containers where a Docker Engine with compose answers, otherwise embedded.
set -eu
cd "$(dirname "$0")/.."

embedded() {
    echo "$1: running with three embedded nodes instead (data in ./aosd-data)"
    exec make --no-print-directory run-embedded
}

docker info >/dev/null 2>&1 || embedded "no Docker Engine answers"
if docker compose version >/dev/null 2>&1; then compose="docker compose"
elif docker-compose version >/dev/null 2>&1; then compose=docker-compose
else embedded "Docker Engine answers, but there is no docker compose"
fi

# The gateway isn't root in its container: it is given the socket's group.
DOCKER_GID=$(stat -c %g /var/run/docker.sock 2>/dev/null || echo 0)
export DOCKER_GID
$compose build gateway || embedded "the gateway's image can't be built"
image=${AOSD_NODE_IMAGE:-quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z}
docker image inspect "$image" >/dev/null 2>&1 || docker pull "$image" ||
    embedded "the nodes' image can't be had"
echo "running in containers: $compose up"
exec $compose up
