"""How objects lie in S3: what goes over the wire, what SeaweedFS keeps of it, and what refusals advise."""

from __future__ import annotations

import hashlib
import io

import pytest
from contract.test_s3_store import OK, answering
from objects import key_of, put, s3_store
from servers.seaweed import SeaweedServer

from ingest.adapters.s3_store import AtRest
from ingest.errors import StoreRefused, StoreUnavailable

KMS = AtRest(encryption="aws:kms", kms_key_id="alias/mail", storage_class="STANDARD_IA", tags={"team": "R&D / Süd"})
TAGGING = "team=R%26D%20%2F%20S%C3%BCd"
ASKED = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-storage-class",
         "x-amz-tagging")  # fmt: skip


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_encryption_class_and_tags_go_with_every_object_and_are_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(monkeypatch, OK, OK, at_rest=KMS) as (store, seen):
        put(store, b"raw", uidl="1")
        put(store, b"attachment")
    for headers in map(lower, seen):
        assert [headers[name] for name in ASKED] == ["aws:kms", "alias/mail", "STANDARD_IA", TAGGING]
        assert set(ASKED) <= set(headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";"))


@pytest.mark.parametrize("at_rest", [AtRest(), KMS])
def test_an_acl_is_never_sent(monkeypatch: pytest.MonkeyPatch, at_rest: AtRest) -> None:
    with answering(monkeypatch, OK, at_rest=at_rest) as (store, seen):
        put(store, b"hello", uidl="1")
    assert not [name for name in lower(seen[0]) if "acl" in name or "grant" in name]


def test_nothing_is_asked_for_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(monkeypatch, OK) as (store, seen):
        put(store, b"hello")
    assert not set(ASKED) & set(lower(seen[0]))


def test_seaweed_keeps_tags_class_and_encryption(seaweed_server: SeaweedServer, s3_store_url: str) -> None:
    tags = {"team": "billing", "cost centre": "a/b=c+d@e: é", "empty": ""}
    at_rest = AtRest(encryption="AES256", storage_class="STANDARD_IA", tags=tags)
    store = s3_store(s3_store_url, at_rest=at_rest)
    assert not put(store, b"hello").existed
    bucket, _, prefix = s3_store_url.removeprefix("s3://").partition("/")
    where = {"Bucket": bucket, "Key": f"{prefix}/{key_of(b'hello')}"}
    client = seaweed_server.client()
    kept = client.get_object_tagging(**where)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in kept} == tags
    found = client.head_object(**where)
    assert (found["StorageClass"], found["ServerSideEncryption"]) == ("STANDARD_IA", "AES256")
    with store.open(key_of(b"hello")) as reader:
        assert reader.read() == b"hello"
    store.close()


def test_a_class_that_the_store_lacks_is_refused_with_what_to_do(s3_store_url: str) -> None:
    store = s3_store(s3_store_url, at_rest=AtRest(storage_class="NONE_SUCH"))
    with pytest.raises(StoreRefused, match=r"InvalidStorageClass.*MAILSLUICE_S3_STORAGE_CLASS"):
        put(store, b"hello")
    store.close()


@pytest.mark.parametrize(
    ("status", "code", "said", "advice"),
    [
        (400, "KMS.DisabledException", "key is disabled", "enable the KMS key"),
        (400, "KMS.NotFoundException", "Invalid keyId", "MAILSLUICE_S3_KMS_KEY_ID"),
        (400, "KMS.KMSInvalidStateException", "key is pending deletion", "cancel its deletion"),
        (403, "AccessDenied", "not authorized to perform: kms:GenerateDataKey on", "allow kms:GenerateDataKey"),
        (403, "AccessDenied", "not authorized to perform: s3:PutObjectTagging on", "allow s3:PutObjectTagging"),
        (403, "AccessDenied", "Access Denied", "allow s3:PutObject, s3:GetObject"),
        (400, "InvalidTag", "The TagValue you have provided is invalid", "MAILSLUICE_S3_TAGS"),
    ],
)
def test_what_is_refused_says_in_one_line_what_to_do(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, said: str, advice: str
) -> None:
    with (
        answering(monkeypatch, (status, code, {"said": said}), at_rest=KMS) as (store, _),
        pytest.raises(StoreRefused, match=advice) as caught,
    ):
        put(store, b"hello")
    assert code in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", ["ThrottlingException", "KMS.ThrottlingException", "KMS.DependencyTimeoutException"])
def test_a_kms_that_is_busy_is_a_reason_to_try_again(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    with (
        answering(monkeypatch, (400, code, {}), at_rest=KMS) as (store, seen),
        pytest.raises(StoreUnavailable, match=code),
    ):
        put(store, b"hello")
    assert len(seen) == 1


def test_a_store_that_lacks_what_is_asked_for_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = (501, "NotImplemented", {})
    with (
        answering(monkeypatch, lacking, lacking, at_rest=KMS) as (store, _),
        pytest.raises(StoreRefused, match=r"MAILSLUICE_S3_\*"),
    ):
        put(store, b"hello")


def test_an_empty_body_is_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = hashlib.sha256(b"").digest()
    with answering(monkeypatch, OK) as (store, seen):
        store.put("raw/k", io.BytesIO(), size=0, sha256=nothing, content_type="a/b", metadata={})
    assert seen[0]["Content-Length"] == "0"
    assert seen[0]["X-Amz-Content-SHA256"] == nothing.hex()
