"""POP3 as a client speaks it: RFC 1939, 2449 (CAPA, response codes), 2595 (STLS), 3206 (AUTH code), 5034 (SASL).

Rules of this room:
- `linebuffer` and `connection` do no I/O and know no clock; `exchange` waits, `session` says what a maildrop is asked.
- Whatever a server says may be a lie or a trap: every length and every wait has a limit, and no text of a server
  reaches a person before `replies.Cleaner` went over it.
"""
