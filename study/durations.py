"""Lengths of time as people read them."""


def duration(seconds: float) -> str:
    """`75` seconds as `1:15`, an hour as `1:00:00`."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
