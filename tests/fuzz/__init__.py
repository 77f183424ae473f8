"""Made-up octets from a server, against what the POP3 client may do with them."""
