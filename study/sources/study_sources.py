"""The import paths in a study's configuration, and the code and checksum that a launch adds to it."""

from collections.abc import Sequence
from pathlib import Path

from study.config import StudyConfig, named_studies
from study.config.code import checksum_of
from study.sources.collecting import collect
from trainables.import_path import is_import_path, module_of
from trainables.initial_weights import checksum_of_file


def import_paths_of(config: StudyConfig) -> dict[str, list[str]]:
    """Return the import paths in a configuration, each once, by the kind of part: `model`, `dataset`, and so on."""
    named = {
        "model": models_of(config),
        "dataset": [config.trial["dataset"]],
        "family": [*config.space.family, *(trial.family for trial in config.plan)],
        "placement": [*config.space.placement, *(trial.placement for trial in config.plan)],
    }
    paths = {kind: [name for name in dict.fromkeys(names) if is_import_path(name)] for kind, names in named.items()}
    return {kind: names for kind, names in paths.items() if names}


def models_of(config: StudyConfig) -> list[str]:
    """Return the names of all models of a study, each once, that of `trial` first."""
    searched = config.space.fields.get("model")
    names = [config.trial["model"], *(searched.values or () if searched else ())]
    return list(dict.fromkeys([*names, *(trial.fields["model"] for trial in config.plan if "model" in trial.fields)]))


def code_folders(study: str) -> list[Path]:
    """Return the folders to search for the code of a new study: that of its YAML file, then the working directory.

    Args:
        study: name of an installed study, or path of a YAML file.
    """
    beside = [] if study in named_studies() else [Path(study).absolute().parent]
    return [*beside, Path.cwd()]


def with_sources(config: StudyConfig, folders: Sequence[Path]) -> StudyConfig:
    """Return the configuration with the code of its parts, and with the checksum of code and initial weights.

    Code that the configuration holds already, since it was launched before, is kept. `trial.sources` stays None where
    every part is built in.

    Args:
        config: configuration of a study, with absolute paths.
        folders: folders to search for code, in order.

    Raises:
        ValueError: code or initial weights can't be read, or there is too much code.
    """
    modules = [module_of(name) for names in import_paths_of(config).values() for name in names]
    code = config.code or collect(modules, folders)
    weights = config.trial["initial_weights"]
    parts = [] if weights is None else [checksum_of_file(weights)]
    # An installed package is identified by its modules' names alone: its version is part of the provenance.
    sources = checksum_of(code, *parts) if code or parts else None
    return config.model_copy(update={"code": code, "trial": config.trial | {"sources": sources}})
