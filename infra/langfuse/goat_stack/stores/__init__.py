"""The stores that Langfuse needs, each with how it is restored, started, watched, snapshotted and stopped."""
