"""Shared by the project's own tests and benchmarks."""

pytest_plugins = ["pytester"]
