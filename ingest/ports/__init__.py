"""What the core asks of the world. Adapters implement these; one contract suite a port runs on each of them.

Rules of this room:
- Protocols only, and the values they speak of. Every wait has a deadline that the adapter keeps; every error is one of
  `ingest.errors`.
- Anything that lives in a process for long has `ping()` (raises what is wrong) and `close()`.
"""

from ingest.ports.dead import DeadLetter, DeadLetters
from ingest.ports.names import Names, ServiceRecord
from ingest.ports.objects import Contents, ObjectInfo, ObjectStore, Put, Scanner, Spool, SpoolFactory
from ingest.ports.process import Clock, Credentials, Dispatcher, Secrets, Telemetry
from ingest.ports.server import ByteStream, Dialer, Hosts, TlsInfo
from ingest.ports.sink import EventSink, ShardTurn
from ingest.ports.state import AccountRegistry, Lease, Ledger, Refusals, Schedule
from ingest.ports.stream import ConsumerGroup, Delivery, EventGroup, EventLog, HandledEvents, Turn

__all__ = [
    "AccountRegistry",
    "ByteStream",
    "Clock",
    "ConsumerGroup",
    "Contents",
    "Credentials",
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "Dialer",
    "Dispatcher",
    "EventGroup",
    "EventLog",
    "EventSink",
    "HandledEvents",
    "Hosts",
    "Lease",
    "Ledger",
    "Names",
    "ObjectInfo",
    "ObjectStore",
    "Put",
    "Refusals",
    "Scanner",
    "Schedule",
    "Secrets",
    "ServiceRecord",
    "ShardTurn",
    "Spool",
    "SpoolFactory",
    "Telemetry",
    "TlsInfo",
    "Turn",
]
