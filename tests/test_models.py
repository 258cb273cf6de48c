"""The table of models: its rows, the user's own, what is wrong with them, and what fits a GPU."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pytest_goat.errors import UserError
from pytest_goat.gateway.base import Usage
from pytest_goat.models import (
    fit_table_markdown,
    fits,
    infra_folder,
    load_models,
    models_schema,
    models_table_markdown,
    models_text,
)
from pytest_goat.models.fit import AGENT_ANSWER

TODAY = date(2026, 11, 24)
AZURE = {"AZURE_API_KEY": "az-key-0123", "AZURE_API_BASE": "https://here.openai.azure.com"}
SEEDS = ("gpt-5-nano", "gpt-5-mini", "gpt-4o-mini", "llama-3.3-70b", "llama-3.1-8b-local")

ROW = """\
mine:
  provider: groq
  route: groq/some-model
  env: {api_key: GROQ_API_KEY}
  context: 1000
  max_output: 100
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        load_models(write(folder, text))
    message = str(caught.value)
    assert message.startswith(f"{folder / 'mine.yaml'}:")
    return message.replace(str(folder / "mine.yaml"), "FILE")


def test_the_rows_that_everybody_expects_are_there() -> None:
    models = load_models()
    assert [name for name in SEEDS if name in models] == list(SEEDS)
    assert {"openai", "anthropic"} <= {model.provider for model in models}
    assert models.get("gpt-5-mini").route == "azure/gpt-5-mini"
    assert models.get("llama-3.3-70b").successor in models


def test_every_successor_is_a_row() -> None:
    models = load_models()
    assert all(model.successor in models for model in models if model.successor)


def test_the_file_fits_its_own_schema() -> None:
    rows = yaml.load((infra_folder() / "models.yaml").read_text(), Loader=yaml.BaseLoader)
    dated = {name: {key: row[key] for key in ("provider", "route", "env")} for name, row in rows.items()}
    jsonschema.validate(dated, models_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"mine": {"rout": "groq/x"}}, models_schema())


def test_prices_are_those_of_the_installed_litellm() -> None:
    """The map is read as a file: importing LiteLLM takes seconds."""
    litellm = importlib.util.find_spec("litellm")
    if litellm is None or litellm.origin is None:
        pytest.skip("litellm is not installed")
    path = Path(litellm.origin).parent / "model_prices_and_context_window_backup.json"
    known = json.loads(path.read_text())
    for model in load_models():
        if model.price is None or not model.price.source.startswith("litellm"):
            continue
        theirs = known.get(model.route) or known[model.route.removeprefix(f"{model.provider}/")]
        assert model.price.input == pytest.approx(theirs["input_cost_per_token"] * 1e6), model.name
        assert model.price.output == pytest.approx(theirs["output_cost_per_token"] * 1e6), model.name
        assert model.price.cached == pytest.approx(theirs["cache_read_input_token_cost"] * 1e6), model.name
        assert (model.context, model.max_output) == (
            theirs["max_input_tokens"],
            theirs["max_output_tokens"],
        ), model.name


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, ("AZURE_API_KEY", "AZURE_API_BASE")),
        ({"AZURE_API_KEY": "x", "AZURE_API_BASE": ""}, ("AZURE_API_BASE",)),
        (AZURE, ()),
    ],
)
def test_what_is_missing_is_named(environ: dict[str, str], missing: tuple[str, ...]) -> None:
    model = load_models().get("gpt-5-mini")
    assert model.missing(environ) == missing
    assert model.usable(environ, TODAY) is not bool(missing)


def test_a_variable_wins_over_its_default() -> None:
    model = load_models().get("gpt-5-mini")
    assert model.values(AZURE)["AZURE_API_VERSION"] == model.defaults["AZURE_API_VERSION"]
    assert model.values({**AZURE, "AZURE_API_VERSION": "v"})["AZURE_API_VERSION"] == "v"
    assert model.secrets(AZURE) == (AZURE["AZURE_API_KEY"],)


