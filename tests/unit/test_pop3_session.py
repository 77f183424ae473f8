from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from pop3_scripts import (
    CAPA,
    GONE,
    GREETING,
    LOCKSTEP_CAPA,
    LOGIN,
    NO_CAPA,
    QUIT,
    MemorySpool,
    ScriptedStream,
    Step,
    refs,
    session_over,
)

from ingest.errors import (
    AccountMisconfigured,
    CertificateRejected,
    ConnectionLost,
    CredentialsRejected,
    IngestError,
    ListingFailed,
    MaildropBusy,
    MessageRefused,
    ProtocolError,
    ServerRefused,
    ServerTemporary,
    SlowDown,
    TlsNotOffered,
)
from ingest.models import Auth, Capabilities, HostProfile, MessageRef, Secret, Tls
from ingest.pop3.connection import IllegalCommand
from ingest.pop3.looks import Glance
from ingest.pop3.session import Refused, Retrieved, Session, SessionLimits, TooLarge

LISTING = b"STAT\r\nUIDL\r\nLIST\r\n"
CANARY = "canary-5f3a"


def opened(stream: ScriptedStream, limits: SessionLimits | None = None) -> Session:
    """A session that is logged in; its script begins with greeting, CAPA and LOGIN."""
    session = session_over(stream, limits)
    session.start(tls=Tls.NONE)
    session.login("u", Secret("pw"), Auth.AUTO)
    return session


def pipelined(*steps: Step, **stream: float) -> ScriptedStream:
    return ScriptedStream([GREETING, CAPA, LOGIN, *steps], **stream)  # type: ignore[arg-type]


def lockstep(*steps: Step) -> ScriptedStream:
    login = ((b"USER u\r\n", b"+OK\r\n"), (b"PASS pw\r\n", b"+OK\r\n"))
    return ScriptedStream([GREETING, LOCKSTEP_CAPA, *login, *steps])


# Greeting, capabilities, TLS


def test_start_reads_the_greeting_and_the_capabilities() -> None:
    stream = ScriptedStream([GREETING, CAPA])
    session = session_over(stream)
    assert session.start(tls=Tls.NONE) == session.capabilities
    assert session.capabilities.sasl == {"PLAIN"}
    assert stream.finished


def test_a_server_without_capa_works_all_the_same() -> None:
    session = session_over(ScriptedStream([GREETING, NO_CAPA]))
    assert session.start(tls=Tls.IMPLICIT) == Capabilities(known=False)


def test_capabilities_without_end_are_a_protocol_error() -> None:
    session = session_over(ScriptedStream([GREETING, (b"CAPA\r\n", b"+OK\r\n" + b"X-EVIL\r\n" * 10_000)]))
    with pytest.raises(ProtocolError, match="CAPA is longer"):
        session.start(tls=Tls.NONE)
    assert session.broken


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"-ERR too many connections\r\n", SlowDown),
        (b"-ERR maintenance\r\n", ServerTemporary),
        (b"220 smtp.example.com\r\n", ProtocolError),
        (b"+OK " + b"x" * 5000, ProtocolError),
    ],
)
def test_a_greeting_may_refuse_or_be_none(line: bytes, kind: type[IngestError]) -> None:
    with pytest.raises(kind):
        session_over(ScriptedStream([(b"", line)])).start(tls=Tls.NONE)


