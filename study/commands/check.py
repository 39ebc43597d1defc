"""Arguments of `qar check`."""

import re
from collections.abc import Sequence
from typing import Any

from study.config.yaml_loading import load_yaml


def image_shape_of(text: str) -> tuple[int, int, int]:
    """Return (channels, height, width) of the text HEIGHTxWIDTHxCHANNELS.

    Raises:
        ValueError: the text has another form.
    """
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})x([1-9]\d{0,2})", text)
    if match is None:
        raise ValueError(f"--image must be HEIGHTxWIDTHxCHANNELS, got {text!r}; for example 32x32x3")
    height, width, channels = map(int, match.groups())
    return channels, height, width


def options_of(texts: Sequence[str]) -> dict[str, Any]:
    """Return the options in texts KEY=VALUE, with values as in YAML.

    Raises:
        ValueError: a text has another form.
    """
    options = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ValueError(f"--set must be KEY=VALUE, got {text!r}; for example --set depth=20")
        options[key] = load_yaml(value, f"--set {text}")
    return options
