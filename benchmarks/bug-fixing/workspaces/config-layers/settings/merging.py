"""Layers over one another."""


def merge(base: dict, layer: dict) -> dict:
    """`layer` laid over `base`."""
    result = base
    for key, value in layer.items():
        if isinstance(value, dict):
            result[key] = merge(base.get(key) or {}, value)
        elif isinstance(value, list):
            result[key] = base.get(key, []) + value
        else:
            result[key] = value or base.get(key)
    return result
