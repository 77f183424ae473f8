"""A small POP3 server of our own: for `mailsluice demo`, and to test clients against, ours and others'.

Rules of this room:
- Written from RFC 1939, 2449, 2595, 3206, 5034 and 6856 with the standard library alone (throw-away certificates need
  `cryptography`, the fixtures pytest; both are imported when asked for). It never imports `ingest.pop3`: that
  client and server were written apart is the cross-check.
- Strict in what it takes (CRLF, command lengths, states), so that a client's fault shows here and not in the field.
- One thread a connection, everything bounded. It is no mail server for the internet.
"""
