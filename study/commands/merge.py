"""`qar merge`: one study with the trials of several that have the same trial settings."""

import itertools
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from study.commands.compare import flat
from study.config import StudyConfig, parse_study
from study.config.versions import StudyVersion, union_of
from study.containment import remove_tree
from study.ledger import facts
from study.ledger.chain import Chain
from study.ledger.coding import decode
from study.ledger.facts import CONFIGURED, Fact, SessionOutcome
from study.ledger.history import History, KnownResult
from study.ledger.ledger import Ledger
from study.records.optuna_mirror import OptunaMirror
from study.records.tables import write_tables
from study.storage.folder import StudyFolder
from study.storage.study_storage import BASELINE
from study.user import user_name

_SESSION = re.compile(r"^ray/session-(\d+)/")


@dataclass(frozen=True, kw_only=True)
class Merged:
    """Result of a merger.

    Attributes:
        folder: the new study.
        trials: number of its trials.
        repeated: number of trials that were left out, since an earlier study has one of the same configuration and
            seed.
        priors: number of results of other studies that were left out.
    """

    folder: StudyFolder
    trials: int
    repeated: int
    priors: int


@dataclass(frozen=True, kw_only=True)
class Source:
    """A study that is merged.

    Attributes:
        folder: its folder.
        config: its configuration.
        history: its history.
        numbers: numbers of its trials in the new study, by number; trials that are left out are missing.
        versions: numbers of its versions in the new study, in order.
        sessions: number of sessions of the studies before it.
    """

    folder: StudyFolder
    config: StudyConfig
    history: History
    numbers: dict[int, int] = field(default_factory=dict)
    versions: list[int] = field(default_factory=list)
    sessions: int = 0


def merge_studies(addresses: Sequence[StudyFolder], target: StudyFolder, say: Callable[[str], None]) -> Merged:
    """Write a study with the trials of several.

    Trials get new numbers and names in the order of the studies, and keep their seeds. Studies that run one plan with
    seeds that follow each other make a study of that plan with all of them. The studies stay as they are.

    Args:
        addresses: the studies, which don't run.
        target: folder of the new study, which must be free.
        say: called with a line where writing takes a while.

    Raises:
        ValueError: a study runs, lies in a bucket, or differs in a trial setting, or plans make none together; then
            nothing is written.
        DamagedFileError: the files of a study can't be read.
        StorageError: the new study can't be written.
        OSError: a file can't be copied.
    """
    sources = _sources(addresses, target)
    config = _config_of(sources, target.path.name)
    OptunaMirror(target, config).check_free()
    draft = StudyFolder(target.path.with_name(f".{target.path.name}.{secrets.token_hex(6)}.merging"))
    draft.create(config)
    try:
        with closing(draft.open_ledger(say)) as ledger:
            _Writer(ledger, config, draft).write(sources)
            write_tables(draft, ledger.history, config.searched_fields)
            trials = len(ledger.history.trials)
        _copy_files(sources, draft)
        target.check_free()
        draft.path.rename(target.path)
    except BaseException:
        remove_tree(draft.path.parent, draft.path.name)
        raise
    return Merged(
        folder=target,
        trials=trials,
        repeated=sum(len(source.history.trials) - len(source.numbers) for source in sources),
        priors=sum(_num_priors(source.history) for source in sources),
    )


def _num_priors(history: History) -> int:
    return sum(isinstance(proposal, KnownResult) and proposal.number is None for proposal in history.proposals)


