"""The table of models in words: for `goat models`, and for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from pytest_goat.models.fit import GPU_MEMORY, fits
from pytest_goat.models.table import Model, Models, Price

_HEAD = ("model", "provider", "usable", "USD per million in / cached / out", "context", "note")


def models_text(models: Models, environ: Mapping[str, str], today: date) -> str:
    """One line for each model: whether it is usable now, else which key is missing or when it retired."""
    rows = [_HEAD, *(_line(model, environ, today) for model in models)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def models_table_markdown(models: Models) -> str:
    """The table as the documentation shows it; the same on every day and every machine."""
    head = ("Model", "Provider", "Route", "Needs", "USD per million in / cached / out", "Context", "Note")
    return _markdown(
        head,
        [
            (
                f"`{model.name}`",
                model.provider,
                f"`{model.route}`",
                ", ".join(f"`{name}`" for name in model.missing({})),
                _dollars(model.price),
                f"{model.context:,}",
                _note(model),
            )
            for model in models
        ],
    )


def fit_table_markdown(models: Models) -> str:
    """Which model of vLLM's fits which GPU: tokens of KV cache beside the weights, its own GPU in bold."""
    rows = []
    for model in models:
        if (serving := model.vllm) is None:
            continue
        cells = []
        for gpu in GPU_MEMORY:
            fit = fits(serving, gpu, serving.gpus)
            cell = "-" if fit.problem else f"{fit.tokens:,}"
            cells.append(f"**{cell}**" if gpu == serving.gpu else cell)
        rows.append((f"`{model.name}`", f"{fits(serving).weights:.1f}", f"{serving.max_model_len:,}", *cells))
    return _markdown(("Model", "Weights, GiB", "Context", *GPU_MEMORY), rows)


def _line(model: Model, environ: Mapping[str, str], today: date) -> tuple[str, ...]:
    missing = model.missing(environ)
    notes = [f"set {', '.join(missing)}" if missing else "", model.notice(today)]
    return (
        model.name,
        model.provider,
        "yes" if model.usable(environ, today) else "no",
        _dollars(model.price),
        str(model.context),
        "; ".join(filter(None, notes)),
    )


def _note(model: Model) -> str:
    notes = []
    if model.retires:
        notes.append(f"until {model.retires}" + (f", then {model.successor}" if model.successor else ""))
    if model.vllm:
        notes.append(f"{model.vllm.weights} on {fits(model.vllm).gpu}")
    return "; ".join(notes)


def _dollars(price: Price | None) -> str:
    return f"{price.input:g} / {price.cached:g} / {price.output:g}" if price else "-"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
