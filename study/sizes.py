"""Formatting of sizes in bytes."""


def size(num_bytes: float) -> str:
    """Return a number of bytes with a decimal unit: 1536000 as `1.5 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} bytes" if unit == "bytes" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
