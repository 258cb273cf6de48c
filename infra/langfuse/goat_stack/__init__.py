"""Langfuse with its stores in one container whose disk may vanish; what must stay is kept on a volume.

`python -m goat_stack` starts Postgres, Redis, ClickHouse and MinIO (those that are not given by URL),
restored from the volume, then Langfuse's programs, and keeps the volume up to date until it is stopped.
Standard library only: it runs inside the container, where nothing of pytest-goat is installed.
"""
