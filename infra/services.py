"""The services of pytest-goat, as one app on Modal: the gateway, and Langfuse unless there is one elsewhere.

    modal deploy infra/services.py --env goat
    GOAT_MODELS=mine.yaml modal deploy infra/services.py --env goat     # with rows of your own

Needs the secrets that `python infra/setup.py` makes. With LANGFUSE_HOST in the environment or in `.env`
(of a Langfuse elsewhere), traces go there and no Langfuse is deployed. The plugin does the same by itself:
`--goat-deploy`.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from pathlib import Path

import modal

from pytest_goat.cloud import names
from pytest_goat.deploy.configuration import HASH_VARIABLE, MODELS_VARIABLE, TAG, own_models, services_hash
from pytest_goat.environ import read_environ
from pytest_goat.errors import UserError
from pytest_goat.models import infra_folder, load_models

PACKAGES = (
    "litellm[proxy]==1.106.2",
    "aiohttp==3.14.5",
    "jsonschema==4.26.0",
    "opentelemetry-exporter-otlp-proto-http==1.45.2",
    "opentelemetry-sdk==1.45.2",
    "python-dotenv==1.2.2",
    "pyyaml==6.0.3",
)
"""Of the gateway's image. LiteLLM as in the extra `gateway`; all of them work with one another as pinned."""

PYTHON = "3.12"
MINUTES = 60

GATEWAY_MIN = 0
"""Nothing is billed between runs; a run wakes the gateway before its first trial."""

GATEWAY_MAX = 10
"""One container serves about 100 trials at once: its LiteLLM takes 130 calls a second, 50 streamed ones."""

GATEWAY_TARGET = 100
GATEWAY_INPUTS = 1000
"""Requests that a container takes while the next one starts; most of them wait for a provider."""

GATEWAY_IDLE = 10 * MINUTES
"""A container without requests ends after this: agents may work long between two calls."""

GATEWAY_REQUEST = 60 * MINUTES
"""The longest that one model call may take."""

GATEWAY_STARTUP = 3 * MINUTES
"""LiteLLM takes 5 to 15 s to be ready."""

LANGFUSE_MIN = 0
"""One that always runs costs about 100 USD a month; one that starts restores its stores, in some minutes."""

LANGFUSE_MAX = 1
"""Two would be two databases."""

LANGFUSE_IDLE = 20 * MINUTES
LANGFUSE_STARTUP = 10 * MINUTES
LANGFUSE_STOP = 25.0
"""Seconds to put away what it holds; Modal kills a container that takes more than 30."""

SOURCES = "/root"
"""Where Modal puts the Python source that an image adds."""

CONFIG = f"{SOURCES}/pytest_goat/infra"
"""Where the package looks for the files of `infra/`, as in an installation."""

OWN_MODELS = "/etc/goat/models.yaml"
VOLUME = "/vol"


def _configuration() -> dict[str, str]:
    """The environment of the gateway's image; nothing in the container, which has it already."""
    if not modal.is_local():
        return {}
    own = own_models(os.environ)
    try:
        load_models(own)
        variables = {HASH_VARIABLE: services_hash(own)}
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    return variables | ({MODELS_VARIABLE: OWN_MODELS} if own else {})


def _gateway_image(variables: dict[str, str]) -> modal.Image:
    """Only its last layers differ from one configuration to the next."""
    image = modal.Image.debian_slim(PYTHON).uv_pip_install(*PACKAGES).env(variables)
    if not modal.is_local():  # a container of Langfuse has no such files, and its image is there already
        return image
    image = image.add_local_python_source("pytest_goat")
    for name in ("models.yaml", "litellm.yaml"):
        image = image.add_local_file(infra_folder() / name, f"{CONFIG}/{name}")
    own = own_models(os.environ)
    return image.add_local_file(own, OWN_MODELS) if own else image


