#!/usr/bin/env python3
"""sqs_fill.py QUEUE: makes a queue on the SQS-compatible server at AWS_ENDPOINT_URL, sends it the lines of standard input,
prints its URL. For the demo's server only: it speaks as the server's root, whose signature that server does not check."""
import json
import os
import sys
import urllib.request

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]


def call(action: str, body: dict) -> dict:
    request = urllib.request.Request(ENDPOINT + "/", json.dumps(body).encode(), {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "AmazonSQS." + action,
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/sqs/aws4_request, "
                         "SignedHeaders=host, Signature=0",
    })
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


queue = call("CreateQueue", {"QueueName": sys.argv[1]})["QueueUrl"]
lines = sys.stdin.read().splitlines()
for start in range(0, len(lines), 10):
    entries = [{"Id": str(i), "MessageBody": line} for i, line in enumerate(lines[start:start + 10])]
    failed = call("SendMessageBatch", {"QueueUrl": queue, "Entries": entries}).get("Failed")
    if failed:
        sys.exit(f"{len(failed)} messages were not accepted")
print(queue)
