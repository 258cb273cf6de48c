"""Where links may lead."""


def allowed(target: str) -> bool:
    return not target.startswith("javascript:")
