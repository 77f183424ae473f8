"""A throw-away certificate authority: what a simulated server shows, and what its clients trust.

Rules of this room:
- Keys live in memory and for as long as the process; only the authority's certificate is ever written for others.
- The one file here that needs `cryptography`; nothing imports it unless TLS without a certificate of one's own is
  asked for.
"""

from __future__ import annotations

import ssl
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ingest.simulator.behaviour import Certificate

LOOPBACK = ("localhost", "127.0.0.1", "::1")
OTHER_NAME = "other.invalid"
_LIFE = timedelta(days=7)


class Authority:
    """Issues the certificates of one simulated server; safe to share between threads.

    Args:
        names: host names and addresses that its certificates are for.
    """

    def __init__(self, names: Sequence[str] = LOOPBACK) -> None:
        self._names = tuple(names)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name("Mailsluice simulator's throw-away authority")
        self._contexts: dict[Certificate, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.ca_pem = (
            _builder(self._name, self._name, self._key.public_key(), self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, SHA256())
            .public_bytes(Encoding.PEM)
        )

    def context(self, certificate: Certificate = Certificate.GOOD) -> ssl.SSLContext:
        """The server's side, showing a certificate of that kind."""
        with self._lock:
            if certificate not in self._contexts:
                self._contexts[certificate] = self._make(certificate)
            return self._contexts[certificate]

    def client_context(self) -> ssl.SSLContext:
        """A client's side that trusts this authority and no other."""
        return ssl.create_default_context(cadata=self.ca_pem.decode("ascii"))

    def _make(self, kind: Certificate) -> ssl.SSLContext:
        if kind is Certificate.UNKNOWN_ISSUER:
            return Authority(self._names).context()
        names = (OTHER_NAME,) if kind is Certificate.OTHER_NAME else self._names
        key = ec.generate_private_key(ec.SECP256R1())
        before = datetime.now(UTC) - (2 * _LIFE if kind is Certificate.EXPIRED else timedelta(hours=1))
        leaf = (
            _builder(_common_name(names[0]), self._name, key.public_key(), self._key.public_key(), before)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._key, SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # ssl reads certificates from files only; this one is gone before anybody else could ask for it.
        with tempfile.TemporaryDirectory() as directory:
            pem = Path(directory, "server.pem")
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            pem.write_bytes(private + leaf.public_bytes(Encoding.PEM))
            context.load_cert_chain(pem)
        return context


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    before: datetime | None = None,
) -> x509.CertificateBuilder:
    before = before or datetime.now(UTC) - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(before)
        .not_valid_after(before + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
