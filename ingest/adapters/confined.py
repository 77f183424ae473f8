"""What the child process of `child` does: confine itself, process the one message it is given, say how that went.

Rules of this room:
- One message a process; it ends by `os._exit`, so that nothing of it can hang at the end.
- Words go out by a descriptor of their own: whatever a library prints goes elsewhere.
- It ends when its parent does: a thread waits for standard input to close, and an alarm, which no lock holds up,
  stands behind that. SIGTERM is its parent's to obey: the message in hand is finished.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, Any, NoReturn

from pydantic import ValidationError

from ingest.errors import IngestError, MessageUnprocessable
from ingest.isolation import Confines, Phase, Task, Word
from ingest.models import Failure
from ingest.pipeline import Pipeline, Processed
from ingest.ports import Spool, SpoolFactory

_CHUNK_BYTES = 64 << 10
_GRACE_S = 10.0  # by which our alarm comes after our parent's patience has ended
_NOT_A_TASK = 2
Make = Callable[[Mapping[str, Any]], tuple[Pipeline, SpoolFactory]]


def answer(make: Make) -> NoReturn:
    """Read a task and its message from standard input, answer on standard output, end the process.

    Args:
        make: pipeline and spools from the task's settings.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    words = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    source = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    try:
        task = Task.model_validate_json(source.readline())
    except ValidationError:
        sys.stderr.write("mailsluice runs this command itself, for a message that is to be processed alone\n")
        os._exit(_NOT_A_TASK)
    _say(words, _outcome(task, source, make, lambda phase: _say(words, phase)))
    os._exit(0)


def _outcome(task: Task, source: IO[bytes], make: Make, tell: Callable[[Phase], None]) -> Processed | Failure:
    """The message in storage, or why not."""
    try:
        return _processed(task, source, make, tell)
    except Exception as error:  # noqa: BLE001 - a bug is told of like any failure; its text might hold mail
        if _ran_out_of_memory(error):
            memory = task.confines.memory_bytes >> 20
            told: IngestError = MessageUnprocessable(f"processed alone, the message needs more than {memory} MiB")
        elif isinstance(error, IngestError):
            told = error
        else:
            where = traceback.extract_tb(error.__traceback__)[-1]
            told = IngestError(
                f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}", todo="this is a bug: report it"
            )
        return Failure.of(told)


def _processed(task: Task, source: IO[bytes], make: Make, tell: Callable[[Phase], None]) -> Processed:
    pipeline, spools = make(task.settings)
    with closing(spools()) as spool:
        _fill(spool, source, task.size)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        _confine(task.confines)
        tell(Phase.READING)
        read = pipeline.read(spool)
        tell(Phase.STORING)
        return pipeline.process(task.account, task.ref, spool, read, first_seen=task.first_seen, beat=lambda: None)


def _fill(spool: Spool, source: IO[bytes], size: int) -> None:
    while spool.size < size:
        chunk = source.read(min(_CHUNK_BYTES, size - spool.size))
        if not chunk:
            os._exit(0)  # our parent is gone
        spool.write(chunk)
    spool.seal()


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)


def _confine(confines: Confines) -> None:
    """Give the message no more than it may take; what a system does not offer is left out."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())  # from here on a traceback might hold mail
    with contextlib.suppress(OSError):  # Linux: before anything else, should the system run out of memory
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = int(used.ru_utime + used.ru_stime + confines.cpu_s) + 1
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    _limit(resource.RLIMIT_CPU, cpu_s)
    _limit(resource.RLIMIT_AS, confines.memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)  # a core holds mail
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 2 * confines.deadline_s + _GRACE_S)


def _limit(which: int, value: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        _, most = resource.getrlimit(which)
        resource.setrlimit(which, (value if most == resource.RLIM_INFINITY else min(value, most), most))


def _ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory is what ran out, whoever noticed it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM):
            return True
        cause = cause.__cause__
    return False


def _say(words: int, said: Phase | Processed | Failure) -> None:
    with open(words, "wb", closefd=False) as out:
        out.write(Word(said=said).line())
