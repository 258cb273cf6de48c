"""A trace of every trial, for Langfuse or any other receiver of OpenTelemetry: from what the gateway saw."""
