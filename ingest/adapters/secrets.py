"""Where passwords come from: an environment variable, a file, or a text sealed under our key.

Rules of this room:
- A reference may itself be a password that somebody wrote in the wrong place: no error repeats one whose scheme is
  unknown, and none repeats what it resolved to. Errors whose cause could carry a secret have no cause.
- Nothing is kept: each poll resolves anew, so a rotated password is picked up by the next one.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hmac
import os
import stat

from cryptography.fernet import Fernet, InvalidToken

from ingest.errors import AccountMisconfigured, ConfigurationError, SecretUnavailable
from ingest.models import Secret

_FILE_LIMIT_BYTES = 65_536
_KEY_BYTES = 32
_MARKING = b"mailsluice: marks of refused secrets"  # a key of its own for each use
_MARK_DIGITS = 16
_HOW = "`openssl rand -base64 32` makes one"


class SecretStore:
    """See `ingest.ports.Secrets`.

    Args:
        secret_key: MAILSLUICE_SECRET_KEY: base64 of 32 octets (standard or URL-safe alphabet), or None where nothing is
            sealed; ConfigurationError for anything else.
    """

    def __init__(self, secret_key: str | None) -> None:
        key = None if secret_key is None else _fernet_key(secret_key)
        self._fernet = None if key is None else Fernet(key)
        self._marking = None if key is None else hmac.digest(base64.urlsafe_b64decode(key), _MARKING, "sha256")

    def resolve(self, reference: str) -> Secret:
        scheme, colon, rest = reference.partition(":")
        match scheme if colon else "":
            case "env":
                return _from_environment(rest)
            case "file":
                return _from_file(rest)
            case "sealed":
                return self._unseal(rest)
        raise AccountMisconfigured(
            "the password is no reference of a kind we know", todo="write env:NAME, file:PATH or plain:TEXT"
        )

    def seal(self, literal: str) -> str:
        if self._fernet is None:
            raise ConfigurationError([f"MAILSLUICE_SECRET_KEY: not set, but a literal password is to be kept; {_HOW}"])
        return f"sealed:{self._fernet.encrypt(literal.encode()).decode()}"

    def mark(self, account_id: str, secret: Secret) -> str | None:
        if self._marking is None:
            return None
        text = account_id.encode() + b"\0" + secret.reveal().encode()
        return hmac.digest(self._marking, text, "sha256").hex()[:_MARK_DIGITS]

    def _unseal(self, token: str) -> Secret:
        if self._fernet is None:
            raise SecretUnavailable(
                "the password is sealed", todo="set MAILSLUICE_SECRET_KEY to the key that sealed it"
            )
        try:
            return Secret(self._fernet.decrypt(token.encode()).decode())
        except (InvalidToken, UnicodeError):
            pass
        raise SecretUnavailable(
            "the password is sealed under another key", todo="set the old MAILSLUICE_SECRET_KEY, or apply it again"
        )


def _fernet_key(text: str) -> bytes:
    try:
        raw = base64.b64decode(text.strip().translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise ConfigurationError([f"MAILSLUICE_SECRET_KEY: not base64 of {_KEY_BYTES} octets; {_HOW}"])
    return base64.urlsafe_b64encode(raw)


def _from_environment(name: str) -> Secret:
    value = os.environ.get(name)
    if not value:
        state = "not set" if value is None else "empty"
        raise SecretUnavailable(f"environment variable {name} is {state}", todo="set it where the workers run")
    if not value.isascii() and not _encodable(value):
        raise SecretUnavailable(f"environment variable {name} is not UTF-8", todo="set it again, as UTF-8")
    return Secret(value)


def _encodable(value: str) -> bool:
    """Whether it has no half characters, as a variable that is not UTF-8 comes with."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _from_file(path: str) -> Secret:
    try:
        content = _read_regular(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise SecretUnavailable(f"file {path}: {reason}", todo="the workers must be able to read it") from None
    if len(content) > _FILE_LIMIT_BYTES:
        raise SecretUnavailable(f"file {path}: larger than {_FILE_LIMIT_BYTES} octets, so no password")
    try:
        value = content.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        value = None
    if not value:
        raise SecretUnavailable(f"file {path}: {'empty' if value == '' else 'not UTF-8'}")
    return Secret(value)


def _read_regular(path: str) -> bytes:
    """The content, cut one octet after the limit; a pipe or device is an error and must not hold up a poll."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return os.read(descriptor, _FILE_LIMIT_BYTES + 1)
    finally:
        os.close(descriptor)
