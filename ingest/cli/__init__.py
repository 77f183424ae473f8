"""The `mailsluice` command: a file for each command or family, over `ingest.wiring`."""
