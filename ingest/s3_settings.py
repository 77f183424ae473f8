"""Settings of objects in S3: how each new one lies there.

Rules of this file:
- The defaults send nothing, so that the bucket's own settings hold.
- Nothing that can't be read back at once: replay reads. Who may read is the bucket's affair: there is no ACL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

# S3's rule: letters, digits and spaces of any script, and these marks (User Guide, categorizing objects by tags)
_TAG = re.compile(r"[^\W_\x00-\x1f]|[ _.:/=+@-]")
_TAGS, _NAME_CHARACTERS, _VALUE_CHARACTERS = 10, 128, 256
_KEY_ID = re.compile(r"[A-Za-z0-9:/_-]{1,2048}")
_CLASSES = ("STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY",
            "EXPRESS_ONEZONE", "OUTPOSTS")  # fmt: skip
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")


def _class(value: str | None) -> str | None:
    """A storage class as S3 spells it."""
    spelled = value.upper() if value else None
    if spelled in _ARCHIVES:
        raise ValueError(f"{value!r} can't be read back at once, which replay must (GLACIER_IR can)")
    if spelled not in (None, *_CLASSES):
        raise ValueError(f"{str(value)[:80]!r} is not one of {', '.join(_CLASSES)}")
    return spelled


def _tags(value: object) -> dict[str, str]:
    """A JSON object, or a table of the file."""
    right = 'a JSON object of texts, as in {"team": "billing"}'
    try:
        tags = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        tags = None
    if not isinstance(tags, Mapping) or not all(isinstance(text, str) for text in tags.values()):
        raise ValueError(f"{str(value)[:80]!r} is not {right}")
    if len(tags) > _TAGS:
        raise ValueError(f"{len(tags)} tags are more than S3 takes ({_TAGS})")
    for name, text in tags.items():
        _check_tag(name, text)
    return dict(tags)


def _check_tag(name: str, text: str) -> None:
    """S3's rules for one tag."""
    shown = repr(name[:80])
    if not 1 <= len(name) <= _NAME_CHARACTERS:
        raise ValueError(f"the name of a tag has 1 to {_NAME_CHARACTERS} characters, which {shown} has not")
    if name.lower().startswith("aws:"):
        raise ValueError(f"{shown} begins as only the names of AWS do (take another than aws:)")
    if len(text) > _VALUE_CHARACTERS:
        raise ValueError(f"tag {shown} has a value of more than {_VALUE_CHARACTERS} characters")
    wrong = next((character for character in name + text if not _TAG.fullmatch(character)), None)
    if wrong is not None:
        raise ValueError(f"tag {shown} holds {wrong!r} (letters, digits, spaces and + - = . _ : / @)")


class S3Settings(BaseSettings):
    """The part of `Settings` about objects in S3."""

    s3_encryption: Annotated[
        Literal["none", "AES256", "aws:kms", "aws:kms:dsse"],
        BeforeValidator(lambda value: {"aes256": "AES256"}.get(str(value).lower(), str(value).lower())),
    ] = "none"
    s3_kms_key_id: str | None = None
    s3_storage_class: Annotated[str | None, AfterValidator(_class)] = None
    s3_tags: Annotated[dict[str, str], BeforeValidator(_tags)] = {}

    @field_validator("s3_kms_key_id")
    @classmethod
    def _a_key_goes_with_kms(cls, key: str | None, info: ValidationInfo) -> str | None:
        if key is None:
            return None
        if not _KEY_ID.fullmatch(key):
            raise ValueError(f"{key[:80]!r} is not a KMS key (its id, its ARN, or alias/name)")
        encryption = info.data.get("s3_encryption", "aws:kms")  # if it is wrong itself, that is reported
        if not encryption.startswith("aws:kms"):
            raise ValueError(f"goes with aws:kms or aws:kms:dsse only, not with MAILSLUICE_S3_ENCRYPTION={encryption}")
        return key
