"""Mailsluice: mail in many POP3 maildrops becomes events on a queue, attachments already in object storage."""