def _sources(folders: Sequence[StudyFolder], target: StudyFolder) -> list[Source]:
    """Read and check the studies, and decide the numbers of their trials."""
    if len({folder.path.resolve() for folder in folders}) < max(2, len(folders)):
        raise ValueError(f"qar merge needs at least two different studies, got {', '.join(map(str, folders))}")
    target.check_free()
    sources: list[Source] = []
    seen: set[tuple[str, int]] = set()
    for folder in (*folders, target):
        if folder.storage.has_working_copy:
            raise ValueError(f"qar merge needs studies in folders, got {folder}; copy it to a folder first")
    for folder in folders:
        folder.check_no_links()
        config, history = folder.read_config(), folder.read_history()
        if folder.is_driven():
            raise ValueError(f"qar merge needs studies that don't run, got {folder}; end it with: qar stop {folder}")
        source = Source(folder=folder, config=config, history=history, sessions=sum(map(_num_sessions, sources)))
        for number, trial in sorted(history.trials.items()):
            if (key := (trial.config_hash, trial.config["seed"])) not in seen:
                source.numbers[number] = len(seen)
                seen.add(key)
        sources.append(source)
    _check_plans(sources)
    _check_settings(sources)
    return sources


def _num_sessions(source: Source) -> int:
    return len(source.history.sessions)


def _check_settings(sources: Sequence[Source]) -> None:
    """Raise ValueError with the keys in which the trials of two studies can't be compared."""
    first = sources[0]
    for source in sources[1:]:
        here, there = _trial_settings(first.config), _trial_settings(source.config)
        different = sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))
        if different:
            shown = ", ".join(f"{key} ({here.get(key)} and {there.get(key)})" for key in different)
            raise ValueError(
                f"qar merge needs studies with the same trial settings, got {first.folder} and {source.folder}, which "
                f"differ in {shown}; compare them with: qar report {first.folder} {source.folder}"
            )


def _check_plans(sources: Sequence[Source]) -> None:
    """Raise ValueError if studies have plans that together are no plan with more seeds."""
    first = sources[0]
    if not any(source.config.plan for source in sources):
        return
    for source in sources:
        if source.config.plan != first.config.plan:
            raise ValueError(
                f"qar merge needs searches, or studies of one plan, got {first.folder} and {source.folder}, whose "
                f"plans differ; see them with: qar report {first.folder} {source.folder}"
            )
        if source.history.num_ended < source.config.trials:
            raise ValueError(
                f"qar merge needs plans whose trials have all ended, got {source.folder} with "
                f"{source.history.num_ended} of {source.config.trials}; end them with: qar resume {source.folder}"
            )
    for source, following in itertools.pairwise(sources):
        expected = source.config.seed + source.config.replicates
        if following.config.seed != expected:
            raise ValueError(
                f"qar merge needs plans with seeds that follow each other, got {source.folder} and {following.folder}, "
                f"which begins with {following.config.seed} instead of {expected}; name them in that order"
            )


def _trial_settings(config: StudyConfig) -> dict[str, Any]:
    """Return the settings that trials must share to be compared."""
    values = config.model_dump()
    del values["trial"]["data_dir"]  # a place on a machine
    if config.plan:
        del values["trial"]["evaluate_test"]  # changes no training, and no search looks at the result
    return flat({key: values[key] for key in ("trial", "baseline_epochs", "code")})


def _config_of(sources: Sequence[Source], name: str) -> StudyConfig:
    """Return the configuration of the new study: the first one's, with a space that holds all spaces.

    The versions of all studies become its versions, in order.
    """
    versions: list[StudyVersion] = []
    space = sources[0].config.space
    for source in sources:
        for version in source.config.versions:
            if not versions or versions[-1] != version:
                versions.append(version)
            source.versions.append(len(versions))
        space = union_of(space, source.config.space)
    first = sources[0].config
    replicates = [source.config.replicates for source in sources]
    last = StudyVersion(space=space, early_stopping=first.early_stopping)
    earlier = versions if versions[-1] != last else versions[:-1]
    values = first.model_dump() | {
        "name": name,
        "trials": max(1, sum(len(source.numbers) for source in sources)),
        "space": space.model_dump(),
        "trial": first.trial | {"evaluate_test": all(source.config.trial["evaluate_test"] for source in sources)},
        "replicates": sum(replicates) if first.plan else max(replicates),
        "warm_start": [],
        "stop": None,
        "earlier_versions": [version.model_dump() for version in earlier],
    }
    return parse_study(values, "--into", stored=True)


