"""How one model is served by vLLM on Modal: decided where it is deployed, read again in its container."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_goat.cloud import names
from pytest_goat.deploy.configuration import digest
from pytest_goat.errors import UserError

if TYPE_CHECKING:
    from pytest_goat.models import Model, Serving

MODEL_VARIABLE = "GOAT_VLLM_MODEL"
FAST_BOOT_VARIABLE = "GOAT_VLLM_FAST_BOOT"
PLAN_VARIABLE = "GOAT_VLLM_PLAN"
"""In the container's environment: the plan, as JSON."""

DEFAULT_MODEL = "llama-3.1-8b-local"

VERSION = "0.33.0"
"""Of vLLM."""

TEMPLATES = f"https://raw.githubusercontent.com/vllm-project/vllm/v{VERSION}/examples"
"""Where the chat templates are; vLLM's package does not have them."""

CACHE = "/cache"
"""Where the volume `goat-model-cache` is mounted: weights, and what vLLM compiled for the GPU."""

FOLDER = "/opt/goat-vllm"
"""Where the image has the chat template and the guard."""

GUARD = "goat_vllm_guard"
"""Module name of `pytest_goat.deploy.vllm_guard` there, where the package is not."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What `infra/vllm.py` deploys."""

    model: str
    """The row's name."""
    gpu: str
    """As Modal takes it: `A10G`, `H100:2`."""
    command: tuple[str, ...]
    """Starts vLLM, but for the port. Holds no secret: vLLM reads its key from the environment."""
    template: str
    """URL of the chat template; "" for the one of the weights."""
    gated: bool
    """Whether the weights are given out only to known Hugging Face accounts."""

    @property
    def app(self) -> str:
        return names.vllm_app(self.model)

    def hash(self, file: Path) -> str:
        """Of the plan and of `file`, which deploys it."""
        guard = Path(__file__).with_name("vllm_guard.py")
        return digest({"plan": self.to_json(), "file": file.read_text(), "guard": guard.read_text()})

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def from_json(text: str) -> Plan:
    """The plan that `Plan.to_json` wrote."""
    values = json.loads(text)
    return Plan(**values | {"command": tuple(values["command"])})


def plan(model: str, own_models: Path | None, environ: Mapping[str, str]) -> Plan:
    """How `model` is served; `own_models` is the file of the user's rows.

    Raises `UserError` for a model that is not in the table, is not served by vLLM, or does not fit its GPU.
    """
    from pytest_goat.models import fits, load_models

    row = load_models(own_models).get(model)
    if row.vllm is None:
        raise UserError(
            f"{model} is served by {row.provider}, not by vLLM: it needs no deploy. "
            f"{MODEL_VARIABLE}=NAME chooses a row with `vllm:`."
        )
    fit = fits(row.vllm)
    if fit.problem:
        raise UserError(f"{model} cannot be served on {fit.gpu}: {fit.problem}.")
    fast_boot = environ.get(FAST_BOOT_VARIABLE, "") not in ("", "0")
    template = f"{TEMPLATES}/{row.vllm.chat_template}" if row.vllm.chat_template else ""
    return Plan(model, fit.gpu, command(row, row.vllm, fast_boot=fast_boot), template, row.vllm.gated)


def command(row: Model, serving: Serving, *, fast_boot: bool) -> tuple[str, ...]:
    """Starts vLLM for `row`, but for the port.

    The names of the options: https://docs.vllm.ai/en/stable/cli/serve/. `fast_boot` starts sooner and answers
    slower: nothing is compiled for the GPU.
    """
    from pytest_goat.models.fit import UTILIZATION

    options = {
        "--revision": serving.revision,
        "--tokenizer-revision": serving.revision,
        "--served-model-name": row.route.partition("/")[2],
        "--max-model-len": serving.max_model_len,
        "--max-num-seqs": serving.max_num_seqs,
        "--gpu-memory-utilization": UTILIZATION,
        "--tensor-parallel-size": serving.gpus,
        "--tool-call-parser": serving.tool_parser,
        "--middleware": f"{GUARD}.RequireKey",
    }
    if serving.chat_template:
        options["--chat-template"] = f"{FOLDER}/{serving.chat_template}"
    given = [word for name, value in options.items() for word in (name, str(value))]
    # Agents send `tool_choice: auto`, which vLLM refuses without this.
    given.append("--enable-auto-tool-choice")
    if fast_boot:
        given.append("--enforce-eager")
    return ("vllm", "serve", serving.weights, "--host", "0.0.0.0", *given)  # noqa: S104 - inside a container
