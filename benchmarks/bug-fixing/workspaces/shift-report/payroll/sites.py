"""The sites and their fixed offsets from UTC."""

from datetime import timedelta, timezone

SITES = {
    "harbour": timezone(timedelta(hours=2)),
    "mill": timezone(-timedelta(hours=3, minutes=30)),
    "depot": timezone.utc,
}
