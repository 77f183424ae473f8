from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tls_servers import LOOPBACK, Authority, dialer, greet_over_tls, received, served, wait_for_end

from ingest.adapters import resolver
from ingest.adapters.resolver import Resolver
from ingest.adapters.tcp import TcpDialer
from ingest.adapters.tls import OtherName
from ingest.errors import AccountMisconfigured, HostUnreachable
from ingest.models import Tls


class Names:
    """A resolver in place of the system's: what it answers, in turn, and what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host: str, port: int, **_more: object) -> list[tuple[object, ...]]:
        self.asked.append(host)
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in addresses
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Names]:
    return lambda *answers: Names(monkeypatch, *answers)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_name_that_does_not_resolve_is_said_so() -> None:
    with pytest.raises(HostUnreachable, match=r"host nowhere\.invalid does not resolve"):
        dialer().dial("nowhere.invalid", 110, tls=Tls.NONE, ca_file=None)


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", "nul\0.example"])
def test_what_is_no_host_name_is_a_wrong_account(host: str) -> None:
    with pytest.raises(AccountMisconfigured, match="is not a host name"):
        dialer().dial(host, 110, tls=Tls.NONE, ca_file=None)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "0x7f000001",
        "127.1",
        "0",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "fe80::1%lo",
    ],
)
def test_a_forbidden_address_is_never_connected_to(host: str) -> None:
    reached: list[bool] = []
    with (
        served(lambda connection: reached.append(True)) as port,
        pytest.raises(AccountMisconfigured, match=r"resolves to .* forbidden .*MAILSLUICE_ALLOWED_NETWORKS"),
    ):
        TcpDialer(1, None, ()).dial(host, port, tls=Tls.NONE, ca_file=None)
    assert not reached


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: answer.wait() and [])
    try:
        with pytest.raises(HostUnreachable, match=r"pop\.example does not resolve in 0 s"):
            TcpDialer(0.05).dial("pop.example", 995, tls=Tls.NONE, ca_file=None)
    finally:
        answer.set()


def test_one_forbidden_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 995)) for address in ("93.184.216.34", "10.0.0.7")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: found)
    with pytest.raises(AccountMisconfigured, match=r"resolves to 10\.0\.0\.7"):
        TcpDialer(1).dial("pop.example", 995, tls=Tls.NONE, ca_file=None)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "2002:a00:1::",
        "2002:a9fe:a9fe::1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::5db8:d822",
        "fec0::1",
        "fe80::1%2",
    ],
)
def test_a_name_must_not_lead_to_what_only_we_can_reach(address: str, names: Callable[..., Names]) -> None:
    names(["93.184.216.34", address])
    with pytest.raises(AccountMisconfigured, match="which is forbidden"):
        TcpDialer(1).dial("pop.example", 995, tls=Tls.NONE, ca_file=None)


def test_a_name_is_asked_for_once_and_only_the_checked_address_is_connected_to(
    authority: Authority, names: Callable[..., Names]
) -> None:
    """DNS rebinding: the second answer would be another one."""
    with served(greet_over_tls(authority.server_context("pop.example"))) as port:
        asked = names(["127.0.0.1"], ["10.0.0.7"]).asked
        stream = dialer().dial("pop.example", port, tls=Tls.IMPLICIT, ca_file=authority.file)
        assert received(stream) == b"+OK ready\r\n"
        stream.close()
    assert asked == ["pop.example"]


def test_an_answer_is_good_for_a_while_and_checked_at_each_dial(names: Callable[..., Names]) -> None:
    asked = names(["127.0.0.1"]).asked
    shared, strict = dialer(), TcpDialer(1)
    strict._resolver = shared._resolver
    with served(wait_for_end) as port:
        for _ in range(3):
            shared.dial("pop.example", port, tls=Tls.NONE, ca_file=None).close()
        with pytest.raises(AccountMisconfigured, match=r"resolves to 127\.0\.0\.1"):
            strict.dial("pop.example", port, tls=Tls.NONE, ca_file=None)
    assert asked == ["pop.example"]


def test_an_answer_grows_old(names: Callable[..., Names], monkeypatch: pytest.MonkeyPatch) -> None:
    asked, now = names(["127.0.0.1"], ["127.0.0.2"]).asked, [0.0]
    monkeypatch.setattr(resolver.time, "monotonic", lambda: now[0])
    asking = Resolver(5)
    assert [endpoint.address for endpoint in asking.resolve("pop.example", 995)] == ["127.0.0.1"]
    now[0] = 29.9
    assert [endpoint.address for endpoint in asking.resolve("pop.example", 995)] == ["127.0.0.1"]
    now[0] = 30.1
    assert [endpoint.address for endpoint in asking.resolve("pop.example", 995)] == ["127.0.0.2"]
    assert len(asked) == 2


def test_an_answer_that_nobody_listens_at_is_asked_for_again(names: Callable[..., Names]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = listener.getsockname()[1]
    asked, shared = names(["127.0.0.1"]).asked, dialer()
    for _ in range(2):
        with pytest.raises(HostUnreachable, match="Connection refused"):
            shared.dial("pop.example", dead, tls=Tls.NONE, ca_file=None)
    assert len(asked) == 2


def test_remembered_answers_are_bounded(names: Callable[..., Names], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_NAMES", 2)
    asked, asking = names(["127.0.0.1"]).asked, Resolver(5)
    for host in ("a.example", "b.example", "c.example", "c.example", "a.example"):
        asking.resolve(host, 995)
    assert asked == ["a.example", "b.example", "c.example", "a.example"]


def test_many_who_want_the_same_name_wait_for_one_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = [], threading.Event()

    def slow(host: str, port: int, **_more: object) -> list[object]:
        asked.append(host)
        answer.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    asking, found = Resolver(5), []
    waiting = [
        threading.Thread(target=lambda: found.append(asking.resolve("pop.example", 995)[0].address)) for _ in range(8)
    ]
    for thread in waiting:
        thread.start()
    answer.set()
    for thread in waiting:
        thread.join(10)
    assert (asked, found) == (["pop.example"], ["127.0.0.1"] * 8)


def test_a_lookup_that_hangs_does_not_stand_in_the_way_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    hang, calls = threading.Event(), []

    def stuck_once(host: str, port: int, **_more: object) -> list[object]:
        calls.append(host)
        if len(calls) == 1:
            hang.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", stuck_once)
    asking = Resolver(0.2)
    try:
        with pytest.raises(HostUnreachable, match="does not resolve"):
            asking.resolve("pop.example", 995)
        assert asking.resolve("pop.example", 995)[0].address == "127.0.0.1"
    finally:
        hang.set()


def test_an_address_needs_no_lookup(names: Callable[..., Names]) -> None:
    asked = names(["10.0.0.7"]).asked
    with served(wait_for_end) as port:
        dialer().dial("127.0.0.1", port, tls=Tls.NONE, ca_file=None).close()
    assert asked == []


def test_the_next_address_is_tried_where_one_does_not_answer(names: Callable[..., Names]) -> None:
    with served(wait_for_end) as port:
        names(["127.9.9.9", "127.0.0.1"])
        dialer().dial("pop.example", port, tls=Tls.NONE, ca_file=None).close()


def test_a_link_local_address_keeps_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 995, 0, 7))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: found)
    assert Resolver(1).resolve("fe80::1%7", 995)[0].sockaddr == ("fe80::1", 995, 0, 7)


def told(context: ssl.SSLContext) -> list[str | None]:
    """What clients name to a server with this context."""
    told: list[str | None] = []
    context.sni_callback = lambda _connection, name, _context: told.append(name)
    return told


@pytest.mark.parametrize(
    ("host", "in_certificate", "named"),
    [
        ("pop.example", "pop.example", "pop.example"),
        ("pop.example.", "pop.example", "pop.example"),
        ("B\u00fccher.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1", None),
    ],
)
@pytest.mark.parametrize("pinned", [False, True])
def test_the_server_is_told_the_name_although_an_address_is_connected_to(
    *,
    host: str,
    in_certificate: str,
    named: str | None,
    pinned: bool,
    authority: Authority,
    names: Callable[..., Names],
) -> None:
    context = authority.server_context(in_certificate)
    heard = told(context)
    with served(greet_over_tls(context)) as port:
        names(["127.0.0.1"])
        pins = tuple(authority.pins) if pinned else ()
        stream = dialer().dial(host, port, tls=Tls.IMPLICIT, ca_file=authority.file, fingerprints=pins)
        assert received(stream) == b"+OK ready\r\n"
        stream.close()
    assert heard == [named]


def test_an_address_as_host_must_stand_in_the_certificate(authority: Authority) -> None:
    with served(greet_over_tls(authority.server_context("localhost"))) as port:
        shared = TcpDialer(5, authority.file, LOOPBACK)
        with pytest.raises(OtherName, match=r"certificate of 127\.0\.0\.1 is for localhost"):
            shared.dial("127.0.0.1", port, tls=Tls.IMPLICIT, ca_file=None)