def test_tokens_cost_what_the_row_says() -> None:
    model = load_models().get("gpt-5-mini")
    usage = Usage(prompt_tokens=1000, cached_tokens=100, completion_tokens=200)
    assert model.cost(usage) == pytest.approx((900 * 0.25 + 100 * 0.025 + 200 * 2) / 1e6)
    assert load_models().get("llama-3.1-8b-local").cost(usage) is None


@pytest.mark.parametrize(
    ("today", "notice"),
    [
        (date(2026, 6, 16), ""),
        (date(2026, 6, 17), "retires 2026-08-16: use gpt-oss-120b"),
        (date(2026, 8, 15), "retires 2026-08-16: use gpt-oss-120b"),
        (date(2026, 8, 16), "retired 2026-08-16: use gpt-oss-120b"),
    ],
)
def test_a_retirement_is_told_sixty_days_before(today: date, notice: str) -> None:
    model = load_models().get("llama-3.3-70b")
    assert model.notice(today) == notice
    assert model.usable({"GROQ_API_KEY": "x"}, today) is (today < date(2026, 8, 16))


def test_own_rows_are_added(tmp_path: Path) -> None:
    models = load_models(write(tmp_path, ROW))
    assert models.get("mine").route == "groq/some-model"
    assert [model.name for model in models][-1] == "mine"
    assert models.get("mine").price is None


def test_own_rows_change_single_keys(tmp_path: Path) -> None:
    ours = load_models().get("gpt-5-mini")
    theirs = load_models(write(tmp_path, "gpt-5-mini: {route: azure/my-deployment}")).get("gpt-5-mini")
    assert theirs == dataclasses.replace(ours, route="azure/my-deployment")


def test_what_is_not_said_of_a_price_costs_as_input(tmp_path: Path) -> None:
    price = load_models(write(tmp_path, ROW + "  price: {input: 2, output: 3}")).get("mine").price
    assert price is not None
    assert (price.cached, price.cache_write) == (2, 2)


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(UserError, match=r"no model 'gpt-5-min' in the table\. Did you mean gpt-5-mini"):
        load_models().get("gpt-5-min")


