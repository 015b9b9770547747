"""What the tests ask of minio-py."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import minio
from lines import serve
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject

endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
client = minio.Minio(
    endpoint.netloc,
    access_key=os.environ["AWS_ACCESS_KEY_ID"],
    secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    secure=endpoint.scheme == "https",
)
if os.environ.get("ADDRESSING_STYLE") == "virtual":
    client.enable_virtual_style_endpoint()
bucket = os.environ["BUCKET"]


def version():
    return minio.__version__


def make_bucket():
    client.make_bucket(bucket_name=bucket)
    named = {each.name for each in client.list_buckets()}
    return client.bucket_exists(bucket_name=bucket) and bucket in named


def remove_bucket():
    client.remove_bucket(bucket_name=bucket)


def put(file, key):
    with Path(file).open("rb") as body:
        size = os.fstat(body.fileno()).st_size
        client.put_object(bucket_name=bucket, object_name=key, data=body, length=size)


def get(key, file):
    answer = client.get_object(bucket_name=bucket, object_name=key)
    try:
        with Path(file).open("wb") as target:
            target.writelines(answer.stream(1024 * 1024))
    finally:
        answer.close()
        answer.release_conn()


def upload(file, key):
    client.fput_object(bucket_name=bucket, object_name=key, file_path=file)


def download(key, file):
    client.fget_object(bucket_name=bucket, object_name=key, file_path=file)


def listing(prefix):
    listed = client.list_objects(bucket_name=bucket, prefix=prefix, recursive=True)
    return [each.object_name for each in listed]


def delete(keys):
    if len(keys) == 1:
        client.remove_object(bucket_name=bucket, object_name=keys[0])
    else:
        doomed = [DeleteObject(key) for key in keys]
        errors = list(client.remove_objects(bucket_name=bucket, delete_object_list=doomed))
        assert not errors, errors


def copy(source, key):
    client.copy_object(
        bucket_name=bucket,
        object_name=key,
        source=CopySource(bucket_name=bucket, object_name=source),
    )


def presign(key):
    return client.presigned_get_object(bucket_name=bucket, object_name=key)


def presign_put(key):
    return client.presigned_put_object(bucket_name=bucket, object_name=key)


def put_with_metadata(file, key, metadata, content_type):
    client.fput_object(
        bucket_name=bucket,
        object_name=key,
        file_path=file,
        metadata=metadata,
        content_type=content_type,
    )


def metadata(key):
    told = client.stat_object(bucket_name=bucket, object_name=key)
    prefix = "x-amz-meta-"
    own = {
        name.lower().removeprefix(prefix): value
        for name, value in told.metadata.items()
        if name.lower().startswith(prefix)
    }
    return {"metadata": own, "content_type": told.content_type}


def missing(key):
    try:
        client.stat_object(bucket_name=bucket, object_name=key)
    except minio.error.S3Error as error:
        return error.code
    return None


serve(globals())
