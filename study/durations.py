"""Formatting of durations."""


def duration(seconds: float) -> str:
    """Return a duration in hours, minutes and seconds: 75 as `1:15`, 3600 as `1:00:00`."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def ago(seconds: float) -> str:
    """Return how long ago something was, in its largest unit: `3 min ago`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds)} s ago"