VLLM = """\
mine:
  provider: vllm
  route: hosted_vllm/x
  env: {api_key: K, api_base: B}
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine: {rout: x}", "FILE:1: mine.rout: is no key of a model\n  did you mean `route`?"),
        ("\nmine:\n  provider: groq", "FILE:3: mine: has no route and no env\n  add what is missing"),
        (ROW.replace("1000", "many"), "FILE:5: mine.context: is the text 'many', not a whole number"),
        (ROW.replace("groq/some", "some"), "FILE:1: mine.route: is 'some-model'\n  write groq/ and the"),
        (ROW.replace("api_key", "key"), "FILE:1: mine.env: has no api_key"),
        (ROW.replace("GROQ_API_KEY", "gsk-12"), "FILE:4: mine.env.api_key: is the text 'gsk-12'"),
        (ROW + "  defaults: {GROQ_API_KEY: x}", "FILE:1: mine.defaults: gives GROQ_API_KEY\n  keys stand in"),
        (ROW + "  retires: soon", "FILE:7: mine.retires: is the text 'soon'\n  write a day as in 2027-02-09"),
        (ROW + "  price: {input: 1}", "FILE:7: mine.price: has no output"),
        (ROW + "  price: {input: 1, output: -1}", "FILE:7: mine.price.output: is the number -1"),
        (ROW + "  vllm: {gpu: A10}", "FILE:7: mine.vllm: has no weights and no revision"),
        (VLLM, "FILE:1: mine: `provider: vllm` and `vllm: {...}` go together"),
        (VLLM + "  vllm: {gpu: GTX}", "FILE:5: mine.vllm.gpu: is the text 'GTX'\n  a GPU is one of T4, L4"),
        (
            "llama-3.1-8b-local: {context: 5}",
            "FILE:1: ['llama-3.1-8b-local'].context: is said by vllm.max_model_len\n  leave it out",
        ),
        (
            ROW.replace("mine:", "replay:"),
            "FILE:1: replay: is a word that --goat-model has for something else",
        ),
        (ROW.replace("mine:", "a b:"), "FILE:1: ['a b']: is the text 'a b'\n  an id is"),
        (ROW + ROW, "FILE:7: mine: is given twice"),
        ("[]", "FILE: is a list, not a mapping"),
        ("a: [", "FILE:2: is not YAML"),
    ],
)
def test_a_wrong_row_says_where_and_what_to_write(tmp_path: Path, text: str, message: str) -> None:
    assert message in complaint(tmp_path, text)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    message = complaint(tmp_path, ROW.replace("1000", "x") + ROW.replace("mine", "other").replace("100", "y"))
    assert "FILE:5: mine.context" in message
    assert "FILE:12: other.max_output" in message


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read: No such file"):
        load_models(tmp_path / "none.yaml")


def serving(name: str = "llama-3.1-8b-local", **changes: Any) -> Any:
    vllm = load_models().get(name).vllm
    assert vllm is not None
    return dataclasses.replace(vllm, **changes)


@pytest.mark.parametrize("name", [model.name for model in load_models() if model.vllm])
def test_every_row_of_vllm_fits_its_gpu(name: str) -> None:
    fit = fits(serving(name))
    assert fit.problem == ""
    assert fit.tokens >= serving(name).max_model_len > AGENT_ANSWER


def test_the_arithmetic_of_llama_on_an_a10g() -> None:
    fit = fits(serving())
    assert (fit.gpu, fit.tokens) == ("A10G", 31481)
    assert fit.weights == pytest.approx(14.96, abs=0.01)
    assert fit.cache == pytest.approx(3.84, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"max_model_len": 8192}, "max_model_len 8192 is too short: an agent asks"),
        ({"gpu": "T4"}, r"its weights \(15.0 GiB on each GPU\) do not fit T4"),
        ({"max_model_len": 65536}, "A10G has room for 31481 tokens beside the weights"),
        ({"gpu": "T4", "gpus": 3}, "8 KV heads cannot be shared by 3 GPUs"),
    ],
)
def test_what_cannot_work_is_refused_with_a_mend(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(fits(serving(**changes)).problem)


def test_two_gpus_share_a_model() -> None:
    fit = fits(serving(), "T4", 2)
    assert (fit.gpu, fit.problem) == ("T4:2", "")
    assert fit.weights == pytest.approx(7.48, abs=0.01)


def test_models_are_listed_with_what_they_want() -> None:
    lines = models_text(load_models(), {**AZURE, "GROQ_API_KEY": "x"}, TODAY).splitlines()
    by_name = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
    assert by_name["gpt-5-mini"] == "azure yes 0.25 / 0.025 / 2 272000"
    assert by_name["openai-gpt-5-mini"].endswith(
        "set OPENAI_API_KEY; retires 2026-12-11: use openai-gpt-5.4-mini"
    )
    assert by_name["llama-3.3-70b"] == (
        "groq no 0.59 / 0.59 / 0.79 131072 retired 2026-08-16: use gpt-oss-120b"
    )
    assert "az-key-0123" not in "".join(lines)


def test_the_documentation_has_tables_of_all_rows() -> None:
    models = load_models()
    table = models_table_markdown(models)
    assert all(f"| `{model.name}` |" in table for model in models)
    assert "until 2026-08-16, then gpt-oss-120b" in table
    fit_table = fit_table_markdown(models)
    assert "| `llama-3.1-8b-local` | 15.0 | 24,576 | - |" in fit_table
    assert "**31,481**" in fit_table
