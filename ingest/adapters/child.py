"""A suspect message in a child process: fed through a pipe, listened to, killed at its limits, always reaped.

Rules of this room:
- Nothing of the message or the account stands in the arguments; nothing is left behind, whatever ends the call.
- Until the child says that it looks at the message, its end is our fault; from then on it is the message's. Only a
  child that stores for too long is the store's.
- The child limits itself, since code between fork and exec is not safe beside threads. It ends with us: its standard
  input is a pipe that only we hold.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import IO, Any, BinaryIO

from pydantic import ValidationError

from ingest.errors import IngestError, MessageUnprocessable, StoreUnavailable
from ingest.isolation import Confines, Phase, Task, Word, as_error, longest_word
from ingest.models import Account, Failure, MessageRef
from ingest.pipeline import Processed
from ingest.ports import Spool

_COMMAND = ("-P", "-m", "ingest", "isolated")
_STEP_S = 0.2
_START_S = 60.0  # a second of imports, on a machine with much else to do
_END_S = 5.0  # between its last octet and its end
_CHUNK_BYTES = 64 << 10
# The slowest step on the way is a pure Python one at some 20 MB/s of CPU; transport may be as slow as a session's.
_BYTES_PER_CPU_S = 4 << 20
_BYTES_PER_S = 64 << 10


class ChildProcess:
    """Processes a message in `python -m ingest isolated`.

    Args:
        settings: what the child builds store and pipeline from, fit for JSON.
        memory_bytes: its address space, beside the message and what it may be decoded to, which are mapped.
        cpu_s: its CPU time; grows by a second for each 4 MiB of message.
        deadline_s: for parsing, and again for storing; grows by a second for each 64 KiB.
        event_max_bytes: of the event that it answers with.
    """

    def __init__(
        self,
        *,
        settings: Mapping[str, Any],
        memory_bytes: int,
        cpu_s: float,
        deadline_s: float,
        event_max_bytes: int,
    ) -> None:
        self._settings = settings
        self._memory_bytes = memory_bytes
        self._cpu_s = cpu_s
        self._deadline_s = deadline_s
        self._longest_word = longest_word(event_max_bytes)

    def process(
        self, account: Account, ref: MessageRef, spool: Spool, *, first_seen: datetime, beat: Callable[[], None]
    ) -> Processed:
        confines = Confines(
            self._memory_bytes + 2 * spool.size,
            self._cpu_s + spool.size // _BYTES_PER_CPU_S,
            self._deadline_s + spool.size // _BYTES_PER_S,
        )
        task = Task.of(account, ref, spool.size, first_seen=first_seen, settings=self._settings, confines=confines)
        with _started() as child, closing(spool.open()) as body:
            talk = _Talk(child, confines, self._longest_word)
            said = talk.until_last_word(_Feed(child.stdin, task.line(), body), beat)
        if isinstance(said, Failure):
            raise as_error(said)
        return said


class _Feed:
    """What the child is still to be given: its task, then the message, as much at a time as the pipe takes."""

    def __init__(self, pipe: IO[bytes] | None, first: bytes, body: BinaryIO) -> None:
        assert pipe is not None  # noqa: S101 - it was asked for
        self.pipe = pipe
        os.set_blocking(pipe.fileno(), False)
        self._body = body
        self._chunk = memoryview(first)

    def push(self) -> bool:
        """Write once; whether there is more. The pipe stays open: that it closes tells the child of our end."""
        try:
            self._chunk = self._chunk[os.write(self.pipe.fileno(), self._chunk) :]
        except BrokenPipeError:
            return False  # it is ending, and what it said or how it died tells why
        except BlockingIOError:
            return True
        if not self._chunk:
            self._chunk = memoryview(self._body.read(_CHUNK_BYTES))
        return bool(self._chunk)


class _Talk:
    """One conversation with one child."""

    def __init__(self, child: subprocess.Popen[bytes], confines: Confines, longest_word: int) -> None:
        assert child.stdout is not None  # noqa: S101 - it was asked for
        self._child = child
        self._stdout = child.stdout
        self._confines = confines
        self._longest_word = longest_word
        self._heard = bytearray()
        self._phase: Phase | None = None
        self._ends_at = time.monotonic() + _START_S

    def until_last_word(self, feed: _Feed, beat: Callable[[], None]) -> Processed | Failure:
        """Feed and listen, in small steps; raises what is to be said of one that died, is late or talks nonsense."""
        with selectors.DefaultSelector() as pipes:
            pipes.register(feed.pipe, selectors.EVENT_WRITE)
            pipes.register(self._stdout, selectors.EVENT_READ)
            while True:
                for key, _ in pipes.select(_STEP_S):
                    if key.fileobj is feed.pipe:
                        if not feed.push():
                            pipes.unregister(feed.pipe)
                        continue
                    said = self._listen()
                    if said is not None:
                        return said
                beat()
                if time.monotonic() > self._ends_at:
                    raise self._late()

    def _listen(self) -> Processed | Failure | None:
        octets = os.read(self._stdout.fileno(), _CHUNK_BYTES)
        if not octets:
            raise self._dead()
        self._heard += octets
        *lines, rest = self._heard.split(b"\n")
        self._heard = rest
        if max(map(len, (*lines, rest))) > self._longest_word:
            raise MessageUnprocessable("processed alone, the message makes its process talk nonsense")
        for line in lines:
            try:
                said = Word.model_validate_json(bytes(line)).said
            except ValidationError:
                raise MessageUnprocessable("processed alone, the message makes its process talk nonsense") from None
            if not isinstance(said, Phase):
                return said
            self._phase = said
            self._ends_at = time.monotonic() + self._confines.deadline_s
        return None

    def _late(self) -> IngestError:
        if self._phase is None:
            return IngestError(f"the process for a message alone was not ready within {_START_S:g} s")
        within = f"within {self._confines.deadline_s:g} s"
        if self._phase is Phase.STORING:
            return StoreUnavailable(f"a message that is processed alone could not be stored {within}")
        return MessageUnprocessable(f"processed alone, the message could not be parsed {within}")

    def _dead(self) -> IngestError:
        try:
            code = self._child.wait(_END_S)
        except subprocess.TimeoutExpired:
            how = "fell silent"
        else:
            if code == -signal.SIGALRM:  # we were stopped meanwhile, and it ended by itself
                return self._late()
            how = f"exit code {code}" if code >= 0 else _signalled(-code, self._confines)
        if self._phase is None:
            return IngestError(f"the process for a message alone ended before it looked at it: {how}")
        return MessageUnprocessable(f"processed alone, the message ended its process: {how}")


@contextmanager
def _started() -> Iterator[subprocess.Popen[bytes]]:
    """A child that is gone, with all that it started, when the block ends."""
    # It must find the code that we run, wherever that came from.
    path = os.pathsep.join(os.path.abspath(each) for each in sys.path)  # noqa: PTH100 - an empty one is the directory we are in
    try:
        child = subprocess.Popen(
            [sys.executable, *_COMMAND],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    except OSError as error:
        raise IngestError(f"no process can be started for a message alone: {error.strerror or error}") from error
    with child:
        try:
            yield child
        finally:
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)


def _signalled(number: int, confines: Confines) -> str:
    if number == signal.SIGXCPU:
        return f"more than {confines.cpu_s:g} s of CPU time"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
