"""What the tests ask of boto3: a line of JSON in, a line of JSON out."""

import os
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from lines import serve

style = os.environ.get("ADDRESSING_STYLE")
s3 = boto3.client("s3", config=Config(s3={"addressing_style": style}) if style else None)
bucket = os.environ["BUCKET"]


def version():
    return boto3.__version__


def make_bucket():
    s3.create_bucket(Bucket=bucket)
    return bucket in {each["Name"] for each in s3.list_buckets()["Buckets"]}


def remove_bucket():
    s3.delete_bucket(Bucket=bucket)


def put(file, key):
    with Path(file).open("rb") as body:
        s3.put_object(Bucket=bucket, Key=key, Body=body)


def get(key, file):
    answer = s3.get_object(Bucket=bucket, Key=key)
    with Path(file).open("wb") as target:
        target.writelines(answer["Body"].iter_chunks(1024 * 1024))


def upload(file, key):
    s3.upload_file(file, bucket, key)


def download(key, file):
    s3.download_file(bucket, key, file)


def listing(prefix):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [each["Key"] for page in pages for each in page.get("Contents", [])]


def delete(keys):
    if len(keys) == 1:
        s3.delete_object(Bucket=bucket, Key=keys[0])
    else:
        told = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
        assert "Errors" not in told, told


def copy(source, key):
    s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": source})


def copy_in_parts(source, key):
    s3.copy({"Bucket": bucket, "Key": source}, bucket, key)


def presign(key):
    return signer().generate_presigned_url("get_object", {"Bucket": bucket, "Key": key})


def presign_put(key):
    return signer().generate_presigned_url("put_object", {"Bucket": bucket, "Key": key})


def presign_by_default(key):
    return s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key})


def signer():
    styles = {"addressing_style": style} if style else {}
    return boto3.client("s3", config=Config(signature_version="s3v4", s3=styles))


def put_with_metadata(file, key, metadata, content_type):
    with Path(file).open("rb") as body:
        s3.put_object(
            Bucket=bucket, Key=key, Body=body, Metadata=metadata, ContentType=content_type
        )


def metadata(key):
    told = s3.head_object(Bucket=bucket, Key=key)
    return {"metadata": told["Metadata"], "content_type": told["ContentType"]}


def missing(key):
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


serve(globals())
