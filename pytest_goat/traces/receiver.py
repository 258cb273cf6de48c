"""Where traces go: Langfuse by its keys, or any receiver of OpenTelemetry by its address."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_goat.traces.ids import trace_id

_OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
_OTLP_TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@dataclass(frozen=True, slots=True)
class Receiver:
    """A receiver of traces; its headers hold its key and are never shown."""

    endpoint: str
    """Where spans are posted (OTLP over HTTP, protobuf)."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    host: str = ""
    """Langfuse's address; "" for another receiver, which takes no scores and has no page for a trace."""
    project: str = ""
    """Langfuse's id of the project; "" when it is not known."""

    def link(self, run_id: str, trial_id: str) -> str:
        """The page of a trial's trace; "" where there is none."""
        if not self.host:
            return ""
        trace = trace_id(run_id, trial_id)
        # Without the project, Langfuse finds the trace and leads on to its page.
        return (
            f"{self.host}/project/{self.project}/traces/{trace}"
            if self.project
            else f"{self.host}/trace/{trace}"
        )


def receiver(environ: Mapping[str, str]) -> Receiver | None:
    """The receiver that the environment names; None when it names none, and nothing is sent.

    Langfuse: LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY, LANGFUSE_HOST and LANGFUSE_PROJECT_ID. Another one:
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT, and OTEL_EXPORTER_OTLP_HEADERS.
    """
    public, secret = environ.get("LANGFUSE_PUBLIC_KEY", ""), environ.get("LANGFUSE_SECRET_KEY", "")
    host = environ.get("LANGFUSE_HOST", "").rstrip("/")
    # `infra/setup.py` makes keys for a Langfuse of one's own: without its address, they name nobody's cloud.
    if public and secret and host:
        basic = base64.b64encode(f"{public}:{secret}".encode()).decode()
        return Receiver(
            f"{host}/api/public/otel/v1/traces",
            {"Authorization": f"Basic {basic}", "x-langfuse-ingestion-version": "4"},
            host,
            environ.get("LANGFUSE_PROJECT_ID") or environ.get("LANGFUSE_INIT_PROJECT_ID", ""),
        )
    endpoint = environ.get(_OTLP_TRACES, "")
    if not endpoint and environ.get(_OTLP):
        endpoint = environ[_OTLP].rstrip("/") + "/v1/traces"
    return Receiver(endpoint, _headers(environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""))) if endpoint else None


def secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values that nobody may see."""
    found = [
        environ.get("LANGFUSE_SECRET_KEY", ""),
        *_headers(environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")).values(),
    ]
    return tuple(value for value in found if value)


def _headers(text: str) -> dict[str, str]:
    """`name=value,name=value`, as the OpenTelemetry specification has it."""
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
