"""Measures the budgets of the project: `python -m bench`."""
