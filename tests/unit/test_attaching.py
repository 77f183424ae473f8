"""The attachments of one message on their way into storage."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
import tnef_writer as tnef

from ingest.adapters.memory_store import MemoryStore
from ingest.adapters.spool import Spools
from ingest.attaching import Attached, Attaching
from ingest.errors import MessageInfected, ScannerUnavailable, StoreRefused
from ingest.hands import Crew
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import Scan, Verdict
from ingest.ports import Put, Scanner
from ingest.retry import Steps
from ingest.scanning import Scanning

VIRUS = b"not one, but called so"
LIMITS = MimeLimits(parts=20)


class Store(MemoryStore):
    """Counts its puts, and refuses some."""

    def __init__(self, refused: bytes = b"") -> None:
        super().__init__()
        self.puts: list[str] = []
        self.octets = 0
        self.refused = hashlib.sha256(refused).digest()

    def put(
        self, key: str, body: BinaryIO, *, size: int, sha256: bytes, content_type: str, metadata: Mapping[str, str]
    ) -> Put:
        self.puts.append(key)
        self.octets += size
        if sha256 == self.refused:
            raise StoreRefused("no space left")
        return super().put(key, body, size=size, sha256=sha256, content_type=content_type, metadata=metadata)


class Named:
    """A scanner that knows one virus, and may be away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.asked = 0

    def scan(self, body: BinaryIO, size: int) -> Verdict:
        self.asked += 1
        if self.away:
            raise ScannerUnavailable("clamd: nobody answers")
        content = body.read()
        assert len(content) == size
        return Verdict(Scan.INFECTED, "Test.Virus") if content == VIRUS else Verdict(Scan.CLEAN)

    def ping(self) -> None:
        pass

    def close(self) -> None:
        pass


def message(contents: Sequence[bytes]) -> bytes:
    header = b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    parts = [header + base64.encodebytes(content) for content in contents]
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"\r\n".join([*parts, b"--b--\r\n"])


def scanning(scanner: Scanner, *, quarantines: bool = False, waits: bool = True) -> Scanning:
    return Scanning(scanner, steps=Steps(0), quarantines=quarantines, waits=waits)


def winmail(*streams: bytes) -> bytes:
    header = b"--b\r\nContent-Type: application/ms-tnef\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    parts = [header + base64.encodebytes(stream) for stream in streams]
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"\r\n".join([*parts, b"--b--\r\n"])


def attach(
    contents: Sequence[bytes], store: Store, tmp_path: Path, *, at_once: int = 4, scanning: Scanning | None = None
) -> Attached:
    return attach_of(message(contents), store, tmp_path, at_once=at_once, scanning=scanning)


def attach_of(
    raw: bytes,
    store: Store,
    tmp_path: Path,
    *,
    at_once: int = 4,
    scanning: Scanning | None = None,
    limits: MimeLimits = LIMITS,
) -> Attached:
    spools = Spools(tmp_path, 1000)
    with ThreadPoolExecutor(8) as pool, closing(spools()) as spool:
        crew = Crew(pool if at_once > 1 else None, at_once=at_once)
        attaching = Attaching(store=store, spools=spools, steps=Steps(0), limits=limits, scanning=scanning, crew=crew)
        spool.write(raw)
        spool.seal()
        return attaching.attach("a", spool, read_message(spool.buffer, limits).attachments, lambda: None)


@pytest.mark.parametrize("at_once", [1, 4])
def test_attachments_are_told_of_in_order_and_lie_in_storage(tmp_path: Path, at_once: int) -> None:
    store = Store()
    contents = [b"content %d " % number * (number * 100 + 1) for number in range(9)]
    attached = attach(contents, store, tmp_path, at_once=at_once)
    assert [part.sha256 for part in attached.parts] == [hashlib.sha256(content).hexdigest() for content in contents]
    for part, content in zip(attached.parts, contents, strict=True):
        with store.open(part.url.removeprefix("memory:///")) as body:
            assert body.read() == content


