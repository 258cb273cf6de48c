"""LiteLLM as a process of ours: its configuration, how it starts, and that it ends."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_goat.errors import UserError
from pytest_goat.gateway.litellm_config import render
from pytest_goat.gateway.litellm_process import VERSION, LiteLLMProcess
from pytest_goat.models import load_models

ENVIRON = {"GROQ_API_KEY": "gsk-canary-0123456789", "AZURE_API_KEY": "az-canary-0123456789"}

HARNESS = """
import asyncio, sys
from pathlib import Path
from pytest_goat.gateway.litellm_process import LiteLLMProcess

async def main():
    process = LiteLLMProcess((), {}, Path(sys.argv[1]))
    starting = asyncio.create_task(process.start())
    await asyncio.sleep(0)
    print(process.pid, flush=True)
    await starting

asyncio.run(main())
"""
"""Prints LiteLLM's process id as soon as it has one."""


def config(*, own: Path | None = None) -> dict[str, Any]:
    return render(load_models(own), ENVIRON)


def deployment(name: str) -> dict[str, Any]:
    (found,) = (row for row in config()["model_list"] if row["model_name"] == name)
    parameters: dict[str, Any] = found["litellm_params"]
    return parameters


def test_only_models_with_their_keys_are_configured() -> None:
    names = {row["model_name"] for row in config()["model_list"]}
    assert names == {model.name for model in load_models() if model.provider == "groq"}


def test_a_configuration_names_keys_and_holds_none() -> None:
    text = yaml.safe_dump(config())
    assert deployment("gpt-oss-120b")["api_key"] == "os.environ/GROQ_API_KEY"
    assert not any(key in text for key in ENVIRON.values())


def test_a_configuration_says_prices_and_forbids_retries() -> None:
    parameters = deployment("gpt-oss-120b")
    assert parameters["model"] == "groq/openai/gpt-oss-120b"
    assert parameters["input_cost_per_token"] == pytest.approx(0.15e-6)
    assert parameters["cache_read_input_token_cost"] == pytest.approx(0.075e-6)
    assert parameters["output_cost_per_token"] == pytest.approx(0.6e-6)
    assert config()["litellm_settings"]["num_retries"] == 0
    assert "fallbacks" not in yaml.safe_dump(config())


def test_an_own_row_is_configured(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("gpt-oss-20b: {route: groq/another}")
    assert "groq/another" in yaml.safe_dump(config(own=own))


def failure(process: LiteLLMProcess, deadline: float = 60.0) -> str:
    with pytest.raises(UserError) as caught:
        asyncio.run(process.start(deadline))
    return str(caught.value)


def test_without_litellm_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = failure(LiteLLMProcess((), {}, tmp_path))
    assert message == "LiteLLM is not installed: pip install 'pytest-goat[gateway]'"


def test_another_litellm_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "litellm-9.9.dist-info").mkdir()
    (tmp_path / "litellm-9.9.dist-info/METADATA").write_text("Name: litellm\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(tmp_path)
    message = failure(LiteLLMProcess((), {}, tmp_path))
    assert message.startswith(f"LiteLLM 9.9 is installed, and only {VERSION} is known here: pip install ")


@pytest.mark.parametrize("file", ["pyproject.toml", "infra/services.py"])
def test_the_litellm_that_is_known_is_the_one_that_gets_installed(file: str) -> None:
    text = (Path(__file__).parents[2] / file).read_text()
    assert re.findall(r"litellm\[proxy\]==([\d.]+)", text) == [VERSION]


def test_a_start_that_fails_shows_the_end_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho no such thing: $GROQ_API_KEY {ENVIRON['GROQ_API_KEY']}\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    process = LiteLLMProcess(load_models(), ENVIRON, tmp_path / "log")
    message = failure(process)
    assert message.startswith(f"LiteLLM did not start: it ended.\nThe end of {process.log}:\nno such thing: ")
    assert ENVIRON["GROQ_API_KEY"] not in message + process.log.read_text()


def test_a_start_that_takes_too_long_leaves_nothing_behind(tmp_path: Path) -> None:
    started = time.monotonic()
    process = LiteLLMProcess((), {}, tmp_path)
    assert "did not start: it was not ready after 0.2 s" in failure(process, 0.2)
    assert time.monotonic() - started < 10
    left = [entry for entry in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in _text(entry.parent)]
    assert left == []


def _text(process: Path) -> str:
    try:
        return (process / "environ").read_text("utf-8", "replace")
    except OSError:
        return ""


def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as harness:
        assert harness.stdout is not None
        pid = int(harness.stdout.readline())
        handle = os.pidfd_open(pid)
        try:
            harness.kill()
            ended, _, _ = select.select([handle], [], [], 30)
            assert ended
        finally:
            os.close(handle)


def test_stopping_what_never_started_does_nothing(tmp_path: Path) -> None:
    process = LiteLLMProcess((), {}, tmp_path)
    asyncio.run(process.stop())
    asyncio.run(process.stop())
    assert process.url == ""
