import re


class Rules:
    def __init__(self, text):
        lines = (line.strip(" ") for line in text.splitlines())
        self._rules = [_rule(line) for line in lines if line and not line.startswith("#")]

    def ignores(self, path):
        parts = path.split("/")
        prefixes = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        ignored = False
        for brings_back, folders_only, by_name, pattern in self._rules:
            candidates = prefixes[:-1] if folders_only else prefixes
            if any(pattern.fullmatch(each.rsplit("/", 1)[-1] if by_name else each) for each in candidates):
                ignored = not brings_back
        return ignored


def _rule(line):
    brings_back = line.startswith("!")
    pattern = line[1:] if brings_back else line
    folders_only = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    by_name = "/" not in pattern
    return brings_back, folders_only, by_name, re.compile(_regex(pattern.removeprefix("/")), re.DOTALL)


def _regex(pattern):
    parts = pattern.split("/")
    regex = ""
    for number, part in enumerate(parts, 1):
        last = number == len(parts)
        if part == "**":
            regex += ".+" if last else "(?:[^/]+/)*"
        else:
            regex += "".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in part)
            regex += "" if last else "/"
    return regex