@pytest.mark.parametrize("at_once", [1, 4])
def test_what_a_message_holds_twice_is_put_once_and_told_of_twice(tmp_path: Path, at_once: int) -> None:
    store, scanner = Store(), Named()
    attached = attach([b"logo", b"other", b"logo"], store, tmp_path, at_once=at_once, scanning=scanning(scanner))
    assert [part.part.number for part in attached.parts] == ["1", "2", "3"]
    assert attached.parts[0].url == attached.parts[2].url
    assert len(store.puts) == len(set(store.puts)) == scanner.asked == 2


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_put_that_is_refused_is_raised_and_no_part_is_told_of(tmp_path: Path, at_once: int) -> None:
    with pytest.raises(StoreRefused, match="no space left"):
        attach([b"1", b"2", b"3"], Store(refused=b"2"), tmp_path, at_once=at_once)


def test_no_spool_is_left_open(tmp_path: Path) -> None:
    with open_files_are_the_same():
        attach([b"%d" % number * 2000 for number in range(10)], Store(), tmp_path)


def test_no_spool_is_left_open_behind_a_failure(tmp_path: Path) -> None:
    contents = [b"%d" % number * 2000 for number in range(10)]
    with open_files_are_the_same(), pytest.raises(StoreRefused):
        attach(contents, Store(refused=contents[1]), tmp_path)


@contextmanager
def open_files_are_the_same() -> Iterator[None]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_an_attachment_looks_like_stands_beside_what_it_is_said_to_be(tmp_path: Path) -> None:
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0"
    [png, text] = attach([picture, b"plain words\r\n"], Store(), tmp_path).parts
    assert (png.part.content_type, png.detected_type) == ("application/pdf", "image/png")
    assert text.detected_type is None


def test_without_a_scanner_there_is_no_verdict(tmp_path: Path) -> None:
    assert attach([VIRUS], Store(), tmp_path).parts[0].verdict is None


def test_each_attachment_has_its_verdict(tmp_path: Path) -> None:
    attached = attach([b"harmless", VIRUS], Store(), tmp_path, scanning=scanning(Named()))
    assert [part.verdict for part in attached.parts] == [Verdict(Scan.CLEAN), Verdict(Scan.INFECTED, "Test.Virus")]


def test_an_infected_attachment_may_send_its_message_into_quarantine_and_is_not_put(tmp_path: Path) -> None:
    store = Store()
    with pytest.raises(MessageInfected, match=r"part 2 is infected: Test\.Virus"):
        attach([b"harmless", VIRUS], store, tmp_path, scanning=scanning(Named(), quarantines=True))
    assert not any(hashlib.sha256(VIRUS).hexdigest() in key for key in store.puts)


def test_a_scanner_that_is_away_is_waited_for(tmp_path: Path) -> None:
    store = Store()
    with pytest.raises(ScannerUnavailable):
        attach([b"content"], store, tmp_path, scanning=scanning(Named(away=True)))
    assert not store.puts


def test_a_scanner_that_is_away_may_be_told_of_instead(tmp_path: Path) -> None:
    [part] = attach([b"content"], Store(), tmp_path, scanning=scanning(Named(away=True), waits=False)).parts
    assert part.verdict == Verdict(Scan.UNSCANNED, "clamd: nobody answers")


@pytest.mark.parametrize("at_once", [1, 4])
def test_what_lies_in_a_winmail_dat_follows_it_and_is_stored_too(tmp_path: Path, at_once: int) -> None:
    store, scanner = Store(), Named()
    stream = tnef.everything()
    attached = attach_of(winmail(stream), store, tmp_path, at_once=at_once, scanning=scanning(scanner))
    first, *inner = attached.parts
    assert (first.part.number, first.part.parent, first.size) == ("1", None, len(stream))
    assert all(part.part.parent is not None and part.part.number.startswith("1.") for part in inner)
    found = {part.part.filename: part for part in inner}
    pdf = found["Rechnung für März.pdf"]
    assert (pdf.sha256, pdf.detected_type) == (hashlib.sha256(b"%PDF-1.4").hexdigest(), "application/pdf")
    assert found["inner.txt"].sha256 == hashlib.sha256(b"inner").hexdigest()
    assert len(store.puts) == len(attached.parts) == scanner.asked


