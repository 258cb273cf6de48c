"""Read the layers; docs/configuration.md says in which order."""

UNITS = {"k": 1024, "m": 1024 * 1024}


def size(config, key):
    text = config[key]
    return int(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else int(text)


def seconds(config, key):
    return float(config[key])
