"""A process with everything imported and nothing connected, that forks a child for each poll.

Rules of this room:
- One line of JSON in: the account, settings of this poll, the armed point and its arrival, whether suspects are run
  alone, a planted bug. One line out: whether the child was killed, else its report.
- No thread and no connection before the fork. Settings are loaded and the store's client is made, since either takes as
  long as a poll; but it has not connected.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import signal
import sys
import traceback
from typing import Any

from chaos.armed import arm
from chaos.planted import Bug, plant
from chaos.points import Fuse, Point
from ingest.ports import ObjectStore
from ingest.settings import Settings
from ingest.wiring import build


def main() -> None:
    """Serve until the other end closes."""
    # Whatever the children print must not land among the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    settings = Settings.load()
    store = build(settings).store
    gc.freeze()
    for line in sys.stdin:
        answers.write(json.dumps(_raise_one(json.loads(line), settings, store)) + "\n")


def _raise_one(request: dict[str, Any], settings: Settings, store: ObjectStore) -> dict[str, Any]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            said = json.dumps(_poll(request, settings, store), default=str).encode()
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(said)
            code = 0
        except BaseException:  # noqa: BLE001  # a child ends here, whatever happens
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return {"killed": True, "report": None}
    return {"killed": False, "report": json.loads(said) if said else None}


def _poll(request: dict[str, Any], settings: Settings, store: ObjectStore) -> dict[str, Any]:
    services = build(settings.model_copy(update=request["settings"]))
    services.__dict__["store"] = store
    fuse = Fuse(Point(request["point"]) if request["point"] else None, request["nth"])
    arm(services, fuse, alone=request["alone"])
    if request["planted"]:
        plant(services, Bug(request["planted"]))
    account = services.registry.get([request["account"]])[request["account"]]
    return dataclasses.asdict(services.poller.poll(account))


if __name__ == "__main__":
    main()