def test_an_infected_file_in_a_winmail_dat_is_found(tmp_path: Path) -> None:
    stream = tnef.stream(tnef.attachment(VIRUS, title=b"a.exe"))
    with pytest.raises(MessageInfected, match=r"part 1\.1 is infected"):
        attach_of(winmail(stream), Store(), tmp_path, scanning=scanning(Named(), quarantines=True))


def test_winmail_dats_share_the_limit_of_parts_with_the_message(tmp_path: Path) -> None:
    stream = tnef.stream(*[tnef.attachment(b"%d" % number, title=b"a") for number in range(15)])
    other = tnef.stream(*[tnef.attachment(b"more %d" % number, title=b"a") for number in range(15)])
    attached = attach_of(winmail(stream, other, other), Store(), tmp_path)
    assert len(attached.parts) <= LIMITS.parts
    assert "tnef_cut" in {defect.code for defect in attached.defects}


def test_a_broken_winmail_dat_is_an_attachment_with_a_defect(tmp_path: Path) -> None:
    attached = attach_of(winmail(b"no TNEF at all"), Store(), tmp_path)
    assert [part.part.number for part in attached.parts] == ["1"]
    assert [defect.code for defect in attached.defects] == ["tnef_damaged"]


def test_no_spool_of_a_winmail_dat_is_left_open(tmp_path: Path) -> None:
    stream = tnef.stream(*[tnef.attachment(b"%d" % number * 2000, title=b"a") for number in range(5)])
    with open_files_are_the_same():
        attach_of(winmail(stream), Store(), tmp_path)


def test_a_content_that_comes_again_and_again_is_not_kept_meanwhile(tmp_path: Path) -> None:
    most = 0

    class Slow(Store):
        def put(
            self, key: str, body: BinaryIO, *, size: int, sha256: bytes, content_type: str, metadata: Mapping[str, str]
        ) -> Put:
            nonlocal most
            time.sleep(0.3)
            most = max(most, len(list(Path("/proc/self/fd").iterdir())))
            return super().put(key, body, size=size, sha256=sha256, content_type=content_type, metadata=metadata)

    before = len(list(Path("/proc/self/fd").iterdir()))
    attach([b"logo" * 1000] * 20, Slow(), tmp_path)
    assert most - before < 10


def test_of_many_winmail_dats_the_first_few_are_opened(tmp_path: Path) -> None:
    streams = [tnef.stream(tnef.attachment(b"%d" % number, title=b"a")) for number in range(6)]
    attached = attach_of(winmail(*streams), Store(), tmp_path)
    assert [part.part.number for part in attached.parts if part.part.parent] == ["1.1", "2.1", "3.1", "4.1"]
    assert {(defect.code, defect.part) for defect in attached.defects} == {("tnef_cut", "5"), ("tnef_cut", "6")}


@pytest.mark.parametrize("messages", [0, 4, 10, 30])
@pytest.mark.parametrize("streams", [0, 4, 10, 30])
def test_messages_within_messages_make_no_more_octets_than_the_limit_says(
    tmp_path: Path, messages: int, streams: int
) -> None:
    content = tnef.nested(streams, tnef.attachment(bytes(1 << 20), title=b"a"))
    raw = b"Content-Type: message/rfc822\r\n\r\n" * messages
    raw += b"Content-Type: application/ms-tnef\r\nContent-Transfer-Encoding: binary\r\n\r\n" + content
    store, limits = Store(), MimeLimits()
    attach_of(raw, store, tmp_path, limits=limits)
    assert len(raw) + store.octets <= (limits.nested_messages + 3) * len(raw)


def test_a_winmail_dat_in_a_forwarded_message_is_opened_as_deep_as_the_limit_leaves(tmp_path: Path) -> None:
    content = tnef.nested(5, tnef.attachment(b"inner", title=b"inner.txt"))
    raw = b"Content-Type: message/rfc822\r\n\r\nContent-Type: application/ms-tnef\r\n\r\n" + content
    attached = attach_of(raw, Store(), tmp_path)
    assert "inner.txt" in {part.part.filename for part in attached.parts}
