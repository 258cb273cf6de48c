import re

HEADER = re.compile(r"@@ -([0-9]+)(?:,([0-9]+))? \+([0-9]+)(?:,([0-9]+))? @@")


class PatchError(Exception):
    pass


def apply(text, patch):
    old = text.split("\n")[:-1]
    result, done = [], 0
    for line, before, after in _hunks(patch):
        place = _place(old, before, line, done)
        result += old[done:place] + after
        done = place + len(before)
    return "".join(f"{line}\n" for line in result + old[done:])


def _hunks(patch):
    lines = patch.removesuffix("\n").split("\n")
    position = 0
    while position < len(lines) and not lines[position].startswith("@@"):
        position += 1
    if position == len(lines):
        raise PatchError("no hunk in the patch")
    while position < len(lines):
        if not lines[position]:
            position += 1
            continue
        header = HEADER.match(lines[position])
        if not header:
            raise PatchError(f"a hunk was expected: {lines[position]!r}")
        olds, news = (1 if count is None else int(count) for count in (header[2], header[4]))
        before, after = [], []
        position += 1
        while len(before) < olds or len(after) < news:
            if position == len(lines):
                raise PatchError("the last hunk is cut short")
            kind, line = lines[position][:1] or " ", lines[position][1:]
            if kind not in " -+":
                raise PatchError(f"no line of a hunk: {lines[position]!r}")
            if kind in " -":
                before.append(line)
            if kind in " +":
                after.append(line)
            position += 1
        if (len(before), len(after)) != (olds, news):
            raise PatchError("the lines of a hunk are not as many as it says")
        yield int(header[1]), before, after


def _place(old, before, line, done):
    if not before:
        if not done <= line <= len(old):
            raise PatchError(f"nothing can go in behind line {line}")
        return line
    places = [at for at in range(done, len(old) - len(before) + 1) if old[at : at + len(before)] == before]
    if not places:
        raise PatchError(f"the old lines of the hunk at line {line} are not in the text")
    return min(places, key=lambda at: (abs(at - (line - 1)), at))
