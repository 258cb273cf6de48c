"""Words."""


def capital(word):
    return word[:1].upper() + word[1:].lower()


def plural(number, word):
    return f"{number} {word}" if number == 1 else f"{number} {_many(word)}"


def _many(word):
    return word + "s"


def centre(text, width):
    return _pad(text, width).join("||")


def _pad(text, width):
    return text.center(width)


def line(width=20, mark="-"):
    return mark * width
