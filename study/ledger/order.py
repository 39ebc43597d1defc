"""Order: checks whether a fact may follow the facts before it."""

from study.ledger import facts
from study.ledger.facts import Fact
from study.ledger.history import History, Trial
from trainables.result import FINETUNE, REGULARIZE, TrialState


def check_order(history: History, fact: Fact) -> None:
    """Check that a fact may follow those of a history.

    Args:
        history: state after all earlier facts.
        fact: the next fact.

    Raises:
        ValueError: the fact contradicts the history; the message gives the reason, in one line.
    """
    if isinstance(fact, facts.SessionStarted):
        _expect("session", len(history.sessions) + 1, fact.session)
        return
    _check_session(history, fact)
    match fact:
        case facts.Prior():
            if history.trials:
                raise ValueError("prior must come before the first trial")
        case facts.Baseline():
            _expect(
                "epoch of the float network",
                max(history.baseline_seconds.get(fact.seed, {}), default=0) + 1,
                fact.epoch,
            )
        case facts.Measured():
            if fact.seed in history.sensitivities:
                raise ValueError(f"sensitivity of seed {fact.seed} must be measured once, got it again")
        case facts.Asked():
            _expect("number", len(history.trials), fact.number)
            if not fact.trial_id.endswith(f"-{fact.number:05d}"):
                raise ValueError(f"trial_id must end in the trial's number {fact.number}, got {fact.trial_id!r}")
            if fact.request is not None and fact.request not in history.enqueued:
                raise ValueError(f"request must be one that waits, got {fact.request!r}")
        case facts.Enqueued():
            _check_new(history, fact.request)
        case facts.StopRequested():
            _check_new(history, fact.request)
            if fact.number is not None:
                _running(history, fact.number)
        case facts.Repeated():
            trial = _trial(history, fact.number)
            if trial.state not in (TrialState.RUNNING, fact.state):
                raise ValueError(f"state must be {trial.state}, as trial {trial.number} has ended, got {fact.state}")
        case facts.Epoch():
            _check_epoch(_running(history, fact.number), fact)
        case facts.Lost():
            _running(history, fact.number)
        case facts.Checkpointed():
            trial = _running(history, fact.number)
            _expect(f"epoch of the checkpoint of trial {trial.number}", trial.latest_epoch, fact.epoch)
        case facts.Ended():
            _check_end(_running(history, fact.number), fact)
        case facts.Configured(version=int(version)):
            if not 2 <= version <= (known := max(history.version_changes, default=1)) + 1:
                raise ValueError(f"version must be between 2 and {known + 1}, got {version}")
        case facts.SessionEnded():
            _expect("session", len(history.sessions), fact.session)
            if fact.outcome is facts.SessionOutcome.FINISHED and (left := history.unfinished):
                raise ValueError(f"outcome must not be {fact.outcome} while trial {left[0].number} runs")


def _check_session(history: History, fact: Fact) -> None:
    if not history.sessions:
        if fact.elapsed != 0:  # 0 in a ledger that was written without a driver, and so has no sessions
            raise ValueError("the first fact must be the start of a session")
        return
    session = history.sessions[-1]
    # Before it starts its session, a driver ends the trials that its predecessor left with a finished last epoch.
    if session.outcome is not None and not isinstance(fact, facts.Ended | facts.Configured):
        raise ValueError(f"only the start of the next session may follow the end of session {session.number}")
    if fact.elapsed is not None and fact.elapsed < session.seconds:
        raise ValueError(f"elapsed must not go back, got {fact.elapsed} after {session.seconds}")


def _check_epoch(trial: Trial, fact: facts.Epoch) -> None:
    epoch, phase = fact.metrics["epoch"], fact.metrics["phase"]
    following = trial.latest_epoch + 1
    if trial.may_go_back:  # to any checkpoint, or to the start
        following = min(epoch, max(trial.epochs, default=0) + 1)
    _expect(f"epoch of trial {trial.number}", following, epoch)
    if epoch > trial.budget:
        raise ValueError(f"epoch of trial {trial.number} must be at most {trial.budget}, got {epoch}")
    expected = REGULARIZE if epoch <= trial.regularize_epochs else FINETUNE
    if phase != expected:
        raise ValueError(f"phase of epoch {epoch} of trial {trial.number} must be {expected}, got {phase}")


def _check_end(trial: Trial, fact: facts.Ended) -> None:
    trained, budget = trial.latest_epoch, trial.budget
    allowed = {TrialState.COMPLETE: trained == budget, TrialState.PRUNED: 0 < trained < budget}.get(fact.state, True)
    if not allowed:
        raise ValueError(f"state of trial {trial.number} must fit its {trained} of {budget} epochs, got {fact.state}")


def _check_new(history: History, request: str) -> None:
    if request in history.requests:
        raise ValueError(f"request must be new, got {request!r} again")


def _trial(history: History, number: int) -> Trial:
    if number not in history.trials:
        raise ValueError(f"number must be that of one of {len(history.trials)} trials, got {number}")
    return history.trials[number]


def _running(history: History, number: int) -> Trial:
    trial = _trial(history, number)
    if trial.state != TrialState.RUNNING:
        raise ValueError(f"no fact may follow the end of trial {number}")
    return trial


def _expect(name: str, expected: int, value: int) -> None:
    if value != expected:
        raise ValueError(f"{name} must be {expected}, got {value}")
