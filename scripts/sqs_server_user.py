"""sqs_server_user.py ENDPOINT PID FILE: waits for MiniStack (process PID), makes an IAM user for ingest, writes FILE.

MiniStack does not check the signature of its root key "test", so the first calls need none.
"""

import json
import os
import re
import sys
import time
import urllib.parse
import urllib.request

endpoint, pid, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
REGION = "eu-central-1"
INGEST = ["ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes", "GetQueueUrl"]
# AWS has no permissions of these names: it takes the single call's. MiniStack asks for the batch call's own.
INGEST += ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"]


def iam(**parameters: str) -> str:
    request = urllib.request.Request(
        endpoint + "/",
        urllib.parse.urlencode({"Version": "2010-05-08", **parameters}).encode(),
        {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, "
            "SignedHeaders=host, Signature=0",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read().decode()


def user(name: str, actions: list[str]) -> dict[str, str]:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    iam(Action="CreateUser", UserName=name)
    iam(Action="PutUserPolicy", UserName=name, PolicyName="sqs", PolicyDocument=json.dumps(policy))
    key = iam(Action="CreateAccessKey", UserName=name)
    return {
        variable: re.search(f"<{tag}>([^<]+)</{tag}>", key)[1]
        for variable, tag in (("AWS_ACCESS_KEY_ID", "AccessKeyId"), ("AWS_SECRET_ACCESS_KEY", "SecretAccessKey"))
    }


deadline = time.monotonic() + 30
while True:
    try:
        health = json.load(urllib.request.urlopen(endpoint + "/_ministack/health", timeout=5))
        break
    except OSError:
        if time.monotonic() > deadline or not os.path.exists(f"/proc/{pid}"):
            sys.exit(1)
        time.sleep(0.05)
if health["auth"] != "enabled":
    sys.exit("error: MiniStack does not check signatures")

environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": REGION}
environment |= user("ingest", [f"sqs:{action}" for action in INGEST])
with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
    file.writelines(f"{name}={value}\n" for name, value in environment.items())
