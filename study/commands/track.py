"""`qar track`: sends a study to trackers, from any machine, while it runs or afterwards."""

from collections.abc import Callable, Collection

from study.addresses import check_addresses
from study.storage.folder import StudyFolder
from study.storage.study_storage import TRACKERS as TRACKERS_FOLDER
from study.trackers import TRACKERS, check_trackers, follow, open_trackers, trackers_root, until_not_driven


def track(
    folder: StudyFolder, loggers: Collection[str] | None, trusted: bool, say: Callable[[str], None]
) -> dict[str, str]:
    """Follow a study until its driver has ended.

    Args:
        folder: the study.
        loggers: trackers by name; None for those of the study's configuration, its web hook included.
        trusted: whether the user trusts the addresses in the configuration.
        say: prints a line.

    Returns:
        The trackers that lack something, with the reasons.

    Raises:
        ValueError: the folder holds no study, a tracker is unknown or can't be used from here, or another process
            sends the study.
    """
    config = folder.read_config()
    if unknown := set(loggers or ()) - set(TRACKERS):
        raise ValueError(f"--logger must be one of {list(TRACKERS)}, got {min(unknown)!r}; correct it")
    if loggers is not None:
        config = config.model_copy(update={"loggers": list(loggers), "notify": None})
    if not config.loggers and not config.notify:
        raise ValueError(f"{folder} must name trackers under loggers, got none; name one with --logger")
    check_addresses(config, trusted, on_cluster=False, keys=("notify",))
    check_trackers(config)
    folder.check_no_links()
    folder.storage.fetch_ledger()
    folder.storage.fetch_folder(TRACKERS_FOLDER)
    root = trackers_root(folder)
    trackers = open_trackers(config.loggers, config.notify, name=config.name, address=folder.address, root=root)
    names = ", ".join(trackers)
    say(f"sending {folder} to {names}")
    left = follow(folder, trackers, root, say=say, wait=until_not_driven(folder))
    folder.publish()
    history = folder.read_history()
    say(f"{', '.join(sorted(set(trackers) - set(left))) or 'no tracker'} up to date: {len(history.trials)} trials")
    return left
