from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.support.deploys import Place, make_environment
from tests.support.modal import RunningServer, modal_server

SECRETS = {
    "goat-llm-providers": {"EXAMPLE_API_KEY": "sk-of-nobody"},
    "goat-litellm": {"LITELLM_MASTER_KEY": "sk-master-0123456789", "VLLM_API_KEY": "sk-vllm-0123456789"},
    "goat-huggingface": {"HF_TOKEN": "hf-0123456789"},
}
NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def modal_of_deploys() -> Iterator[RunningServer]:
    with modal_server() as server:
        yield server


@pytest.fixture
def empty_place(modal_of_deploys: RunningServer) -> Iterator[Place]:
    """A Modal environment of this test alone, in which there is nothing."""
    place = Place(modal_of_deploys, f"goat-{os.getpid()}-{next(NUMBERS)}")
    make_environment(place, {})
    modal_of_deploys.reset_calls()
    yield place
    modal_of_deploys.clear_faults()
    place.end_containers()


@pytest.fixture
def place(empty_place: Place) -> Place:
    """One as `infra/setup.py` leaves it, without a key of a provider."""
    make_environment(empty_place, SECRETS)
    return empty_place
