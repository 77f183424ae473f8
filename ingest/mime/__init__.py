"""Mail as it comes: structure, headers, bodies and attachments of one message (RFC 5322, RFC 2045-2049).

Rules of this room:
- No input raises. What is wrong becomes a `Defect`; what is too much is cut at a limit of `MimeLimits`. Only time that
  is over raises (`Deadline`).
- Every loop over input goes forward only, and nothing recurses over input: cost is linear in size.
- A part is a span over the message's buffer; nothing holds a whole decoded attachment.
"""
