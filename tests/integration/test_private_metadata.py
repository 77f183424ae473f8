"""Beside an object stands nothing of what its mail says: no address, no subject, no filename."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from house import PASSWORD, house
from objects import s3_store
from servers.seaweed import SeaweedServer

CANARIES = ("sender-canary", "receiver-canary", "subject-canary", "filename-canary", "messageid-canary", "type-canary")


def test_neither_keys_nor_metadata_nor_headers_of_objects_hold_what_a_mail_says(
    seaweed_server: SeaweedServer, s3_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)
    made = EmailMessage()
    made["From"], made["To"] = "sender-canary@example.com", "receiver-canary@example.com"
    made["Subject"], made["Message-ID"] = "subject-canary", "<messageid-canary@example.com>"
    made["Status"] = "RO"  # so that its identity is remembered, too
    made.set_content("see attached\n")
    made.add_attachment(b"content", maintype="application", subtype="type-canary", filename="filename-canary.pdf")
    store = s3_store(s3_store_url)
    with house(made.as_bytes().replace(b"\n", b"\r\n")) as h:
        h.store = store  # type: ignore[assignment]  # the same port
        assert h.poll().events == 1
        assert all(canary in str(h.events()) for canary in CANARIES), "the event has it all"
    bucket, _, prefix = s3_store_url.removeprefix("s3://").partition("/")
    client = seaweed_server.client()
    listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")["Contents"]
    assert sorted(item["Key"].split("/")[-4] for item in listed) == ["attachments", "identity", "raw"]
    for item in listed:
        found = client.head_object(Bucket=bucket, Key=item["Key"])
        beside = f"{item['Key']} {found['Metadata']} {found['ResponseMetadata']['HTTPHeaders']}"
        assert not [canary for canary in CANARIES if canary in beside]
        assert not found["Metadata"] or set(found["Metadata"]) == {"account", "uidl", "event-id", "first-seen"}
    store.close()
