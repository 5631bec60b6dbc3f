"""moto, started by moto-server.sh, which says what it prints."""

import json
import logging
import os
import sys

import boto3
import requests
from moto.server import ThreadedMotoServer

logging.disable(logging.CRITICAL)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint = f"http://{host}:{port}"
root = {"endpoint_url": endpoint, "region_name": "eu-central-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
iam, sqs = boto3.client("iam", **root), boto3.client("sqs", **root)
iam.create_user(UserName="ingest")
# moto compares with "*" only.
policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
iam.put_user_policy(UserName="ingest", PolicyName="sqs", PolicyDocument=json.dumps(policy))
key = iam.create_access_key(UserName="ingest")["AccessKey"]
queue = sqs.create_queue(QueueName="signed")["QueueUrl"]
sqs.send_message(QueueUrl=queue, MessageBody="from boto3")
requests.post(f"{endpoint}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()
print("ready", endpoint, queue, key["AccessKeyId"], key["SecretAccessKey"], flush=True)
sys.stdin.read()
os._exit(0)
