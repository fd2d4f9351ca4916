"""Submits three jobs over AMQP, prints the answers, and prints how the jobs end. See docs/asyncapi.yaml."""

import json
import os
import pathlib
import sys
import time
import urllib.parse
import urllib.request
import uuid

import pika

TEXTS = ["It will rain tomorrow.", "Umbrellas are sold out.", 'print("hello, world")']
TIMEOUT_SECONDS = 60


def read_suite():
    """What `npm start` in the repository wrote about the suite that runs here; SLUICE_RUN_FILE names another file."""
    usual = pathlib.Path(__file__).resolve().parents[2] / ".local" / "run.json"
    try:
        return json.loads(pathlib.Path(os.environ.get("SLUICE_RUN_FILE", usual)).read_text())
    except FileNotFoundError:
        sys.exit("No suite runs here: start one by `npm start` in the repository.")


def register_producer(suite, user):
    """Lets a user of the broker submit jobs for the demo tenant. An operator does this once for each service."""
    request = urllib.request.Request(
        f"{suite['url']}/v1/admin/producers/{urllib.parse.quote(user, safe='')}",
        method="PUT",
        data=json.dumps({"tenantId": suite["demo"]["tenantId"]}).encode(),
        headers={"authorization": f"Bearer {suite['adminKey']}", "content-type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


class Progress:
    """Which submissions were answered, and which jobs have ended."""

    def __init__(self):
        self.unanswered = len(TEXTS)
        self.open = set()
        self.ended = set()

    @property
    def done(self):
        return self.unanswered == 0 and not self.open

    def on_reply(self, channel, method, properties, body):
        answer = json.loads(body)
        # A problem document (RFC 9457): its `code` is stable, `retryable` says whether to try again.
        if properties.type != "job.accepted.reply.v1":
            sys.exit(f"{properties.correlation_id} was refused: {answer['code']}. {answer['detail']}")
        print(f"{properties.correlation_id} is job {answer['id']}, {answer['state']}")
        self.unanswered -= 1
        if answer["id"] not in self.ended:
            self.open.add(answer["id"])

    def on_event(self, channel, method, properties, body):
        data = json.loads(body)["data"]
        # Jobs that others submit for the tenant are heard of as well, and an event may come twice.
        if data["state"] == "queued":
            return
        self.ended.add(data["jobId"])
        if data["jobId"] in self.open:
            self.open.remove(data["jobId"])
            tokens = data.get("usage", {}).get("inputTokens", 0)
            print(f"job {data['jobId']} has {data['state']}: {tokens} input tokens")


def own_queue(channel, on_message):
    """Consumes a queue of this program's own, which goes away with it; returns its name."""
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_consume(queue, on_message, auto_ack=True)
    return queue


def submit(channel, user, reply_to, index, text):
    job = {
        "model": "use-lite-en" if index < 2 else "guesslang",
        "input": text,
        "metadata": {"example": "python"},
    }
    properties = pika.BasicProperties(
        # Kept with the order, invoice or mail that the job is for: sent again after a crash, it names the same job.
        message_id=f"example-{uuid.uuid4()}",
        user_id=user,
        reply_to=reply_to,
        correlation_id=f"text {index + 1}",
        type="job.submit.v1",
        content_type="application/json",
        delivery_mode=pika.DeliveryMode.Persistent,
    )
    # With confirms on, it returns when the broker has the message on disk, and raises when no queue took it.
    channel.basic_publish("ingest", "job", json.dumps(job).encode(), properties, mandatory=True)


def main():
    suite = read_suite()
    url = suite["servers"]["SLUICE_RABBITMQ_URL"]
    user = urllib.parse.unquote(urllib.parse.urlsplit(url).username or "guest")
    register_producer(suite, user)

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    progress = Progress()
    # Bound before anything is submitted, so that no end is missed.
    replies = own_queue(channel, progress.on_reply)
    events = own_queue(channel, progress.on_event)
    channel.queue_bind(events, "events", f"job.*.{suite['demo']['tenantId']}")

    for index, text in enumerate(TEXTS):
        submit(channel, user, replies, index, text)

    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not progress.done:
        if time.monotonic() > deadline:
            sys.exit("Not every job ended in time.")
        connection.process_data_events(time_limit=1)
    connection.close()


if __name__ == "__main__":
    main()
