"""Sinks, one file each. See `ingest.ports.EventSink`; one contract suite runs on all of them."""
