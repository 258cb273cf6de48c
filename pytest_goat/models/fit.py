"""What fits a GPU, by arithmetic: told before a deploy, not by a container that dies ten minutes later.

Per GPU, with the model cut into `gpus` equal parts (tensor parallelism):

    weights   = parameters x bytes per weight / gpus
    KV cache  = memory x UTILIZATION - weights - OVERHEAD
    per token = 2 (key and value) x layers x KV heads x head dimension x 2 bytes / gpus

vLLM refuses to start when the KV cache cannot hold one request of `max_model_len` tokens
(https://docs.vllm.ai/en/stable/configuration/conserving_memory/).
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_goat.models.table import Serving

GPU_MEMORY = {
    "T4": 14.5,
    "L4": 22.0,
    "A10": 22.0,
    "A10G": 22.0,
    "A100": 39.0,
    "A100-40GB": 39.0,
    "A100-80GB": 79.0,
    "L40S": 44.0,
    "RTX-PRO-6000": 94.0,
    "H100": 79.0,
    "H200": 139.0,
    "B200": 178.0,
}
"""GPUs that Modal has (https://modal.com/docs/guide/gpu) -> GiB that CUDA gives to programs, rounded down."""

UTILIZATION = 0.9
"""Share of a GPU's memory that vLLM takes (`--gpu-memory-utilization`)."""

OVERHEAD = 1.0
"""GiB for activations and CUDA graphs at the small batches of agents."""

AGENT_ANSWER = 16_384
"""Tokens that goat-eval's first version asks room for in every call (`max_tokens`)."""

AGENT_PROMPT = 8_192
"""Tokens that its prompt, tools and a few turns take; a context that holds less serves no trial."""

_GIB = 2**30
_KV_BYTES = 2


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model lies in a GPU's memory; GiB are per GPU."""

    gpu: str
    weights: float
    cache: float
    """GiB left for the KV cache; below 0 the weights alone are too large."""
    tokens: int
    """Tokens that the cache holds, of all requests at once."""
    problem: str = ""
    """Why it cannot work, and what would; "" when it can."""


def fits(serving: Serving, gpu: str = "", gpus: int = 0) -> Fit:
    """Whether vLLM can serve a model on its own GPU, or on `gpus` of another kind."""
    gpu, gpus = gpu or serving.gpu, gpus or serving.gpus
    weights = serving.params * 1e9 * serving.weight_bytes / gpus / _GIB
    cache = GPU_MEMORY[gpu] * UTILIZATION - weights - OVERHEAD
    per_token = 2 * serving.layers * serving.kv_heads * serving.head_dim * _KV_BYTES / gpus
    tokens = max(0, int(cache * _GIB / per_token))
    return Fit(_label(gpu, gpus), weights, cache, tokens, _problem(serving, gpu, gpus, weights, tokens))


def _problem(serving: Serving, gpu: str, gpus: int, weights: float, tokens: int) -> str:
    label = _label(gpu, gpus)
    if serving.kv_heads % gpus:
        return (
            f"{serving.kv_heads} KV heads cannot be shared by {gpus} GPUs: choose a count that divides them"
        )
    if serving.max_model_len < (least := AGENT_ANSWER + AGENT_PROMPT):
        return (
            f"max_model_len {serving.max_model_len} is too short: an agent asks room for an answer of "
            f"{AGENT_ANSWER} tokens after a prompt of up to {AGENT_PROMPT}: write at least {least}"
        )
    if not tokens:
        return (
            f"its weights ({weights:.1f} GiB on each GPU) do not fit {label}: choose a larger or more of them"
        )
    if tokens < serving.max_model_len:
        return (
            f"{label} has room for {tokens} tokens beside the weights, max_model_len is "
            f"{serving.max_model_len}: choose a larger GPU or a shorter context"
        )
    return ""


def _label(gpu: str, gpus: int) -> str:
    """As Modal takes it: `H100`, `H100:2`."""
    return gpu if gpus == 1 else f"{gpu}:{gpus}"