@pytest.mark.parametrize("capabilities", [(b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"), NO_CAPA])
def test_stls_encrypts_and_asks_for_the_capabilities_again(capabilities: Step) -> None:
    stream = ScriptedStream([GREETING, capabilities, (b"STLS\r\n", b"+OK\r\n"), CAPA])
    session = session_over(stream)
    assert "PIPELINING" in session.start(tls=Tls.STARTTLS)
    assert "STLS" not in session.capabilities
    assert stream.tls is not None


@pytest.mark.parametrize(
    "steps",
    [
        [(b"CAPA\r\n", b"+OK\r\nUSER\r\n.\r\n")],
        [(b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"), (b"STLS\r\n", b"-ERR no\r\n")],
        [NO_CAPA, (b"STLS\r\n", b"-ERR what?\r\n")],
    ],
)
def test_stls_that_is_not_offered_fails_and_nothing_more_is_said(steps: Sequence[Step]) -> None:
    stream = ScriptedStream([GREETING, *steps])
    with pytest.raises(TlsNotOffered, match=r"pop\.example\.com does not offer STLS"):
        session_over(stream).start(tls=Tls.STARTTLS)
    assert stream.finished
    assert stream.tls is None


def test_octets_behind_the_reply_to_stls_never_reach_the_encrypted_session() -> None:
    answer = b"+OK go\r\n+OK\r\nSASL EVIL\r\n.\r\n"
    stream = ScriptedStream([GREETING, (b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"), (b"STLS\r\n", answer)])
    session = session_over(stream)
    with pytest.raises(ProtocolError, match="injects"):
        session.start(tls=Tls.STARTTLS)
    assert stream.tls is None
    assert session.broken


def test_a_failed_handshake_breaks_the_session() -> None:
    def refuse() -> None:
        raise CertificateRejected("certificate of pop.example.com has expired")

    steps = [GREETING, (b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"), (b"STLS\r\n", b"+OK\r\n")]
    stream = ScriptedStream(steps, on_start_tls=refuse)
    session = session_over(stream)
    with pytest.raises(CertificateRejected):
        session.start(tls=Tls.STARTTLS)
    assert session.broken
    assert not session.quit()


# Login


def started(
    *steps: Step, capabilities: Step = LOCKSTEP_CAPA, greeting: Step = GREETING
) -> tuple[Session, ScriptedStream]:
    stream = ScriptedStream([greeting, capabilities, *steps])
    session = session_over(stream)
    session.start(tls=Tls.NONE)
    return session, stream


def test_sasl_plain_takes_one_flight() -> None:
    session, stream = started(LOGIN, capabilities=CAPA)
    session.login("u", Secret("pw"), Auth.AUTO)
    assert session.flights == 2
    assert stream.finished


@pytest.mark.parametrize("challenge", [b"+ \r\n", b"+OK go on\r\n"])
def test_a_long_password_answers_a_challenge(challenge: bytes) -> None:
    session, stream = started(capabilities=(b"CAPA\r\n", b"+OK\r\nSASL PLAIN\r\n.\r\n"))
    stream._steps += [(b"AUTH PLAIN\r\n", challenge), (b"AHUA" + b"eHh4" * 100 + b"\r\n", b"+OK\r\n")]
    session.login("u", Secret("x" * 300), Auth.AUTO)
    assert stream.finished


def test_a_server_that_ignores_the_initial_response_gets_it_again_and_no_third_time() -> None:
    session, stream = started(
        (b"AUTH PLAIN AHUAcHc=\r\n", b"+ \r\n"),
        (b"AHUAcHc=\r\n", b"+ more?\r\n"),
        (b"*\r\n", b"-ERR cancelled\r\n"),
        capabilities=CAPA,
    )
    with pytest.raises(ProtocolError):
        session.login("u", Secret("pw"), Auth.PLAIN)
    assert stream.finished


def test_a_server_that_challenges_without_end_is_left() -> None:
    more = b"+ more?\r\n"
    session, stream = started(
        (b"AUTH PLAIN AHUAcHc=\r\n", more), (b"AHUAcHc=\r\n", more), (b"*\r\n", more), capabilities=CAPA
    )
    with pytest.raises(ProtocolError):
        session.login("u", Secret("pw"), Auth.PLAIN)
    assert stream.finished
    assert session.broken


def test_user_and_pass_share_a_flight_only_where_the_server_pipelines() -> None:
    session, _ = started((b"USER u\r\nPASS pw\r\n", b"+OK\r\n+OK\r\n"), capabilities=CAPA)
    session.login("u", Secret("pw"), Auth.USER)
    assert session.flights == 2
    session, _ = started((b"USER u\r\n", b"+OK\r\n"), (b"PASS pw\r\n", b"+OK\r\n"))
    session.login("u", Secret("pw"), Auth.USER)
    assert session.flights == 3


def test_a_refused_user_is_not_followed_by_a_password() -> None:
    session, stream = started((b"USER u\r\n", b"-ERR never heard of u\r\n"))
    with pytest.raises(CredentialsRejected):
        session.login("u", Secret("pw"), Auth.USER)
    assert stream.finished
    assert not session.broken


def test_of_two_refusals_in_one_flight_the_first_counts() -> None:
    session, _ = started((b"USER u\r\nPASS pw\r\n", b"-ERR [IN-USE]\r\n-ERR no\r\n"), capabilities=CAPA)
    with pytest.raises(MaildropBusy):
        session.login("u", Secret("pw"), Auth.USER)


def test_apop_answers_the_timestamp() -> None:
    session, _ = started(
        (b"APOP mrose c4c9334bac560ecc979e58001b3e22fb\r\n", b"+OK\r\n"),
        greeting=(b"", b"+OK ready <1896.697170952@dbc.mtview.ca.us>\r\n"),
    )
    session.login("mrose", Secret("tanstaaf"), Auth.APOP)


@pytest.mark.parametrize(("user", "password"), [("u\r\nDELE 1", "pw"), ("u", "p\nw"), ("u", "p\0w"), ("", "pw")])
def test_a_login_that_would_be_two_commands_sends_nothing(user: str, password: str) -> None:
    session, stream = started()
    before = stream.sent
    with pytest.raises(AccountMisconfigured):
        session.login(user, Secret(password), Auth.AUTO)
    assert stream.sent == before


@pytest.mark.parametrize(
    ("auth", "steps"),
    [
        (Auth.USER, [(b"USER u\r\n", b"+OK\r\n"), (b"PASS canary-5f3a\r\n", b"-ERR CANARY-5F3A is wrong\r\n")]),
        (Auth.USER, [(b"USER u\r\n", b"+OK\r\n"), (b"PASS canary-5f3a\r\n", b"what is canary-5f3a\r\n")]),
        (Auth.PLAIN, [(b"AUTH PLAIN AHUAY2FuYXJ5LTVmM2E=\r\n", b"-ERR AUTH PLAIN AHUAY2FuYXJ5LTVmM2E=\r\n")]),
    ],
)
def test_a_server_that_echoes_the_password_does_not_get_it_into_the_error(auth: Auth, steps: Sequence[Step]) -> None:
    session, _ = started(*steps, capabilities=LOCKSTEP_CAPA if auth is Auth.USER else CAPA)
    with pytest.raises(IngestError) as refused:
        session.login("u", Secret(CANARY), auth)
    assert CANARY not in str(refused.value).lower()
    assert "AHUAY2FuYXJ5LTVmM2E" not in str(refused.value)
    assert "****" in str(refused.value)


def test_later_errors_do_not_show_the_password_either() -> None:
    session = opened(pipelined((b"NOOP\r\n", b"-ERR the password is pw\r\n")))
    with pytest.raises(ServerRefused) as refused:
        session.noop()
    assert str(refused.value).endswith("the password is ****")


# Listing

FULL = b"+OK 2 300\r\n+OK\r\n1 a\r\n2   b\r\n.\r\n+OK\r\n1 100\r\n2 200\r\n.\r\n"


def test_a_listing_takes_one_flight_where_the_server_pipelines() -> None:
    session = opened(pipelined((LISTING, FULL)))
    before = session.flights
    listing = session.listing()
    assert listing.messages == (MessageRef(1, 100, b"a"), MessageRef(2, 200, b"b"))
    assert listing.complete
    assert session.flights == before + 1


def test_a_listing_takes_a_flight_a_command_elsewhere() -> None:
    steps = [
        (b"STAT\r\n", b"+OK 1 100\r\n"),
        (b"UIDL\r\n", b"+OK\r\n1 a\r\n.\r\n"),
        (b"LIST\r\n", b"+OK\r\n1 100\r\n.\r\n"),
    ]
    session = opened(lockstep(*steps))
    before = session.flights
    assert session.listing().messages == (MessageRef(1, 100, b"a"),)
    assert session.flights == before + 3


def test_a_server_without_uidl_lists_by_number_alone() -> None:
    stream = ScriptedStream(
        [
            GREETING,
            (b"CAPA\r\n", b"+OK\r\nPIPELINING\r\nSASL PLAIN\r\n.\r\n"),
            LOGIN,
            (LISTING, b"+OK 1 100\r\n-ERR unknown command\r\n+OK\r\n1 100\r\n.\r\n"),
        ]
    )
    listing = opened(stream).listing()
    assert listing.messages == (MessageRef(1, 100, None),)
    assert listing.complete


@pytest.mark.parametrize(
    ("text", "kind"), [(b"unknown command", ListingFailed), (b"[SYS/TEMP] index is being rebuilt", ListingFailed)]
)
def test_a_promised_uidl_that_is_refused_fails_the_listing(text: bytes, kind: type[IngestError]) -> None:
    session = opened(pipelined((LISTING, b"+OK 1 100\r\n-ERR " + text + b"\r\n+OK\r\n1 100\r\n.\r\n")))
    with pytest.raises(kind):
        session.listing()


def test_a_temporary_refusal_of_uidl_is_not_a_server_without_uidl() -> None:
    stream = ScriptedStream(
        [
            GREETING,
            NO_CAPA,
            (b"USER u\r\n", b"+OK\r\n"),
            (b"PASS pw\r\n", b"+OK\r\n"),
            (b"STAT\r\n", b"+OK 1 100\r\n"),
            (b"UIDL\r\n", b"-ERR [SYS/TEMP] rebuilding\r\n"),
        ]
    )
    with pytest.raises(ServerTemporary):
        opened(stream).listing()


def test_an_empty_maildrop_may_refuse_to_be_listed() -> None:
    session = opened(pipelined((LISTING, b"+OK 0 0\r\n-ERR no messages\r\n-ERR no messages\r\n")))
    listing = session.listing()
    assert listing.messages == ()
    assert listing.complete


@pytest.mark.parametrize(
    "answer",
    [
        b"+OK 2 300\r\n+OK\r\n1 a\r\n2 b\r\n+OK\r\n1 100\r\n2 200\r\n.\r\n",
        b"+OK 2 300\r\n+OK\r\n1 a\r\n1 b\r\n.\r\n",
        b"+OK 2 300\r\n+OK\r\n1 a\r\n2 b\r\n.\r\n+OK\r\n1 100\r\nwhat\r\n.\r\n",
        b"+OK two\r\n+OK\r\n.\r\n+OK\r\n.\r\n",
    ],
)
def test_a_listing_that_contradicts_itself_fails(answer: bytes) -> None:
    session = opened(pipelined((LISTING, answer)))
    with pytest.raises(ListingFailed):
        session.listing()
    assert session.broken


@pytest.mark.parametrize("end", [[], [GONE]])
def test_a_reply_without_its_final_dot_is_a_failed_listing(end: list[Step]) -> None:
    session = opened(pipelined((LISTING, b"+OK 2 300\r\n+OK\r\n1 a\r\n2 b\r\n"), *end))
    with pytest.raises(ListingFailed, match="UIDL broke off after 2 lines"):
        session.listing()
    assert session.broken


def test_a_listing_over_its_limit_fails() -> None:
    session = opened(pipelined((LISTING, FULL)), SessionLimits(listing_lines=1))
    with pytest.raises(ListingFailed, match="more than 1 lines"):
        session.listing()


# Retrieve


def retr(*numbers: int) -> bytes:
    return b"".join(b"RETR %d\r\n" % number for number in numbers)


def mail(number: int) -> bytes:
    return b"+OK\r\nSubject: %d\r\n\r\n..dot\r\n.\r\n" % number


def text_of(result: object) -> bytes:
    assert isinstance(result, Retrieved)
    assert isinstance(result.spool, MemorySpool)
    assert result.spool.sealed
    return bytes(result.spool.written)


@pytest.mark.parametrize("piece_bytes", [1, 7, 65536])
def test_messages_come_whole_unstuffed_and_in_order(piece_bytes: int) -> None:
    session = opened(pipelined((retr(1, 2, 3), mail(1) + mail(2) + mail(3)), piece_bytes=piece_bytes))
    found = list(session.retrieve(refs(3), MemorySpool, max_bytes=1000))
    assert [text_of(result) for result in found] == [b"Subject: %d\r\n\r\n.dot\r\n" % n for n in (1, 2, 3)]
    assert not session.broken


def test_200_small_messages_take_one_flight() -> None:
    batch = b"".join(mail(number) for number in range(1, 201))
    session = opened(pipelined((retr(*range(1, 201)), batch)))
    before = session.flights
    assert len(list(session.retrieve(refs(200), MemorySpool, max_bytes=1000))) == 200
    assert session.flights == before + 1


def test_400_small_messages_take_two_flights() -> None:
    steps = [(retr(number), mail(number)) for number in range(1, 401)]
    session = opened(pipelined(*steps))
    before = session.flights
    assert len(list(session.retrieve(refs(400), MemorySpool, max_bytes=1000))) == 400
    assert session.flights == before + 2


def test_without_pipelining_one_message_is_asked_for_at_a_time() -> None:
    stream = lockstep((retr(1), mail(1)), (retr(2), mail(2)))
    session = opened(stream)
    found = session.retrieve(refs(2), MemorySpool, max_bytes=1000)
    next(found)
    assert stream.sent.endswith(retr(1))
    next(found)
    assert list(found) == []
    assert not session.broken


def outstanding_at_first(count: int, limits: SessionLimits, *, size: int = 100) -> int:
    """How many RETR leave before the first message is there."""
    stream = pipelined(*((retr(number), mail(number)) for number in range(1, count + 1)))
    session = opened(stream, limits)
    next(session.retrieve(refs(count, size), MemorySpool, max_bytes=1 << 30))
    return stream.sent.count(b"RETR")


def test_the_window_is_bounded_by_count() -> None:
    assert outstanding_at_first(50, SessionLimits(window_messages=8)) == 8


def test_the_window_is_bounded_by_octets_and_takes_one_message_of_any_size() -> None:
    assert outstanding_at_first(50, SessionLimits(window_bytes=1000), size=300) == 3
    assert outstanding_at_first(50, SessionLimits(window_bytes=1000), size=5000) == 1


def test_the_window_is_bounded_by_the_length_of_its_commands() -> None:
    assert outstanding_at_first(50, SessionLimits(window_command_bytes=64)) == 8
    assert outstanding_at_first(1000, SessionLimits(window_messages=1000)) * len(retr(1)) < 4096


@pytest.mark.parametrize("text", [b"no such message", b"message is damaged", b""])
def test_a_refused_message_does_not_stop_the_ones_behind_it(text: bytes) -> None:
    session = opened(pipelined((retr(1, 2), b"-ERR " + text + b"\r\n" + mail(2))))
    refused, came = session.retrieve(refs(2), MemorySpool, max_bytes=1000)
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, MessageRefused)
    assert text_of(came) == b"Subject: 2\r\n\r\n.dot\r\n"


@pytest.mark.parametrize("text", [b"[IN-USE] by another", b"[LOGIN-DELAY] slow down"])
def test_a_refusal_that_is_not_the_message_s_fault_is_raised(text: bytes) -> None:
    session = opened(pipelined((retr(1, 2), b"-ERR " + text + b"\r\n" + mail(2))))
    with pytest.raises((MaildropBusy, SlowDown)):
        list(session.retrieve(refs(2), MemorySpool, max_bytes=1000))
    assert session.broken


def test_a_message_that_is_refused_for_now_is_told_of_behind_the_others() -> None:
    session = opened(pipelined((retr(1, 2), b"-ERR [SYS/TEMP] internal error\r\n" + mail(2))))
    results = session.retrieve(refs(2), MemorySpool, max_bytes=1000)
    assert text_of(next(results)) == b"Subject: 2\r\n\r\n.dot\r\n"
    with pytest.raises(ServerTemporary):
        next(results)
    assert not session.broken


def test_when_most_messages_are_refused_for_now_no_more_are_asked_for() -> None:
    stream = lockstep(*((retr(number), b"-ERR [SYS/TEMP] disk trouble\r\n") for number in (1, 2)))
    session = opened(stream)
    with pytest.raises(ServerTemporary):
        list(session.retrieve(refs(9), MemorySpool, max_bytes=1000))
    assert stream.finished


def test_the_cap_holds_on_the_octets_received_whatever_list_said() -> None:
    stream = pipelined((retr(1, 2), b"+OK\r\n" + b"x" * 5000 + b"\r\n.\r\n" + mail(2)), piece_bytes=700)
    session = opened(stream)
    spools: list[MemorySpool] = []

    def open_spool() -> MemorySpool:
        spools.append(MemorySpool())
        return spools[-1]

    found = session.retrieve(refs(2, size=100), open_spool, max_bytes=2000)
    result = next(found)
    assert result == TooLarge(refs(1)[0], b"x" * 2000)
    assert session.broken
    assert list(found) == []
    assert [spool.closed for spool in spools] == [True]


def test_the_head_of_a_message_over_the_cap_is_a_mebibyte_at_most() -> None:
    session = opened(pipelined((retr(1), b"+OK\r\n" + b"x" * (3 << 20) + b"\r\n.\r\n")))
    (result,) = session.retrieve(refs(1), MemorySpool, max_bytes=2 << 20)
    assert isinstance(result, TooLarge)
    assert len(result.head) == 1 << 20


def test_a_message_of_exactly_the_cap_is_whole() -> None:
    session = opened(pipelined((retr(1), b"+OK\r\n" + b"x" * 98 + b"\r\n.\r\n")))
    (result,) = session.retrieve(refs(1), MemorySpool, max_bytes=100)
    assert len(text_of(result)) == 100


@pytest.mark.parametrize("end", [[], [GONE]])
def test_a_message_that_breaks_off_is_a_lost_connection_and_its_spool_is_closed(end: list[Step]) -> None:
    session = opened(pipelined((retr(1, 2), mail(1) + b"+OK\r\nhalf"), *end))
    spools: list[MemorySpool] = []

    def open_spool() -> MemorySpool:
        spools.append(MemorySpool())
        return spools[-1]

    found = session.retrieve(refs(2), open_spool, max_bytes=1000)
    text_of(next(found))
    with pytest.raises(ConnectionLost):
        next(found)
    assert [spool.closed for spool in spools] == [False, True]
    assert session.broken


def test_a_retrieval_left_early_breaks_the_session() -> None:
    session = opened(pipelined((retr(1, 2), mail(1) + mail(2))))
    found = session.retrieve(refs(2), MemorySpool, max_bytes=1000)
    next(found)
    with pytest.raises(IllegalCommand):
        session.noop()
    del found
    assert session.broken
    assert not session.quit()


def test_a_retrieval_left_with_nothing_under_way_does_not() -> None:
    session = opened(pipelined((retr(1), mail(1)), QUIT))
    found = session.retrieve(refs(1), MemorySpool, max_bytes=1000)
    next(found)
    del found
    assert not session.broken
    assert session.quit()


@pytest.mark.parametrize("end", [b".\r\n", b"\n.\r\n"])
def test_a_body_without_its_last_line_end_does_not_swallow_the_next_reply_unseen(end: bytes) -> None:
    session = opened(pipelined((retr(1, 2, 3), b"+OK\r\nSubject: 1\r\n\r\nunfinished" + end + mail(2) + mail(3))))
    with pytest.raises(ProtocolError, match="message 1 seems to go on over the next one"):
        list(session.retrieve(refs(3), MemorySpool, max_bytes=1000))
    assert session.broken


QUOTING = b"He said.\r\n+OK it is\r\n"


@pytest.mark.parametrize(("count", "size"), [(1, 100), (2, len(QUOTING))], ids=["alone", "of the listed size"])
def test_a_body_that_only_looks_as_if_it_had_swallowed_a_reply_is_had(count: int, size: int) -> None:
    replies = b"".join(b"+OK\r\n" + QUOTING + b".\r\n" for _ in range(count))
    session = opened(pipelined((retr(*range(1, count + 1)), replies)))
    found = list(session.retrieve(refs(count, size), MemorySpool, max_bytes=1000))
    assert [type(each) for each in found] == [Retrieved] * count


def test_a_spool_that_fails_breaks_the_session() -> None:
    class FullSpool(MemorySpool):
        def write(self, data: bytes | memoryview) -> None:
            raise OSError("disk full")

    session = opened(pipelined((retr(1), mail(1))))
    with pytest.raises(OSError, match="disk full"):
        list(session.retrieve(refs(1), FullSpool, max_bytes=1000))
    assert session.broken


def test_progress_is_told_as_octets_arrive() -> None:
    told: list[int] = []
    stream = pipelined((retr(1), mail(1)), piece_bytes=10)
    session = Session(
        stream,
        host="pop.example.com",
        clock=stream.clock,
        limits=SessionLimits(),
        on_progress=lambda: told.append(session.received_bytes),
    )
    session.start(tls=Tls.NONE)
    session.login("u", Secret("pw"), Auth.AUTO)
    list(session.retrieve(refs(1), MemorySpool, max_bytes=1000))
    assert told == sorted(told)
    assert told[-1] == session.received_bytes
    assert len(told) > 10


# Headers, delete, and the small ones


def top(*numbers: int) -> bytes:
    return b"".join(b"TOP %d 0\r\n" % number for number in numbers)


def test_headers_are_asked_for_in_one_flight() -> None:
    session = opened(pipelined((top(1, 2), b"+OK\r\nA: 1\r\n\r\n.\r\n-ERR no\r\n")))
    assert list(session.headers(refs(2))) == [(refs(2)[0], b"A: 1\r\n\r\n"), (refs(2)[1], None)]


def test_a_server_without_top_is_asked_once() -> None:
    stream = ScriptedStream(
        [
            GREETING,
            (b"CAPA\r\n", b"+OK\r\nPIPELINING\r\nSASL PLAIN\r\n.\r\n"),
            LOGIN,
            (top(1), b"-ERR unknown command\r\n"),
        ]
    )
    assert [head for _, head in opened(stream).headers(refs(3))] == [None, None, None]
    assert stream.finished


def test_a_server_that_has_top_without_saying_so_is_found_out() -> None:
    stream = ScriptedStream(
        [
            GREETING,
            (b"CAPA\r\n", b"+OK\r\nPIPELINING\r\nSASL PLAIN\r\n.\r\n"),
            LOGIN,
            (top(1), b"+OK\r\nA: 1\r\n.\r\n"),
            (top(2, 3), b"+OK\r\nA: 2\r\n.\r\n+OK\r\nA: 3\r\n.\r\n"),
        ]
    )
    assert [head for _, head in opened(stream).headers(refs(3))] == [b"A: 1\r\n", b"A: 2\r\n", b"A: 3\r\n"]


def test_headers_over_their_limit_are_cut_and_the_next_ones_asked_for() -> None:
    replies = b"+OK\r\n" + b"x" * 5000 + b"\r\n.\r\n+OK\r\nA: 2\r\n.\r\n"
    session = opened(pipelined((top(1, 2), replies)), SessionLimits(top_bytes=1000))
    assert [head for _, head in session.headers(refs(2))] == [b"x" * 1000, b"A: 2\r\n"]
    assert not session.broken


def test_headers_without_an_end_break_the_session() -> None:
    limits = SessionLimits(top_bytes=1000, top_dropped_bytes=2000)
    session = opened(pipelined((top(1, 2), b"+OK\r\n" + b"x" * 5000)), limits)
    assert list(session.headers(refs(2))) == [(refs(1)[0], b"x" * 1000)]
    assert session.broken


def test_deletes_and_quit_share_a_flight_and_tell_what_the_server_marked() -> None:
    replies = b"+OK\r\n-ERR already gone\r\n+OK\r\n+OK bye\r\n"
    stream = pipelined((b"DELE 1\r\nDELE 2\r\nDELE 3\r\nQUIT\r\n", replies))
    session = opened(stream)
    before = session.flights
    assert session.delete_and_quit(refs(3)) == ([refs(3)[0], refs(3)[2]], True)
    assert session.flights == before + 1
    assert stream.closed


def test_deletes_without_a_reply_to_quit_are_marked_and_not_confirmed() -> None:
    session = opened(pipelined((b"DELE 1\r\nQUIT\r\n", b"+OK\r\n"), GONE))
    assert session.delete_and_quit(refs(1)) == (refs(1), False)


def test_a_connection_that_is_lost_before_quit_was_due_is_an_error() -> None:
    session = opened(pipelined((b"DELE 1\r\nDELE 2\r\nQUIT\r\n", b"+OK\r\n"), GONE))
    with pytest.raises(ConnectionLost):
        session.delete_and_quit(refs(2))


def test_nothing_to_do_sends_nothing() -> None:
    stream = pipelined()
    session = opened(stream)
    assert list(session.headers([])) == []
    assert list(session.retrieve([], MemorySpool, max_bytes=1)) == []
    assert stream.finished


def test_noop_takes_a_reply() -> None:
    session = opened(pipelined((b"NOOP\r\n", b"+OK\r\n"), (b"NOOP\r\n", b"-ERR no\r\n")))
    session.noop()
    with pytest.raises(ServerRefused, match="refused NOOP: no"):
        session.noop()


# The end


def test_quit_is_true_only_if_the_server_confirmed_it() -> None:
    stream = pipelined(QUIT)
    session = opened(stream)
    assert session.quit()
    assert stream.closed
    assert not session.broken


@pytest.mark.parametrize(
    "steps",
    [[(b"QUIT\r\n", b"-ERR some messages not deleted\r\n")], [(b"QUIT\r\n", b"")], [GONE], [(b"QUIT\r\n", b"hm\r\n")]],
)
def test_quit_never_raises_and_always_closes(steps: list[Step]) -> None:
    stream = pipelined(*steps)
    assert not opened(stream).quit()
    assert stream.closed


def test_quit_of_a_broken_session_sends_no_quit() -> None:
    stream = pipelined((b"NOOP\r\n", b"hm\r\n"))
    session = opened(stream)
    with pytest.raises(ProtocolError):
        session.noop()
    assert not session.quit()
    assert b"QUIT" not in stream.sent
    assert stream.closed


def test_abort_drops_the_connection_without_quit() -> None:
    stream = pipelined()
    session = opened(stream)
    session.abort()
    session.abort()
    assert stream.closed
    assert session.broken
    assert b"QUIT" not in stream.sent


def test_a_broken_session_answers_nothing_not_even_an_empty_question() -> None:
    session = opened(pipelined())
    session.abort()
    with pytest.raises(ConnectionLost, match="broke earlier"):
        list(session.retrieve([], MemorySpool, max_bytes=1))


@pytest.mark.parametrize("line", [b"-ERR shutting down\r\n", b"+OK\r\n", b"+O"])
def test_what_came_before_a_command_is_never_taken_for_its_reply(line: bytes) -> None:
    stream = pipelined((b"NOOP\r\n", b"+OK\r\n" + line))
    session = opened(stream)
    session.noop()
    with pytest.raises(ProtocolError, match="nobody asked for, before DELE"):
        session.delete_and_quit(refs(1))
    assert session.broken
    assert b"DELE" not in stream.sent


# Time


def test_silence_ends_after_the_read_timeout() -> None:
    stream = pipelined((b"NOOP\r\n", b""))
    session = opened(stream)
    with pytest.raises(ConnectionLost):
        session.noop()
    assert stream.clock.seconds == 30
    assert session.broken


def test_a_status_line_that_drips_ends_at_the_session_s_deadline() -> None:
    stream = pipelined((b"NOOP\r\n", b"+OK " + b"x" * 1000), piece_bytes=1)
    session = opened(stream)
    stream.piece_s = 20
    with pytest.raises(ConnectionLost, match="deadline of 120 s"):
        session.noop()
    assert stream.clock.seconds < 150


def test_the_deadline_grows_by_a_second_for_each_64_kib() -> None:
    whole = b"+OK\r\n" + b"x" * (256 * 65536) + b"\r\n.\r\n"
    stream = pipelined((retr(1), whole), piece_bytes=65536)
    session = opened(stream)
    stream.piece_s = 1.4  # 256 pieces: 358 s, over 120 and under 120 + 256
    assert len(list(session.retrieve(refs(1), MemorySpool, max_bytes=1 << 30))) == 1

    stream = pipelined((retr(1), whole), piece_bytes=65536)
    session = opened(stream)
    stream.piece_s = 1.6
    with pytest.raises(ConnectionLost, match="the session's deadline"):
        list(session.retrieve(refs(1), MemorySpool, max_bytes=1 << 30))


def test_a_message_that_drips_is_given_up() -> None:
    stream = pipelined((retr(1), b"+OK\r\n" + b"x" * 100_000), piece_bytes=1000)
    session = opened(stream)
    stream.piece_s = 1
    with pytest.raises(ConnectionLost, match=r"too slow: \d+ octets in 3\d s"):
        list(session.retrieve(refs(1), MemorySpool, max_bytes=1 << 30))


def test_a_message_at_the_least_rate_comes_through() -> None:
    stream = pipelined((retr(1), b"+OK\r\n" + b"x" * 100_000 + b"\r\n.\r\n"), piece_bytes=1100)
    session = opened(stream)
    stream.piece_s = 1
    assert len(list(session.retrieve(refs(1), MemorySpool, max_bytes=1 << 30))) == 1


def test_our_own_time_between_messages_is_not_the_server_s() -> None:
    stream = pipelined((retr(1, 2), mail(1) + mail(2)))
    session = opened(stream)
    for _ in session.retrieve(refs(2), MemorySpool, max_bytes=1000):
        stream.clock.seconds += 1000
    assert not session.broken


def test_what_another_user_was_told_behind_the_login_is_not_believed_where_this_one_is_told_nothing() -> None:
    """EXPIRE may differ by user (RFC 2449, 6.7): what was announced before the login holds then, the least of all."""
    before = Capabilities(known=True, names=frozenset({"USER", "UIDL", "EXPIRE"}), expire_days=0, per_user=True)
    another = replace(before, expire_days=None)
    user = ((b"USER u\r\n", b"+OK\r\n"), (b"PASS pw\r\n", b"+OK\r\n"))
    look = ((b"CAPA\r\n", b"-ERR not now\r\n"), (b"STAT\r\n", b"+OK 0 0\r\n"))
    session = session_over(ScriptedStream([GREETING, *user, *look]))
    session.start(tls=Tls.NONE, known=HostProfile(before, another, seen_at=0.0))
    session.enter("u", Secret("pw"), Auth.USER, Glance(0))
    assert session.capabilities.expire_days == 0
