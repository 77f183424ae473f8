"""A small POP3 server of our own: for `mailsluice demo`, and for tests where Dovecot needs root.

Rules of this room:
- Written from RFC 1939, 2449, 2595, 3206 and 5034 with the standard library alone. It never imports `ingest.pop3`: that
  client and server were written apart is the cross-check.
- Strict in what it takes (CRLF, command lengths, states), so that a client's fault shows here and not in the field.
- One thread a connection, everything bounded. It is no mail server for the internet.
"""
