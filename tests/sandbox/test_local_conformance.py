"""The conformance suite on every kind of local isolation that this machine has."""

from __future__ import annotations

from pytest_goat.sandbox.local.backend import LocalBackend
from tests.sandbox.conformance import SandboxConformance


class TestNamespaces(SandboxConformance):
    @classmethod
    def make_backend(cls) -> LocalBackend:
        return LocalBackend("ns")
