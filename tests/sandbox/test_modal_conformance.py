"""The conformance suite on Modal: with what the last reply told, and asking anew each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from pytest_goat.errors import UserError
from pytest_goat.sandbox.base import File, Mount
from pytest_goat.sandbox.modal.backend import ModalBackend
from tests.sandbox.conformance import Bench, Box, SandboxConformance
from tests.sandbox.modal_bench import make_backend, needs_root, server_for_this_process
from tests.support.modal import RunningServer

pytestmark = needs_root


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[RunningServer]:
    with server_for_this_process() as running:
        yield running
        assert running.live() == []


class ModalConformance(SandboxConformance):
    limits_folder: ClassVar[Path]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _limits_folder(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.limits_folder = tmp_path_factory.mktemp("limits")

    def test_pytest_is_there(self, box: Box) -> None:
        box.put({"test_inner.py": File(b"def test(tmp_path):\n    (tmp_path / 'x').write_text('x')\n")})
        result = box.exec("python", "-m", "pytest", "-q", "test_inner.py")
        assert result.ok, result.stdout + result.stderr

    def test_a_mount_that_is_not_there_is_refused(self, bench: Bench) -> None:
        with (
            pytest.raises(UserError, match="/no/such/source"),
            bench.box(mounts=(Mount("/no/such/source", "/opt/x"),)),
        ):
            pass


class TestModal(ModalConformance):
    @classmethod
    def make_backend(cls) -> ModalBackend:
        return make_backend(cls.limits_folder)


class TestModalAskingAnew(ModalConformance):
    @classmethod
    def make_backend(cls) -> ModalBackend:
        return make_backend(cls.limits_folder, prefetch=0)
