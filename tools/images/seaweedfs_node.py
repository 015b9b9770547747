"""Entry point of the node image that is made around SeaweedFS: takes MinIO's words.

`server /data` with MINIO_ROOT_USER and MINIO_ROOT_PASSWORD starts an S3 server on port 9000
whose data lies in /data, so that the project's compose file runs where there is no MinIO.
"""

import json
import os
import pathlib
import sys

PORTS = {"master": 9333, "volume": 8080, "filer": 8888, "s3": 9000}


def main(arguments: list[str]) -> None:
    """Become the server."""
    if len(arguments) != 2 or arguments[0] != "server":
        sys.exit("say: server FOLDER")
    data = pathlib.Path(arguments[1])
    identity = {
        "name": "root",
        "credentials": [
            {
                "accessKey": os.environ["MINIO_ROOT_USER"],
                "secretKey": os.environ["MINIO_ROOT_PASSWORD"],
            }
        ],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    identities = data / "identities.json"
    identities.write_text(json.dumps({"identities": [identity]}))
    (data / "weed").mkdir(exist_ok=True)
    os.environ["WEED_MASTER_VOLUME_GROWTH_COPY_1"] = "1"
    os.execv(  # noqa: S606 — becoming the server is what this is for
        "/weed",
        [
            "weed",
            "server",
            f"-dir={data}/weed",
            "-ip=127.0.0.1",
            "-ip.bind=0.0.0.0",
            "-s3",
            *(f"-{name}.port={port}" for name, port in PORTS.items()),
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={identities}",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-s3.autoCreateBucket=false",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=0",
            "-volume.preStopSeconds=0",
            "-debug.port=6060",
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
