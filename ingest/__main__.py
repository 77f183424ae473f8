"""`python -m ingest` is `mailsluice`."""

from ingest.cli.main import main

if __name__ == "__main__":
    main()
