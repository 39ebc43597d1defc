"""Launch and creation of studies from Python."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from study.config import StudyConfig, load_study
from study.config.yaml_loading import dump_yaml
from study.notebook.driver_process import DriverProcess
from study.notebook.overrides import override_lines
from study.notebook.study import Study
from study.run.launch import create as create_study
from study.run.launch import folder_of
from study.run.options import RunOptions


def launch(
    config: str | Path | Mapping[str, Any] | StudyConfig,
    wait: bool = False,
    *,
    storage: str | Path = "studies",
    name: str | None = None,
    address: str | None = None,
    resume_if_exists: bool = False,
    **overrides: Any,
) -> Study:
    """Run a new study in a process of its own, as `qar launch` does.

    The process survives this one; `Study.stop` ends it, and `Study.open` finds the study again.

    Args:
        config: name of an installed study, path of a YAML file, or the keys of one.
        wait: whether to wait for the end of the study; otherwise the call returns once the study has begun.
        storage: folder or URI that holds the studies.
        name: name of the new study; None for the one in its configuration.
        address: address of a running Ray cluster; None to start Ray on this machine.
        resume_if_exists: whether to resume the study if one of this name exists, as when a notebook is run again.
        **overrides: changes of the configuration: `trials=8`, `trial={"width": 0.5}`, or with dotted names
            `**{"trial.width": 0.5}`. Mappings change the keys that they name and keep the others.

    Raises:
        ValueError: the request is wrong, or the cluster can't run the study; then nothing is written.
        StudyInterrupted: the work failed.
    """
    lines = override_lines(overrides)
    with _source(config) as source:
        folder = folder_of(str(storage), load_study(source, lines, name).name)
        options = [option for line in lines for option in ("--set", line)]
        options += ["--name", name] if name is not None else []
        options += ["--address", address] if address is not None else []
        options += ["--resume-if-exists"] if resume_if_exists else []
        study = Study(folder.address)
        before = study.num_sessions if resume_if_exists and folder.exists() else 0
        driver = DriverProcess(["launch", source, "--storage", str(storage), *options])
        study.follow(driver, before, wait=wait)  # the file of the configuration is needed until then
    return study


def create(
    config: str | Path | Mapping[str, Any] | StudyConfig,
    *,
    storage: str | Path = "studies",
    name: str | None = None,
    **overrides: Any,
) -> Study:
    """Create a study without running it, for a training loop of your own (`Study.ask`).

    Args:
        config: as in `launch`.
        storage: as in `launch`.
        name: as in `launch`.
        **overrides: as in `launch`.

    Raises:
        ValueError: the request is wrong; then nothing is written.
    """
    with _source(config) as source:
        folder = create_study(
            source, str(storage), name=name, overrides=override_lines(overrides), options=RunOptions()
        )
    return Study(folder.address)


@contextmanager
def _source(config: str | Path | Mapping[str, Any] | StudyConfig) -> Iterator[str]:
    """Return a context with the name or path of a configuration, as the command line takes it."""
    if isinstance(config, str | Path):
        yield str(config)
        return
    values = config.model_dump() if isinstance(config, StudyConfig) else dict(config)
    with TemporaryDirectory(prefix="qar-") as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(dump_yaml(values))
        try:
            yield str(path)
        except ValueError as error:  # the caller knows of no file
            raise ValueError(str(error).replace(str(path), "config")) from None