def _langfuse_image() -> modal.Image:
    if not modal.is_local():
        return modal.Image.debian_slim()
    folder = infra_folder() / "langfuse"
    return (
        modal.Image.from_dockerfile(
            folder / "Dockerfile", context_dir=folder, ignore=["**/__pycache__", "**/.*"]
        )
        .env({"GOAT_LANGFUSE_VOLUME": VOLUME, "GOAT_LANGFUSE_VOLUME_NAME": names.PGDATA_VOLUME})
        .add_local_python_source("pytest_goat")
    )


def _langfuse_is_elsewhere() -> bool:
    """Whether the user has one; decided where this is deployed."""
    host = read_environ(Path.cwd()).get("LANGFUSE_HOST", "") if modal.is_local() else ""
    # With its address in `.env`, for traces to arrive there, ours is still to be deployed.
    return bool(host) and names.OWN_LANGFUSE not in host


variables = _configuration()
app = modal.App(names.SERVICES_APP, tags={TAG: variables[HASH_VARIABLE]} if variables else {})


@app.function(
    name=names.GATEWAY_FUNCTION,
    image=_gateway_image(variables),
    secrets=[modal.Secret.from_name(name) for name in (names.PROVIDERS_SECRET, names.LITELLM_SECRET)],
    cpu=(1.0, 2.0),
    memory=(1024, 2048),
    min_containers=GATEWAY_MIN,
    max_containers=GATEWAY_MAX,
    scaledown_window=GATEWAY_IDLE,
    timeout=GATEWAY_REQUEST,
    startup_timeout=GATEWAY_STARTUP,
)
@modal.concurrent(max_inputs=GATEWAY_INPUTS, target_inputs=GATEWAY_TARGET)
@modal.web_server(names.GATEWAY_PORT, startup_timeout=GATEWAY_STARTUP)
def gateway() -> None:
    """Start LiteLLM and the recording proxy in front of it."""
    port = os.environ.get("GOAT_GATEWAY_PORT", str(names.GATEWAY_PORT))
    command = [sys.executable, "-m", "pytest_goat.gateway.serve", "--port", port, "--shelf", "dict"]
    subprocess.Popen(command, env=_vllm_addresses() | os.environ)


def _vllm_addresses() -> dict[str, str]:
    """Where the deployed vLLM models are, under the variables that their rows name."""
    found = {}
    for row in load_models(own_models(os.environ)):
        if row.vllm is None or row.env["api_base"] in os.environ:
            continue
        try:
            function = modal.Function.from_name(names.vllm_app(row.name), names.VLLM_FUNCTION)
            found[row.env["api_base"]] = f"{function.get_web_url()}/v1"
        except modal.exception.NotFoundError:
            continue
    return found


if _langfuse_is_elsewhere():
    print("LANGFUSE_HOST is set: traces go there, and no Langfuse is deployed.")
else:

    @app.function(
        name=names.LANGFUSE_FUNCTION,
        image=_langfuse_image(),
        secrets=[modal.Secret.from_name(name) for name in (names.LANGFUSE_SECRET, names.POSTGRES_SECRET)],
        volumes={VOLUME: modal.Volume.from_name(names.PGDATA_VOLUME, create_if_missing=True, version=2)},
        cpu=(2.0, 4.0),
        memory=(6144, 12288),
        min_containers=LANGFUSE_MIN,
        max_containers=LANGFUSE_MAX,
        scaledown_window=LANGFUSE_IDLE,
        timeout=GATEWAY_REQUEST,
        startup_timeout=LANGFUSE_STARTUP,
    )
    @modal.concurrent(max_inputs=GATEWAY_INPUTS)
    @modal.web_server(names.LANGFUSE_PORT, startup_timeout=LANGFUSE_STARTUP)
    def langfuse() -> None:
        """Start Langfuse with its stores, and stop it with the container."""
        # Without the address in the browser nobody can log in.
        address = modal.Function.from_name(names.SERVICES_APP, names.LANGFUSE_FUNCTION).get_web_url() or ""
        stack = subprocess.Popen(
            [sys.executable, "-m", "goat_stack"], env={"NEXTAUTH_URL": address} | os.environ
        )
        atexit.register(_stop, stack)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let a program end in good order."""
    process.terminate()
    try:
        process.wait(LANGFUSE_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
