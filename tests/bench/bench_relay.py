"""The relay beside a loop by hand over the same library: read the stream as a group, send, acknowledge.

Each sends events of 4 KB from 200 accounts. The loops wait for each confirm, as who writes one does who wants to lose
nothing; of an order they know nothing, of an error nothing either. CPU is that of relay or loop alone.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import kombu
import redis
import urllib3
from report import interleaved, print_table
from servers.moto import ACCOUNT, REGION, MotoServer
from servers.process import free_ports
from servers.rabbitmq import RabbitServer
from servers.redis import RedisServer
from sink_stands import event

from ingest.settings import Settings
from ingest.wiring import build

ROUNDS = 4
STREAM = "mailsluice:{s0}:events"
BATCH = 100
Send = Callable[[list[bytes]], None]
_ENDPOINT = """\
import sys, threading
from servers.webhook import WebhookServer
server = WebhookServer(port=int(sys.argv[1])).start()
print("ready", flush=True)
sys.stdin.read()
"""


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        state = stack.enter_context(RedisServer(folder / "redis"))
        rows = [row(state, *stack.enter_context(opened(folder))) for opened in (webhook, rabbitmq, sqs)]
    print_table("Relay", ("sink", "relay, per CPU s", "per s", "by hand, per CPU s", "per s", "share"), rows)


def row(state: RedisServer, title: str, url: str, count: int, send: Send) -> tuple[str, ...]:
    events = [event(n, f"acc-{n % 200}", text="x" * 4000) for n in range(count)]
    client = redis.Redis.from_url(state.url())

    def filled(run: Callable[[], None]) -> Callable[[int], None]:
        def go(_: int) -> None:
            run()
            assert client.xpending(STREAM, "relay")["pending"] == 0

        return go

    with client.pipeline(transaction=False) as flight:
        flight.flushall()
        for told in events:
            flight.xadd(f"{STREAM}:kept", {"id": told.id, "type": told.type, "event": told.json})
        flight.execute()
    services = build(Settings(redis_url=state.url(), sink_url=url, log_level="error"))

    def fill() -> None:
        client.copy(f"{STREAM}:kept", STREAM, replace=True)

    def ours() -> None:
        fill()
        services.__dict__.pop("relays", None)
        assert services.relays[0].run(once=True).sent == count

    def by_hand() -> None:
        fill()
        client.xgroup_create(STREAM, "relay", id="0")
        while reply := client.xreadgroup("relay", "c", {STREAM: ">"}, count=BATCH):
            entries = reply[0][1]
            send([fields[b"event"] for _, fields in entries])
            client.xack(STREAM, "relay", *(position for position, _ in entries))

    costs = interleaved({"ours": filled(ours), "by hand": filled(by_hand)}, ROUNDS)
    services.close()
    mine, bare = costs["ours"], costs["by hand"]
    return (
        title,
        f"{count / mine.cpu_s:,.0f}",
        f"{count / mine.wall_s:,.0f}",
        f"{count / bare.cpu_s:,.0f}",
        f"{count / bare.wall_s:,.0f}",
        f"{bare.cpu_s / mine.cpu_s:.0%}",
    )


@contextmanager
def webhook(_: Path) -> Iterator[tuple[str, str, int, Send]]:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}/"
    server = subprocess.Popen(
        [sys.executable, "-c", _ENDPOINT, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    server.stdout.readline()
    pool = urllib3.PoolManager()

    def send(bodies: list[bytes]) -> None:
        for body in bodies:
            answer = pool.request("POST", url, body=body, headers={"Content-Type": "application/cloudevents+json"})
            assert answer.status == 204

    yield "webhook (urllib3)", url, 1000, send
    server.communicate(b"")


@contextmanager
def rabbitmq(folder: Path) -> Iterator[tuple[str, str, int, Send]]:
    queue = secrets.token_hex(6)
    with RabbitServer(folder / "rabbitmq") as server:
        connection = kombu.Connection(server.url, transport_options={"confirm_publish": True})
        producer = kombu.Producer(connection.channel())

        def send(bodies: list[bytes]) -> None:
            for body in bodies:
                producer.publish(
                    body,
                    routing_key=queue,
                    mandatory=True,
                    delivery_mode=2,
                    content_type="application/cloudevents+json",
                )

        build(Settings(sink_url=f"{server.url}?queue={queue}")).sink.ping()  # declares it
        yield "RabbitMQ (kombu)", f"{server.url}?queue={queue}", 1000, send
        connection.release()


@contextmanager
def sqs(folder: Path) -> Iterator[tuple[str, str, int, Send]]:
    with MotoServer(folder / "moto") as server:
        variables: Mapping[str, str] = {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AK",
            "AWS_SECRET_ACCESS_KEY": "SK",
        }
        os.environ.update(variables)
        client: Any = boto3.client("sqs")
        queue = client.create_queue(QueueName="mail")["QueueUrl"]

        def send(bodies: list[bytes]) -> None:
            for at in range(0, len(bodies), 10):
                entries = [{"Id": str(n), "MessageBody": body.decode()} for n, body in enumerate(bodies[at : at + 10])]
                assert not client.send_message_batch(QueueUrl=queue, Entries=entries).get("Failed")

        yield "SQS (boto3), at moto", f"sqs://{ACCOUNT}/mail", 200, send


if __name__ == "__main__":
    main()
