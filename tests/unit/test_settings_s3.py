"""How objects lie in S3, as settings: what is taken, and what is said of what is not."""

from __future__ import annotations

import json

import pytest

from ingest.errors import ConfigurationError
from ingest.settings import Settings


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"MAILSLUICE_S3_{name}", value)
    return Settings.load()


def test_how_objects_lie_is_taken_as_s3_spells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        ENCRYPTION="AWS:KMS",
        KMS_KEY_ID="arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab",
        STORAGE_CLASS="glacier_ir",
        TAGS='{"team": "Süd 1", "+-=._:/@": ""}',
    )
    assert (settings.s3_encryption, settings.s3_storage_class) == ("aws:kms", "GLACIER_IR")
    assert settings.s3_kms_key_id == "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab"
    assert settings.s3_tags == {"team": "Süd 1", "+-=._:/@": ""}
    assert loaded(monkeypatch, ENCRYPTION="aes256", KMS_KEY_ID="").s3_encryption == "AES256"


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"ENCRYPTION": "sse"}, "ENCRYPTION: 'sse' is not one of none, AES256, aws:kms, aws:kms:dsse"),
        (
            {"KMS_KEY_ID": "k"},
            "KMS_KEY_ID: goes with aws:kms or aws:kms:dsse only, not with MAILSLUICE",
        ),
        ({"ENCRYPTION": "AES256", "KMS_KEY_ID": "k"}, "KMS_KEY_ID: goes with aws:kms or aws:kms:dsse only"),
        ({"ENCRYPTION": "aws:kms", "KMS_KEY_ID": "a key"}, "KMS_KEY_ID: 'a key' is not a KMS key (its id, its ARN"),
        ({"STORAGE_CLASS": "GLACIER"}, "STORAGE_CLASS: 'GLACIER' can't be read back at once, which replay must"),
        ({"STORAGE_CLASS": "deep_archive"}, "STORAGE_CLASS: 'deep_archive' can't be read back at once"),
        ({"STORAGE_CLASS": "cold"}, "STORAGE_CLASS: 'cold' is not one of STANDARD, STANDARD_IA, "),
        ({"TAGS": "team=billing"}, "TAGS: 'team=billing' is not a JSON object of texts, as in {"),
        ({"TAGS": '["team"]'}, "TAGS: '[\"team\"]' is not a JSON object of texts"),
        ({"TAGS": '{"team": 1}'}, "TAGS: '{\"team\": 1}' is not a JSON object of texts"),
        ({"TAGS": json.dumps({str(n): "" for n in range(11)})}, "TAGS: 11 tags are more than S3 takes (10)"),
        ({"TAGS": '{"aws:x": ""}'}, "TAGS: 'aws:x' begins as only the names of AWS do"),
        ({"TAGS": '{"": "x"}'}, "TAGS: the name of a tag has 1 to 128 characters, which '' has not"),
        ({"TAGS": json.dumps({"a": "x" * 257})}, "TAGS: tag 'a' has a value of more than 256 characters"),
        ({"TAGS": '{"a": "b&c"}'}, "TAGS: tag 'a' holds '&' (letters, digits, spaces and + - = . _ : / @)"),
        ({"TAGS": '{"a": "b\\nc"}'}, "TAGS: tag 'a' holds '\\n' (letters"),
    ],
)
def test_what_s3_would_refuse_is_said_before(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], line: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(monkeypatch, **variables)
    [problem] = caught.value.problems
    assert problem.startswith(f"MAILSLUICE_S3_{line}")


def test_a_process_for_one_suspect_stores_as_all_others_do() -> None:
    from ingest.wiring import _ISOLATED  # noqa: PLC0415 - what it is told is nobody else's affair

    assert {name for name in Settings.model_fields if name.startswith("s3_")} <= _ISOLATED
