"""A model on a GPU, served by vLLM, as one app on Modal for each model; it costs nothing while nobody calls.

    modal deploy infra/vllm.py --env goat    # llama-3.1-8b-local
    GOAT_VLLM_MODEL=qwen3-4b-local modal deploy infra/vllm.py --env goat    # another row of the table
    GOAT_MODELS=mine.yaml GOAT_VLLM_MODEL=mine modal deploy infra/vllm.py --env goat
    GOAT_VLLM_FAST_BOOT=1 modal deploy infra/vllm.py --env goat    # starts sooner, answers slower

A row that does not fit its GPU is refused before anything is made. Callers need the key VLLM_API_KEY of the
secret `goat-litellm`; it stands there and not beside the providers' keys, so that none of those is in a
container that runs a model. Gated weights need the secret `goat-huggingface`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import modal

from pytest_goat.cloud import names
from pytest_goat.deploy import vllm_plan
from pytest_goat.deploy.configuration import TAG, own_models
from pytest_goat.errors import UserError

MINUTES = 60

MAX_CONTAINERS = 1
"""GPUs are what costs here: requests beyond `max_num_seqs` of the row wait in vLLM's own queue."""

MAX_INPUTS = 100
"""Requests that one container takes; they wait in vLLM, which batches them, rather than in front of it."""

IDLE = 5 * MINUTES
"""A container without requests ends after this; a trial's tools and checks take less."""

REQUEST = 60 * MINUTES
"""The longest that one answer may take."""

STARTUP = 20 * MINUTES
"""The first start downloads the weights; later ones take them from the volume, in 60 to 90 s."""

CUDA = "nvidia/cuda:12.9.1-devel-ubuntu24.04"
PYTHON = "3.12"


def _plan() -> vllm_plan.Plan:
    """What is served: from the table of models where this is deployed, from the image in the container."""
    if not modal.is_local():
        return vllm_plan.from_json(os.environ[vllm_plan.PLAN_VARIABLE])
    model = os.environ.get(vllm_plan.MODEL_VARIABLE) or vllm_plan.DEFAULT_MODEL
    try:
        return vllm_plan.plan(model, own_models(os.environ), os.environ)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


def _image(plan: vllm_plan.Plan) -> modal.Image:
    image = (
        modal.Image.from_registry(CUDA, add_python=PYTHON)
        .entrypoint([])
        .uv_pip_install(f"vllm=={vllm_plan.VERSION}", "huggingface_hub[hf_xet]")
        .env(
            {
                "HF_HOME": f"{vllm_plan.CACHE}/huggingface",
                "HF_XET_HIGH_PERFORMANCE": "1",
                "VLLM_CACHE_ROOT": f"{vllm_plan.CACHE}/vllm",
                "VLLM_NO_USAGE_STATS": "1",
            }
        )
    )
    if plan.template:
        image = image.run_commands(_download(plan.template, vllm_plan.FOLDER))
    guard = Path(vllm_plan.__file__).with_name("vllm_guard.py")
    return (
        image.env({vllm_plan.PLAN_VARIABLE: plan.to_json()})
        .add_local_file(guard, f"{vllm_plan.FOLDER}/{vllm_plan.GUARD}.py")
        .add_local_python_source("pytest_goat")
    )


def _download(url: str, folder: str) -> str:
    """A command that does so; the CUDA image has neither curl nor wget."""
    name = url.rpartition("/")[2]
    code = f"from urllib.request import urlretrieve; urlretrieve('{url}', '{folder}/{name}')"
    return f'mkdir -p {folder} && python -c "{code}"'


plan = _plan()
tags = {TAG: plan.hash(Path(__file__))} if modal.is_local() else {}
app = modal.App(plan.app, tags=tags)
secrets = [modal.Secret.from_name(names.LITELLM_SECRET, required_keys=["VLLM_API_KEY"])]
if plan.gated:
    secrets.append(modal.Secret.from_name(names.HUGGINGFACE_SECRET, required_keys=["HF_TOKEN"]))


@app.function(
    name=names.VLLM_FUNCTION,
    image=_image(plan),
    gpu=plan.gpu,
    volumes={vllm_plan.CACHE: modal.Volume.from_name(names.MODEL_CACHE_VOLUME, create_if_missing=True)},
    secrets=secrets,
    max_containers=MAX_CONTAINERS,
    scaledown_window=IDLE,
    timeout=REQUEST,
    startup_timeout=STARTUP,
)
@modal.concurrent(max_inputs=MAX_INPUTS)
@modal.web_server(names.VLLM_PORT, startup_timeout=STARTUP)
def serve() -> None:
    """Start vLLM."""
    # This very file lies on the container's PYTHONPATH as `vllm`: vLLM would import it instead of itself.
    environ = os.environ | {"PYTHONPATH": vllm_plan.FOLDER}
    port = os.environ.get("GOAT_SERVE_PORT", str(names.VLLM_PORT))
    subprocess.Popen([*plan.command, "--port", port], env=environ, cwd="/")
