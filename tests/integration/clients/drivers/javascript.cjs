// What the tests ask of the AWS SDK for JavaScript v3: a line of JSON in, a line of JSON out.
"use strict";

const fs = require("node:fs");
const readline = require("node:readline");
const { pipeline } = require("node:stream/promises");
const {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  PutObjectCommand,
  S3Client,
  paginateListObjectsV2,
} = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");
const { getSignedUrl } = require("@aws-sdk/s3-request-presigner");

const client = new S3Client({});
const Bucket = process.env.BUCKET;

const does = {
  version() {
    return require("@aws-sdk/client-s3/package.json").version;
  },

  async make_bucket() {
    await client.send(new CreateBucketCommand({ Bucket }));
    const told = await client.send(new ListBucketsCommand({}));
    return told.Buckets.some((each) => each.Name === Bucket);
  },

  async remove_bucket() {
    await client.send(new DeleteBucketCommand({ Bucket }));
  },

  async put(file, Key) {
    const Body = fs.readFileSync(file);
    await client.send(new PutObjectCommand({ Bucket, Key, Body }));
  },

  async put_stream(file, Key) {
    const Body = fs.createReadStream(file);
    const ContentLength = fs.statSync(file).size;
    await client.send(new PutObjectCommand({ Bucket, Key, Body, ContentLength }));
  },

  async get(Key, file) {
    const told = await client.send(new GetObjectCommand({ Bucket, Key }));
    await pipeline(told.Body, fs.createWriteStream(file));
  },

  async upload(file, Key) {
    const Body = fs.createReadStream(file);
    await new Upload({ client, params: { Bucket, Key, Body } }).done();
  },

  download(key, file) {
    return does.get(key, file);
  },

  async listing(Prefix) {
    const keys = [];
    for await (const page of paginateListObjectsV2({ client }, { Bucket, Prefix })) {
      for (const each of page.Contents ?? []) keys.push(each.Key);
    }
    return keys;
  },

  async delete(keys) {
    if (keys.length === 1) {
      await client.send(new DeleteObjectCommand({ Bucket, Key: keys[0] }));
    } else {
      const Objects = keys.map((Key) => ({ Key }));
      const told = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
      if (told.Errors) throw new Error(JSON.stringify(told.Errors));
    }
  },

  async copy(source, Key) {
    const CopySource = `${Bucket}/${encodeURIComponent(source)}`;
    await client.send(new CopyObjectCommand({ Bucket, Key, CopySource }));
  },

  presign(Key) {
    return getSignedUrl(client, new GetObjectCommand({ Bucket, Key }));
  },

  presign_put(Key) {
    return getSignedUrl(client, new PutObjectCommand({ Bucket, Key }));
  },

  async put_with_metadata(file, Key, Metadata, ContentType) {
    const Body = fs.readFileSync(file);
    await client.send(new PutObjectCommand({ Bucket, Key, Body, Metadata, ContentType }));
  },

  async metadata(Key) {
    const told = await client.send(new HeadObjectCommand({ Bucket, Key }));
    return { metadata: told.Metadata, content_type: told.ContentType };
  },

  async missing(Key) {
    try {
      await client.send(new HeadObjectCommand({ Bucket, Key }));
    } catch (error) {
      return error.name;
    }
    return null;
  },
};

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    let answer;
    try {
      answer = { value: (await does[asked.do](...asked.with)) ?? null };
    } catch (error) {
      answer = { error: `${error.name}: ${error.message}` };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
})();
