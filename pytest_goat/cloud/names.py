"""What things are called on Modal. `infra/` and the plugin find each other by these names alone."""

from __future__ import annotations

ENVIRONMENT = "goat"
"""The Modal environment, unless `--goat-modal-env` or `MODAL_ENVIRONMENT` says another."""

SANDBOX_APP = "goat-sandbox"
SERVICES_APP = "goat-services"
VLLM_APP = "goat-vllm"
"""Prefix of the apps of `infra/vllm.py`, one for each model: `goat-vllm-llama-3.1-8b-local`."""

GATEWAY_FUNCTION = "gateway"
LANGFUSE_FUNCTION = "langfuse"
OWN_LANGFUSE = f"--{SERVICES_APP}-{LANGFUSE_FUNCTION}."
"""Part of the address that Modal gives to ours: `https://WORKSPACE-goat--goat-services-langfuse.modal.run`."""

VLLM_FUNCTION = "serve"

GATEWAY_PORT = 4000
LANGFUSE_PORT = 3000
VLLM_PORT = 8000

RESULTS_VOLUME = "goat-results"
PGDATA_VOLUME = "goat-pgdata"
MODEL_CACHE_VOLUME = "goat-model-cache"

GATEWAY_DICT = "goat-gateway"
"""The shelf that the plugin and all containers of the gateway share (`pytest_goat.gateway.shelf`)."""

PROVIDERS_SECRET = "goat-llm-providers"  # noqa: S105 - a name
LITELLM_SECRET = "goat-litellm"  # noqa: S105
LANGFUSE_SECRET = "goat-langfuse"  # noqa: S105
POSTGRES_SECRET = "goat-postgres"  # noqa: S105
HUGGINGFACE_SECRET = "goat-huggingface"  # noqa: S105
"""Optional: weights that are given out only to known accounts."""


def vllm_app(model: str) -> str:
    """The app that serves `model`, as `models.yaml` names it."""
    return f"{VLLM_APP}-{model}"
