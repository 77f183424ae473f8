"""What CAPA says (RFC 2449, 5 and 6).

Rules of this room:
- A capability is announced where the behaviour serves it, but for what the behaviour announces wrongly on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingest.simulator.behaviour import Behaviour, Utf8


def capabilities(behaviour: Behaviour, *, stls: bool, logged_in: bool) -> list[bytes]:
    """The lines of a CAPA reply.

    Args:
        behaviour: of the session.
        stls: whether TLS could begin now.
        logged_in: whether this is the TRANSACTION state.
    """
    offered: Mapping[str, bool] = {
        "USER": True,
        "TOP": behaviour.top,
        "UIDL": behaviour.uidl and (logged_in or behaviour.uidl_announced_before_login),
        "PIPELINING": behaviour.pipelining,
        "SASL PLAIN": behaviour.sasl_plain,
        "RESP-CODES": behaviour.respond_codes,
        "AUTH-RESP-CODE": behaviour.respond_codes,
        "UTF8": behaviour.utf8 is not Utf8.NONE,
        "STLS": behaviour.stls and stls and not logged_in,
        f"LOGIN-DELAY {behaviour.login_delay_s}": behaviour.login_delay_s is not None,
        "EXPIRE 0": behaviour.delete_retrieved,
        "IMPLEMENTATION Mailsluice-simulator": True,
    }
    return [name.encode() for name, is_offered in offered.items() if is_offered]
