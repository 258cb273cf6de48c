from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from pytest_goat.deploy import vllm_plan
from pytest_goat.deploy.vllm_plan import DEFAULT_MODEL, Plan, from_json, plan
from pytest_goat.errors import UserError
from pytest_goat.models import load_models


def options(made: Plan) -> dict[str, str]:
    """Each option of the command with its value; "" for a switch."""
    words = [*made.command, "--"]
    pairs = itertools.pairwise(words)
    return {word: "" if after.startswith("--") else after for word, after in pairs if word.startswith("--")}


def own_row(folder: Path, gpu: str) -> Path:
    """A file with a row `mine`: 8 billion parameters in bf16 on `gpu`, a mapping's entries."""
    path = folder / "mine.yaml"
    path.write_text(
        f"""mine:
  provider: vllm
  route: hosted_vllm/me/mine
  env: {{api_key: VLLM_API_KEY, api_base: VLLM_MINE_URL}}
  vllm: {{weights: me/mine, revision: 0e9e39f249a16976918f6564b8830bc894c89659, {gpu}, tool_parser: hermes,
         max_model_len: 24576, max_num_seqs: 4, params: 8.03, weight_bytes: 2, layers: 32, kv_heads: 8,
         head_dim: 128}}
"""
    )
    return path


def test_the_default_model_is_served_so_that_agents_can_use_it() -> None:
    made = plan(DEFAULT_MODEL, None, {})
    given = options(made)
    assert made.app == "goat-vllm-llama-3.1-8b-local"
    assert (made.gpu, made.gated) == ("A10G", True)
    assert made.command[:3] == ("vllm", "serve", "meta-llama/Llama-3.1-8B-Instruct")
    assert "--enable-auto-tool-choice" in given
    assert given["--tool-call-parser"] == "llama3_json"
    assert int(given["--max-model-len"]) >= 16_384 + 8_192
    assert given["--chat-template"] == "/opt/goat-vllm/tool_chat_template_llama3.1_json.jinja"
    assert made.template.endswith(f"/v{vllm_plan.VERSION}/examples/tool_chat_template_llama3.1_json.jinja")
    assert given["--middleware"] == "goat_vllm_guard.RequireKey"


@pytest.mark.parametrize("name", [row.name for row in load_models() if row.vllm])
def test_every_row_of_the_table_can_be_planned(name: str) -> None:
    row = load_models().get(name)
    assert row.vllm is not None
    given = options(plan(name, None, {}))
    assert given["--served-model-name"] == row.route.removeprefix("hosted_vllm/")
    assert given["--revision"] == given["--tokenizer-revision"] == row.vllm.revision
    assert given["--tensor-parallel-size"] == str(row.vllm.gpus)


@pytest.mark.parametrize(("said", "eager"), [("", False), ("0", False), ("1", True)])
def test_fast_boot_is_asked_for(said: str, eager: bool) -> None:
    made = plan(DEFAULT_MODEL, None, {"GOAT_VLLM_FAST_BOOT": said})
    assert ("--enforce-eager" in made.command) is eager


def test_several_gpus(tmp_path: Path) -> None:
    made = plan("mine", own_row(tmp_path, "gpu: L4, gpus: 2"), {})
    assert made.template == ""
    assert made.gpu == "L4:2"
    assert options(made)["--tensor-parallel-size"] == "2"


def test_no_secret_is_on_the_command_line() -> None:
    made = plan(DEFAULT_MODEL, None, {"VLLM_API_KEY": "sk-planted-value", "HF_TOKEN": "hf-planted-value"})
    assert "planted" not in made.to_json()
    assert "--api-key" not in made.command


def test_a_plan_survives_the_way_into_the_container() -> None:
    made = plan(DEFAULT_MODEL, None, {})
    assert from_json(made.to_json()) == made


def test_the_hash_tells_plans_apart(tmp_path: Path) -> None:
    file = tmp_path / "vllm.py"
    file.write_text("one")
    made = plan(DEFAULT_MODEL, None, {})
    first = made.hash(file)
    assert made.hash(file) == first
    assert plan(DEFAULT_MODEL, None, {"GOAT_VLLM_FAST_BOOT": "1"}).hash(file) != first
    file.write_text("two")
    assert made.hash(file) != first


def test_what_vllm_does_not_serve_is_refused() -> None:
    with pytest.raises(UserError, match="gpt-5-mini is served by azure, not by vLLM"):
        plan("gpt-5-mini", None, {})


def test_a_model_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine cannot be served on T4: .*do not fit T4"):
        plan("mine", own_row(tmp_path, "gpu: T4"), {})


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(UserError, match=r"Did you mean .*llama-3\.1-8b-local"):
        plan("llama-3.1-8b", None, {})
