"""Where links and images may lead."""

import re

FROM_BOTH_ENDS = "".join(map(chr, range(0x21)))


def allowed(target: str, schemes: set[str]) -> bool:
    seen = target.replace("\t", "").strip(FROM_BOTH_ENDS).replace("\\", "/")
    if seen.startswith("//"):
        return False
    scheme = re.match(r"([a-z][a-z0-9+.-]*):", seen, re.IGNORECASE)
    return scheme is None or scheme[1].lower() in schemes
