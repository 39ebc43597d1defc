"""Ray clusters that really run: hosts on this one machine, each with a name and folders of its own, and networks."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.live_studies import MARK, PATIENCE, Ended, LiveRun, kill_marked

ROOT = os.geteuid() == 0
UNSHARE = ("unshare", *(() if ROOT else ("--map-root-user",)), "--uts", "--mount")
OBJECT_STORE = 128 * 2**20
PORT = 26379
"""Port of heads that have a network of their own; others get a free one."""

# What a host does before it runs a command: takes its name, and its own folder for that which all hosts call alike.
BECOME = 'hostname "$0" && mount --bind "$1" "$2" && shift 2 && exec "$@"'


def told_apart() -> str | None:
    """Why hosts of this machine can't have names and folders of their own; None if they can."""
    return _refusal([*UNSHARE, "true"])


def networked() -> str | None:
    """Why they can't have networks of their own either."""
    name = f"qar-{uuid.uuid4().hex[:6]}"
    refusal = told_apart() or _refusal(["ip", "netns", "add", name])
    return refusal or _refusal(["ip", "netns", "delete", name])


def _refusal(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return f"{' '.join(command)}: {done.stderr.strip()}" if done.returncode else None


@dataclass
class Host:
    """A machine of its own, as far as Ray and a study can see.

    Attributes:
        name: that it goes by.
        folder: of its own: Ray's temporary files (`ray`), and what it alone sees at `LiveCluster.private` (`private`).
        within: command that runs another one on this host.
        environment: of all that runs there.
        mark: that all its processes bear.
        sessions: of `ray start`; processes that have overwritten their mark with a title are in one of them.
    """

    name: str
    folder: Path
    within: tuple[str, ...]
    environment: dict[str, str]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    sessions: list[int] = field(default_factory=list)

    @property
    def private(self) -> Path:
        return self.folder / "private"

    def kill(self) -> None:
        """Kill the host as if its power went out: raylet, workers and, on the head, the control service."""
        kill_marked(self.mark)
        for session in self.sessions:
            with suppress(ProcessLookupError):
                os.killpg(session, signal.SIGKILL)


class LiveCluster:
    """A head that trains nothing, and the workers that are added to it.

    Attributes:
        shared: a folder that is the same on all hosts.
        private: a folder of the same name on all hosts, and another one on each (where `told_apart` allows it).
        hosts: by name.
        address: of the head, for --address.
        jobs: address that `ray job` takes, if the head has a dashboard.
    """

    def __init__(
        self,
        *,
        network: bool = False,
        jobs: bool = False,
        environment: dict[str, str] | None = None,
        shared: Path | None = None,
    ) -> None:
        """Prepare the cluster without starting anything.

        Args:
            network: whether hosts have networks of their own.
            jobs: whether the head has a dashboard, which `ray job` needs.
            environment: of all that runs on any host, besides what is usual.
            shared: a folder that outlives the cluster; one of its own if None.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="qar-"))  # short: the names of Ray's sockets have little room
        self.shared, self.private = shared or self.folder / "shared", self.folder / "private"
        for folder in (self.shared, self.private):
            folder.mkdir(exist_ok=True)
        self.hosts: dict[str, Host] = {}
        self._environment = environment or {}
        self._token = uuid.uuid4().hex
        self._network = Network() if network else None
        self._told_apart = told_apart() is None
        self._jobs = jobs
        self.address = self.jobs = ""

    def start(self, workers: Sequence[str], *, resources: Sequence[str] = ("--num-cpus=1", "--num-gpus=0")) -> None:
        """Starts the head, then workers, all at once."""
        head = self.add_host("head")
        ip = self._network.address("head") if self._network else _own_address()
        port = PORT if self._network else _free_port()
        self.address = f"{ip}:{port}"
        options = ["--head", f"--port={port}", "--num-cpus=0", "--num-gpus=0", f"--include-dashboard={self._jobs}"]
        if self._jobs:
            port = _free_port()
            options += [f"--dashboard-host={ip}", f"--dashboard-port={port}"]
            self.jobs = f"http://{ip}:{port}"
        self._start(head, *options)()
        started = [self._start(self.add_host(name), f"--address={self.address}", *resources) for name in workers]
        for wait in started:
            wait()

    def add_worker(
        self,
        name: str,
        *options: str,
        environment: dict[str, str] | None = None,
        before: str | None = None,
    ) -> None:
        """Starts one worker more.

        Args:
            name: of the host.
            options: of `ray start`; one CPU and no GPU if there are none.
            environment: of all that runs on the host, besides what is usual.
            before: what a shell does first, there.
        """
        host = self.add_host(name, environment, before)
        self._start(host, f"--address={self.address}", *(options or ("--num-cpus=1", "--num-gpus=0")))()

    def add_host(self, name: str, environment: dict[str, str] | None = None, before: str | None = None) -> Host:
        """A host on which nothing runs yet."""
        folder = self.folder / name
        (folder / "private").mkdir(parents=True)
        within: tuple[str, ...] = ()
        if self._told_apart:
            within = (*UNSHARE, "sh", "-c", BECOME, name, str(folder / "private"), str(self.private))
        if before is not None:
            within += ("sh", "-c", f'{before}; exec "$@"', "sh")
        if self._network:
            within = (*self._network.add(name), *within)
        usual = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._token, "RAY_USAGE_STATS_ENABLED": "0"}
        host = Host(name, folder, within, usual | self._environment | (environment or {}))
        self.hosts[name] = host
        return host

    def _start(self, host: Host, *options: str) -> Callable[[], None]:
        """Begins `ray start` there; returns what waits for its end."""
        agent = [f"--dashboard-agent-listen-port={PORT + 1 if self._network else _free_port()}"]
        command = [*host.within, sys.executable, "-m", "ray.scripts.scripts", "start", *options, *agent]
        command += [f"--temp-dir={host.folder}/ray", f"--object-store-memory={OBJECT_STORE}"]
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        log = host.folder / "start.log"
        with log.open("w") as file:  # no pipe, for the daemons that stay would keep it open
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment | host.environment | {MARK: host.mark},
                start_new_session=True,
            )
        host.sessions.append(process.pid)

        def wait() -> None:
            assert process.wait(PATIENCE) == 0, log.read_text()

        return wait

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> LiveRun:
        """Begins a `qar` on the head."""
        head = self.hosts["head"]
        return LiveRun(arguments, self.shared, within=head.within, environment=head.environment | (environment or {}))

    def job(self, action: str, *arguments: str, host: str) -> str:
        """Runs `ray job` on one of the hosts, to its end, and returns what it prints."""
        from_there = self.hosts[host]
        command = [*from_there.within, sys.executable, "-m", "ray.scripts.scripts", "job", action]
        done = subprocess.run(
            [*command, "--address", self.jobs, *arguments],
            capture_output=True,
            text=True,
            env=os.environ | from_there.environment | {MARK: from_there.mark},
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done
        return done.stdout

    def popen(self, *command: str) -> subprocess.Popen[str]:
        """Begins another command on the head, with pipes; it ends with the cluster."""
        head = self.hosts["head"]
        return subprocess.Popen(
            [*head.within, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | head.environment | {MARK: head.mark},
        )

    def qar(self, *arguments: str, environment: dict[str, str] | None = None) -> Ended:
        """Runs the command on the head, to its end."""
        return self.run(*arguments, environment=environment).finish()

    def cut(self, one: str, other: str) -> None:
        """Lets two hosts no longer reach each other; everything else goes on. Needs a network."""
        assert self._network
        self._network.cut(one, other)

    def kill(self) -> None:
        """Kill all hosts as if their power went out."""
        for host in self.hosts.values():
            host.kill()

    def end(self) -> None:
        self.kill()
        if self._network:
            self._network.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def live_cluster(
    *workers: str,
    network: bool = False,
    jobs: bool = False,
    environment: dict[str, str] | None = None,
    shared: Path | None = None,
) -> Iterator[LiveCluster]:
    """A cluster with these workers of one CPU each; ends with the block."""
    cluster = LiveCluster(network=network, jobs=jobs, environment=environment, shared=shared)
    try:
        cluster.start(workers)
        yield cluster
    finally:
        cluster.end()


class Network:
    """A switch, and hosts that are connected to it and to nothing else."""

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex[:6]
        self._names: list[str] = []
        self._switch = self._space("switch")
        _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "bridge", "up")

    def _space(self, name: str) -> str:
        space = f"qar-{self._id}-{name}"
        _ip("netns", "add", space)
        self._names.append(name)
        return space

    def address(self, name: str) -> str:
        return f"10.77.0.{self._names.index(name)}"  # the switch is the first

    def add(self, name: str) -> tuple[str, ...]:
        """Connects a host; returns the command that runs another one in its network."""
        space = self._space(name)
        wire = f"wire{len(self._names)}"
        _ip("-n", self._switch, "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("-n", self._switch, "link", "set", wire, "master", "bridge", "up")
        _ip("-n", space, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", space, "link", "set", device, "up")
        _ip("-n", space, "route", "add", "default", "dev", "eth0")  # Ray finds out its address by the route outwards
        return ("ip", "netns", "exec", space)

    def cut(self, one: str, other: str) -> None:
        """Lets two hosts no longer reach each other."""
        for here, there in ((one, other), (other, one)):
            _ip("-n", f"qar-{self._id}-{here}", "route", "add", "blackhole", f"{self.address(there)}/32")

    def remove(self) -> None:
        for name in self._names:
            _ip("netns", "delete", f"qar-{self._id}-{name}")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _own_address() -> str:
    from ray.util import get_node_ip_address

    return str(get_node_ip_address())


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("", 0))  # above those that Ray gives to workers
        return int(trial.getsockname()[1])
