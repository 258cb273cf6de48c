"""LiteLLM's configuration, out of the table of models and `infra/litellm.yaml`.

Form: https://docs.litellm.ai/docs/proxy/configs. Keys stay names of environment variables
(`os.environ/NAME`), so that the file has no secret in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_goat.models import Model, Price, infra_folder

_MILLION = 1e6


def render(models: Iterable[Model], environ: Mapping[str, str]) -> dict[str, Any]:
    """The configuration that serves those of `models` whose keys are in `environ`."""
    import yaml

    settings: dict[str, Any] = yaml.safe_load((infra_folder() / "litellm.yaml").read_text(encoding="utf-8"))
    served = [model for model in models if not model.missing(environ)]
    return {"model_list": [_deployment(model) for model in served], **settings}


def environment(models: Iterable[Model], environ: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that this configuration reads, defaults among them."""
    served = [model for model in models if not model.missing(environ)]
    return {name: value for model in served for name, value in model.values(environ).items()}


def _deployment(model: Model) -> dict[str, Any]:
    parameters = {parameter: f"os.environ/{name}" for parameter, name in model.env.items()}
    return {
        "model_name": model.name,
        "litellm_params": {
            "model": model.route,
            **parameters,
            **(_per_token(model.price) if model.price else {}),
        },
        "model_info": {
            "id": model.name,
            "max_input_tokens": model.context,
            "max_output_tokens": model.max_output,
        },
    }


def _per_token(price: Price) -> dict[str, float]:
    return {
        "input_cost_per_token": price.input / _MILLION,
        "output_cost_per_token": price.output / _MILLION,
        "cache_read_input_token_cost": price.cached / _MILLION,
        "cache_creation_input_token_cost": price.cache_write / _MILLION,
    }
