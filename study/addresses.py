"""Addresses in a study's configuration, and the check that the user has used them before.

A study may come from another person. An address in its configuration is used only if the user has launched a study with
it or passes `--trust-addresses`. Launching remembers checksums of addresses in `$XDG_STATE_HOME/qar/addresses`
(`~/.local/state/qar/addresses`), which may be removed at any time.
"""

import hashlib
import os
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from study.config import StudyConfig
from study.config.code import checksum_of
from study.sources import import_paths_of, make_importable
from trainables.data.datasets import is_downloaded
from trainables.data.fetched import is_uri
from trainables.files.regular import read_regular
from trainables.import_path import FOLDER, NPZ, is_import_path

MOST_BYTES = 2**20
CODE = "code with the checksum"
EMBEDDED = ("digits",)
"""Data sets that are part of an installed package, and so are never downloaded."""


def addresses_of(config: StudyConfig) -> dict[str, str]:
    """Return the addresses outside of the study in its configuration, by key.

    These are URIs, databases, folders into which data sets are downloaded, and code.
    """
    dataset, data_dir, weights = (config.trial[key] for key in ("dataset", "data_dir", "initial_weights"))
    named = {f"warm_start[{place}]": source for place, source in enumerate(config.warm_start) if is_uri(source)}
    if config.optuna_storage is not None:
        named["optuna_storage"] = config.optuna_storage
    if weights is not None and is_uri(weights):
        named["trial.initial_weights"] = weights
    named |= code_of(config)
    if config.notify is not None:
        named["notify"] = config.notify
    if dataset.startswith(NPZ):
        if is_uri(dataset):
            named["trial.dataset"] = dataset
    elif dataset.startswith(FOLDER) or is_import_path(dataset):
        pass
    elif is_uri(data_dir) and dataset not in EMBEDDED:
        named["trial.data_dir"] = data_dir
    elif dataset not in EMBEDDED:
        named["trial.dataset"] = f"{dataset}, to be downloaded into {data_dir}"
    return named


def code_of(config: StudyConfig) -> dict[str, str]:
    """Return the code that a study would run, by key: names of its parts, and the checksum of the code that it holds.

    Even an installed function may do harm when another person chooses its arguments.
    """
    named = {kind: ", ".join(names) for kind, names in import_paths_of(config).items()}
    return named | ({"code": f"{CODE} {checksum_of(config.code)}"} if config.code else {})


def check_code(config: StudyConfig, trusted: bool) -> None:
    """Refuse code that the user has never launched a study with, or else make it importable in this process.

    Args:
        config: configuration of the study, as read from its folder.
        trusted: whether the user trusts the study.

    Raises:
        ValueError: the study holds unknown code.
    """
    check_addresses(config, trusted, on_cluster=False, keys=code_of(config))
    make_importable(config.code)


def may_import(name: str, trusted: bool) -> bool:
    """Return whether the model with an import path may be imported because a file names it."""
    return trusted or _checksum(name) in _known()


def remember(config: StudyConfig) -> None:
    """Remember the addresses of a study that the user launches; failures to write the file are ignored."""
    path = _file()
    fresh = sorted({_checksum(address) for address in addresses_of(config).values()} - _known())
    if not fresh:
        return
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write("".join(f"{checksum}\n" for checksum in fresh))


def check_addresses(config: StudyConfig, trusted: bool, on_cluster: bool, keys: Container[str] | None = None) -> None:
    """Refuse a study with addresses that the user has never launched a study with.

    A data set that exists on this machine is accepted if trials run only here, since it isn't downloaded.

    Args:
        config: configuration of the study, as read from its folder.
        trusted: whether the user trusts the addresses, which are then remembered.
        on_cluster: whether trials may run on other machines.
        keys: keys of `addresses_of` to check; None for all.

    Raises:
        ValueError: the configuration holds an unknown address.
    """
    if trusted:
        remember(config)
        return
    known, code = _known(), code_of(config)
    for key, address in addresses_of(config).items():
        if (keys is not None and key not in keys) or _checksum(address) in known:
            continue
        may_be_here = key == "trial.dataset" and not is_uri(address) and not on_cluster
        if may_be_here and is_downloaded(config.trial["dataset"], config.trial["data_dir"]):
            continue
        kind, advice = ("code", "read it, and allow") if key in code else ("an address", "allow")
        raise ValueError(
            f"{key} must be {kind} that you have launched a study with, since this study may be another's, got "
            f"{_shown(address)!r}; {advice} it with --trust-addresses"
        )


def _shown(address: str) -> str:
    """Return an address without its options and its user, which may be secrets."""
    scheme, separator, rest = address.partition("?")[0].rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _file() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "qar" / "addresses"


def _known() -> set[str]:
    try:
        return set(read_regular(_file(), MOST_BYTES).decode("ascii", "replace").split())
    except (OSError, ValueError):
        return set()


def _checksum(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()