class _Writer:
    """Writes the facts of several ledgers into a new one."""

    def __init__(self, ledger: Ledger, config: StudyConfig, folder: StudyFolder) -> None:
        self._ledger = ledger
        self._config = config
        self._digest = folder.config_digest()
        self._version = 1

    def write(self, sources: Sequence[Source]) -> None:
        for source in sources:
            history = self._ledger.history
            begun = {*history.baseline_seconds, *history.baseline_sums, *history.sensitivities}
            for fact in _facts_of(source):
                self._write(fact, source, begun)
        self._begin_version(self._config.version)
        names = " ".join(str(source.folder) for source in sources)
        self._configured(version=None, changes=[f"merged from {names}"])
        self._ledger.commit()

    def _write(self, fact: Fact, source: Source, baselines: set[int]) -> None:
        """Write a fact with the numbers that trials, sessions and versions have in the new study."""
        content = {one.name: getattr(fact, one.name) for one in fields(fact)}
        match fact:
            case facts.Prior() | facts.Configured() | facts.Stopped():
                return  # they concern the search of the other study
            case facts.Baseline() | facts.BaselineWritten() | facts.Measured() if fact.seed in baselines:
                return
            case facts.StopRequested(number=None):
                return
            case facts.SessionStarted():
                content |= {"session": fact.session + source.sessions, "study_yaml": None}
            case facts.SessionEnded():
                left = fact.outcome is SessionOutcome.FINISHED and self._ledger.history.unfinished
                outcome = SessionOutcome.INTERRUPTED if left else fact.outcome
                content |= {"session": fact.session + source.sessions, "outcome": outcome}
            case facts.Enqueued():
                trials = [t for t in source.history.trials.values() if t.request == fact.request]
                if any(trial.number not in source.numbers for trial in trials):
                    return
        if (number := content.get("number")) is not None:
            if number not in source.numbers:
                return
            content["number"] = source.numbers[number]
        if isinstance(fact, facts.Asked):
            content["trial_id"] = f"{self._config.name}-{content['number']:05d}"
            content["space_version"] = source.versions[fact.space_version - 1]
            self._begin_version(content["space_version"])
        if isinstance(fact, facts.Checkpointed):
            content["path"] = moved(fact.path, source)
        self._ledger.submit(content.pop("fact"), **content)

    def _begin_version(self, version: int) -> None:
        for number in range(self._version + 1, version + 1):
            self._configured(version=number, changes=None)
        self._version = max(self._version, version)

    def _configured(self, version: int | None, changes: list[str] | None) -> None:
        sessions = self._ledger.history.sessions
        self._ledger.submit(
            CONFIGURED,
            study_yaml=self._digest,
            replaces=self._digest,
            version=version,
            user=user_name(),
            changes=changes,
            elapsed=sessions[-1].seconds if sessions else 0.0,
        )


def _facts_of(source: Source) -> Iterator[Fact]:
    chain = Chain()
    for line in source.folder.ledger.read_bytes().split(b"\n")[:-1]:
        yield decode(chain.verify(line))


def moved(path: str, source: Source) -> str:
    """Return the path of a checkpoint in the new study, whose sessions have other numbers."""
    return _SESSION.sub(lambda match: f"ray/session-{int(match[1]) + source.sessions:03}/", path)


def _copy_files(sources: Sequence[Source], target: StudyFolder) -> None:
    """Copy the float networks, and the checkpoints that the ledger names; one that is missing is left out."""
    for source in sources:
        for baseline in sorted((source.folder.path / BASELINE).glob("seed-*")):
            if not target.path.joinpath(BASELINE, baseline.name).exists():
                shutil.copytree(baseline, target.path / BASELINE / baseline.name)
        for number in source.numbers:
            for checkpoint in source.history.trials[number].checkpoints:
                if (path := source.folder.path / checkpoint.path).is_dir():
                    shutil.copytree(path, Path(target.path, moved(checkpoint.path, source)))
