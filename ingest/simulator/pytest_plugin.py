"""Fixtures for those who test a POP3 client: servers that behave as a test says, and certificates for them.

Rules of this room:
- Loaded by every pytest that finds this package: nothing but pytest is imported before a fixture is asked for.
- What a test starts ends with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from ingest.simulator.authority import Authority
    from ingest.simulator.maildrop import Maildrop
    from ingest.simulator.server import Simulator


class StartServer(Protocol):
    """What the fixture `pop3_server` is."""

    def __call__(
        self,
        users: Mapping[str, tuple[str, Maildrop | Iterable[bytes]]],
        *behaviours: str,
        tls: str | None = None,
        latency_s: float = 0.0,
        **knobs: object,
    ) -> Simulator:
        """Start a server on a free port of 127.0.0.1.

        Args:
            users: by name, the password and the maildrop or its messages.
            behaviours: names out of docs/simulator.md, all of which play at once.
            tls: "implicit", "starttls" or None; the certificates are `pop3_authority`'s.
            latency_s: wait before each flight of replies.
            knobs: of `ingest.simulator.behaviour.Behaviour`, over what the names say: `session_s=0.2`.
        """
        ...


@pytest.fixture(scope="session")
def pop3_authority() -> Authority:
    """Who certifies the servers of this test run: `ca_pem` for a file, `client_context()` for ssl."""
    from ingest.simulator.authority import Authority  # noqa: PLC0415 - heavy, and seldom wanted

    return Authority()


@pytest.fixture
def pop3_server(request: pytest.FixtureRequest) -> Iterator[StartServer]:
    """Starts POP3 servers, as many as the test wants."""
    from dataclasses import replace  # noqa: PLC0415 - see the rules

    from ingest.simulator.maildrop import Maildrop  # noqa: PLC0415 - see the rules
    from ingest.simulator.names import behaviour_named  # noqa: PLC0415 - see the rules
    from ingest.simulator.server import Simulator  # noqa: PLC0415 - see the rules

    with ExitStack() as started:

        def start(
            users: Mapping[str, tuple[str, Maildrop | Iterable[bytes]]],
            *behaviours: str,
            tls: str | None = None,
            latency_s: float = 0.0,
            **knobs: object,
        ) -> Simulator:
            if tls not in {None, "implicit", "starttls"}:
                raise ValueError(f'tls is "implicit", "starttls" or None, not {tls!r}')
            behaviour = replace(behaviour_named(behaviours), **{"latency_s": latency_s, **knobs})  # type: ignore[arg-type]
            maildrops = {
                name: (password, mail if isinstance(mail, Maildrop) else Maildrop(mail))
                for name, (password, mail) in users.items()
            }
            authority = None if tls is None else request.getfixturevalue("pop3_authority")
            server = Simulator(maildrops, behaviour=behaviour, tls=authority, implicit_tls=tls == "implicit")
            return started.enter_context(server)

        yield start
