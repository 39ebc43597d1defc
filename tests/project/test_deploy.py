"""The files that start a cluster: Ray accepts them, they pin what constraints.txt pins, and only SSH is open."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from ray.autoscaler._private.aws import config as ray_aws
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_cli
from typer.main import get_command

from study.cli import app
from study.config import load_study
from tests.project.test_project import PACKAGES, PYPROJECT, pins

ROOT = Path(__file__).parents[2]
CLOUDS = ["cluster.yaml", "deploy/gcp.yaml"]
LAUNCHED = [*CLOUDS, "deploy/lab.yaml"]
FILES = [
    "deploy/Dockerfile",
    "deploy/kuberay-rayjob.yaml",
    "deploy/aws-roles.yaml",
    "deploy/slurm.sbatch",
    "docs/clusters.md",
]
FILES += LAUNCHED


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def cluster(name: str) -> dict[str, Any]:
    return yaml.safe_load(text_of(name))


def start_commands(name: str) -> list[str]:
    config = cluster(name)
    return [config[f"{kind}_start_ray_commands"][-1] for kind in ("head", "worker")]


@pytest.mark.parametrize("name", LAUNCHED)
def test_launcher_accepts_the_file(name: str) -> None:
    prepared = prepare_config(cluster(name))
    validate_config(prepared)
    assert prepared["max_workers"] > 0


@pytest.mark.parametrize("name", LAUNCHED)
def test_launcher_refuses_an_unknown_key(name: str) -> None:
    prepared = prepare_config(cluster(name) | {"idle_timeout": 10})
    with pytest.raises(Exception, match="idle_timeout"):
        validate_config(prepared)


@pytest.mark.parametrize("name", CLOUDS)
def test_head_is_on_demand_and_trains_nothing(name: str) -> None:
    config = cluster(name)
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert not is_spot(head["node_config"])


def is_spot(node: dict[str, Any]) -> bool:
    market = node.get("InstanceMarketOptions", {}).get("MarketType")
    return market == "spot" or node.get("scheduling", {}).get("provisioningModel") == "SPOT"


@pytest.mark.parametrize("name", CLOUDS)
def test_workers_are_spot_machines_with_and_without_a_gpu(name: str) -> None:
    config = cluster(name)
    workers = [node for kind, node in config["available_node_types"].items() if kind != config["head_node_type"]]
    assert sorted(node["resources"].get("GPU", 0) for node in workers) == [0, 1]
    for node in workers:
        assert is_spot(node["node_config"])
        assert node["resources"]["CPU"] > 0
        assert 0 <= node["min_workers"] < node["max_workers"]
    assert sum(node["max_workers"] for node in workers) >= config["max_workers"]


def test_lab_head_trains_nothing() -> None:
    head, worker = start_commands("deploy/lab.yaml")
    assert "--num-cpus=0 --num-gpus=0" in head
    assert "--num-cpus" not in worker


@pytest.mark.parametrize("name", LAUNCHED)
def test_node_starts_ray_with_token_files_and_shared_memory(name: str) -> None:
    config = cluster(name)
    home = f"/home/{config['auth']['ssh_user']}"
    assert config["file_mounts"][f"{home}/.ray/auth_token"] == "~/.ray/auth_token"
    assert 'chmod 600 "$HOME/.ray/auth_token"' in config["setup_commands"]
    for kind, start in zip(("head", "worker"), start_commands(name), strict=True):
        assert start.startswith("export RAY_AUTH_MODE=token; ulimit -n 65536; ray start ")
        assert any("mount -o remount,size=80% /dev/shm" in line for line in config[f"{kind}_start_ray_commands"])


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_knows_the_options_of_its_start(name: str) -> None:
    known = {option for parameter in ray_cli.commands["start"].params for option in parameter.opts}
    for start in start_commands(name):
        options = {word.split("=")[0] for word in start.split() if word.startswith("--")}
        assert options
        assert options <= known


@pytest.mark.parametrize("name", LAUNCHED)
def test_commands_of_a_node_are_bash(name: str) -> None:
    config = cluster(name)
    commands = [line for key, value in config.items() if key.endswith("_commands") for line in value]
    assert len(commands) >= 8
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)


def hashed(name: str) -> dict[str, tuple[str, list[str]]]:
    """Version and checksums by package, of a file of requirements."""
    text = "".join(line for line in text_of(name).splitlines(True) if not line.startswith("#"))
    found: dict[str, tuple[str, list[str]]] = {}
    for entry in text.replace("\\\n", "").splitlines():
        requirement, *checksums = entry.split()
        package, version = requirement.split("==")
        found[canonicalize_name(package)] = version, checksums
    return found


@pytest.mark.parametrize("name", LAUNCHED)
def test_every_node_installs_files_with_known_checksums_alone(name: str) -> None:
    commands = cluster(name)["setup_commands"]
    installs = [part for line in commands for part in line.split("&&") if "pip" in part and " install " in part]
    assert len(installs) == 3
    for install in installs:
        by_checksum = "--require-hashes" in install and "--requirement" in install
        assert by_checksum or ("--no-deps --no-build-isolation" in install and install.split()[-1] == ".")
    assert any("--requirement deploy/requirements.txt" in line for line in commands)


@pytest.mark.parametrize("name", FILES)
def test_nothing_from_the_network_is_run_unseen(name: str) -> None:
    text = re.sub(r"\\\n\s*", "", text_of(name))
    assert re.findall(r"(?:curl|wget)[^\n;&]*\|[^\n;&]*\b(?:ba|z|da)?sh\b", text) == []


@pytest.mark.parametrize("name", ["deploy/requirements.txt", "deploy/uv.txt"])
def test_requirements_have_a_checksum_for_every_package_and_name_no_index(name: str) -> None:
    for package, (version, checksums) in hashed(name).items():
        assert version, package
        assert checksums, package
        assert [part for part in checksums if not re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", part)] == []
    assert "index-url" not in text_of(name)
    assert "file:" not in text_of(name)


def test_requirements_have_the_versions_of_the_constraints() -> None:
    pinned = {canonicalize_name(package): version for package, version in pins().items()}
    of_nodes = {package: version for package, (version, _) in hashed("deploy/requirements.txt").items()}
    assert {package: version for package, version in of_nodes.items() if package in pinned} == {
        package: version for package, version in pinned.items() if package in of_nodes
    }


def test_requirements_have_all_that_nodes_need() -> None:
    """The command in its first lines makes it anew after a change of pyproject.toml or constraints.txt."""
    listed = [line for line in text_of("deploy/requirements.in").splitlines() if not line.startswith("#")]
    needed = {canonicalize_name(Requirement(text).name) for text in (*PYPROJECT["project"]["dependencies"], *listed)}
    assert needed <= hashed("deploy/requirements.txt").keys()


def test_image_holds_all_packages() -> None:
    copied = set(re.findall(r" /home/ray/qar/(\w+)$", text_of("deploy/Dockerfile"), re.MULTILINE))
    assert copied == set(PACKAGES)


@pytest.mark.parametrize("name", FILES)
def test_versions_are_those_of_the_constraints(name: str) -> None:
    """Every `name==version`, and every tag of an image, wherever it stands."""
    text = text_of(name)
    for package, version in re.findall(r"([A-Za-z][\w-]*)(?:\[[\w,]+\])?==([\w.]+)", text):
        assert (name, package, version) == (name, package, pins()[package])
    for version in re.findall(r"(?:rayVersion: |rayproject/ray:|-ray)(\d[\d.]*\d)", text):
        assert (name, version) == (name, pins()["ray"])
    for version in re.findall(r"/qar:(\d[\d.]*\d)-", text):
        assert (name, version) == (name, PYPROJECT["project"]["version"])


BASE_IMAGE = re.compile(
    r"^ARG BASE=rayproject/ray:(?P<ray>[\d.]+)-py(?P<python>\d+)(@sha256:[0-9a-f]{64})?$", re.MULTILINE
)


def test_python_is_the_same_everywhere_and_supported() -> None:
    versions = {re.search(r"--python (\d+\.\d+\.\d+) ", text_of(name))[1] for name in LAUNCHED}  # type: ignore[index]
    (version,) = versions
    assert SpecifierSet(PYPROJECT["project"]["requires-python"]).contains(version)
    major, minor, _ = version.split(".")
    base = BASE_IMAGE.search(text_of("deploy/Dockerfile"))
    assert base is not None
    assert base["python"] == f"{major}{minor}"


@pytest.mark.parametrize("digest", ["", f"@sha256:{64 * 'a'}"], ids=["tag", "digest"])
def test_base_image_is_rays_own_and_may_be_pinned_by_its_digest(digest: str) -> None:
    text = text_of("deploy/Dockerfile")
    default = BASE_IMAGE.search(text)
    assert default is not None
    pinned = text.replace(default[0], default[0] + digest)
    base = BASE_IMAGE.search(pinned)
    assert base is not None
    assert base["ray"] == pins()["ray"]
    assert re.findall(r"^FROM (.+)$", pinned, re.MULTILINE) == ["${BASE}"], "no other image"
    advice = f"docker buildx imagetools inspect rayproject/ray:{base['ray']}-py{base['python']} --format"
    assert advice in pinned
    assert "--build-arg BASE=rayproject/ray@sha256:" in pinned


def test_aws_lets_in_ssh_from_one_network_and_the_nodes() -> None:
    template = yaml.load(text_of("deploy/aws-roles.yaml"), TemplateLoader)
    parts = template["Resources"]
    (ssh,) = parts["Nodes"]["Properties"]["SecurityGroupIngress"]
    assert ssh == {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "SshCidr"}
    inside = parts["BetweenNodes"]["Properties"]
    assert inside["GroupId"] == inside["SourceSecurityGroupId"] == "Nodes.GroupId"
    assert "CidrIp" not in inside
    assert "Default" not in template["Parameters"]["SshCidr"]


@pytest.mark.parametrize(
    ("cidr", "accepted"),
    [("192.0.2.7/32", True), ("10.0.0.0/8", True), ("0.0.0.0/0", False), ("0.0.0.0/1", False), ("YOUR-IP/32", False)],
)
def test_aws_refuses_a_network_that_is_the_world_or_not_filled_in(cidr: str, accepted: bool) -> None:
    template = yaml.load(text_of("deploy/aws-roles.yaml"), TemplateLoader)
    assert bool(re.fullmatch(template["Parameters"]["SshCidr"]["AllowedPattern"], cidr)) is accepted


def test_ray_makes_no_security_group_of_its_own() -> None:
    """One of Ray's lets in SSH from anywhere."""
    config = prepare_config(cluster("cluster.yaml"))
    assert ray_aws._configure_security_group(config) is config
    for node in config["available_node_types"].values():
        assert node["node_config"]["SecurityGroupIds"] == ["sg-FILL-IN"]


def test_google_lets_in_nothing_but_ssh() -> None:
    rules = re.findall(
        r"firewall-rules create \S+ --network=(\S+) --allow=(\S+) --source-ranges=(\S+)", text_of(CLOUDS[1])
    )
    assert len(rules) == text_of(CLOUDS[1]).count("firewall-rules")
    assert {(allowed, source) for _, allowed, source in rules} == {("tcp:22", "YOUR-IP/32"), ("all", "10.128.0.0/9")}
    for node in cluster(CLOUDS[1])["available_node_types"].values():
        assert [face["subnetwork"].split("/")[-1] for face in node["node_config"]["networkInterfaces"]] == ["qar"]


@pytest.mark.parametrize("name", LAUNCHED)
def test_dashboard_listens_on_the_head_alone(name: str) -> None:
    assert "--dashboard-host=127.0.0.1" in start_commands(name)[0]
    assert "0.0.0.0" not in "".join(start_commands(name))


def image_filler() -> str:
    (command,) = (line for line in cluster("cluster.yaml")["head_start_ray_commands"] if "resolve:ssm" in line)
    return command


def test_workers_get_the_heads_image(tmp_path: Path) -> None:
    bootstrap = tmp_path / "ray_bootstrap_config.yaml"
    bootstrap.write_text(json.dumps(cluster("cluster.yaml")))
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\ncase "$*" in *ami-id*) echo ami-0123456789;; *) echo token;; esac\n')
    curl.chmod(0o755)
    env = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["bash", "-c", image_filler()], env=env, check=True)
    nodes = json.loads(bootstrap.read_text())["available_node_types"].values()
    assert {node["node_config"]["ImageId"] for node in nodes} == {"ami-0123456789"}


@pytest.mark.parametrize("name", CLOUDS)
def test_cloud_keeps_studies_and_data_in_a_bucket(name: str) -> None:
    scheme = {"aws": "s3", "gcp": "gs"}[cluster(name)["provider"]["type"]]
    shown = [words for where, words in written_commands() if where == name]
    assert shown
    assert all(f"{scheme}://YOUR-BUCKET/studies" in words for words in shown)
    (launch,) = (words for words in shown if words.startswith("qar launch"))
    assert f"--set trial.data_dir={scheme}://YOUR-BUCKET/data" in launch
    for key in ("head_setup_commands", "worker_setup_commands"):
        assert key not in cluster(name), "no node has anything that another lacks"


class Reference(str):
    """Return the name behind !Ref or !GetAtt of a CloudFormation template."""


class TemplateLoader(yaml.SafeLoader):
    """Knows the tags of CloudFormation that the template uses."""


TemplateLoader.add_constructor("!Sub", lambda _, node: node.value.replace("${Bucket}", "our-bucket"))
for tag in ("!Ref", "!GetAtt"):
    TemplateLoader.add_constructor(tag, lambda _, node: Reference(node.value))


def resolved(value: Any, known: dict[str, str]) -> Any:
    """A part of the template with references replaced."""
    if isinstance(value, Reference):
        return known[value]
    if isinstance(value, dict):
        return {key: resolved(part, known) for key, part in value.items()}
    return [resolved(part, known) for part in value] if isinstance(value, list) else value


def make_roles(iam: Any) -> dict[str, str]:
    """Does what CloudFormation does with deploy/aws-roles.yaml; returns what its references stand for."""
    known: dict[str, str] = {}
    for name, resource in yaml.load(text_of("deploy/aws-roles.yaml"), TemplateLoader)["Resources"].items():
        if resource["Type"].startswith("AWS::EC2::"):
            continue
        of = resolved(resource["Properties"], known)
        match resource["Type"].removeprefix("AWS::IAM::"):
            case "ManagedPolicy":
                policy = json.dumps(of["PolicyDocument"])
                made = iam.create_policy(PolicyName=of["ManagedPolicyName"], PolicyDocument=policy)
                known[name] = made["Policy"]["Arn"]
            case "Role":
                trust = json.dumps(of["AssumeRolePolicyDocument"])
                role = iam.create_role(RoleName=of["RoleName"], AssumeRolePolicyDocument=trust)["Role"]
                known |= {name: role["RoleName"], f"{name}.Arn": role["Arn"]}
                for arn in of["ManagedPolicyArns"]:
                    iam.attach_role_policy(RoleName=known[name], PolicyArn=arn)
                for policy in of.get("Policies", []):
                    document = json.dumps(policy["PolicyDocument"])
                    iam.put_role_policy(RoleName=known[name], PolicyName=policy["PolicyName"], PolicyDocument=document)
            case "InstanceProfile":
                iam.create_instance_profile(InstanceProfileName=of["InstanceProfileName"])
                for role_name in of["Roles"]:
                    iam.add_role_to_instance_profile(InstanceProfileName=of["InstanceProfileName"], RoleName=role_name)
            case kind:
                raise AssertionError(f"{name} is of a kind that this test doesn't make: {kind}")
    return known


@pytest.fixture(scope="module")
def roles() -> Iterator[dict[str, str]]:
    """ARN of the role of each node type of cluster.yaml, in an imitation of AWS that knows rights and two buckets."""
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        iam = boto3.client("iam")
        make_roles(iam)
        for bucket in ("our-bucket", "another-bucket"):
            boto3.client("s3").create_bucket(Bucket=bucket)
        yield {
            kind: iam.get_instance_profile(InstanceProfileName=node["node_config"]["IamInstanceProfile"]["Name"])[
                "InstanceProfile"
            ]["Roles"][0]["Arn"]
            for kind, node in cluster("cluster.yaml")["available_node_types"].items()
        }


def allowed(role: str, service: str, action: Callable[[Any], Any]) -> bool:
    """Whether a role may do something."""
    given = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    client = boto3.client(
        service,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    try:
        set_initial_no_auth_action_count(0)(action)(client)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("AccessDenied", "UnauthorizedOperation"):
            return False
        raise
    return True


@pytest.mark.parametrize("kind", ["head", "cpu-worker", "gpu-worker"])
def test_every_node_may_use_the_one_bucket(kind: str, roles: dict[str, str]) -> None:
    uses: list[Callable[..., Any]] = [
        lambda s3, bucket: s3.put_object(Bucket=bucket, Key="studies/a", Body=b"1"),
        lambda s3, bucket: s3.get_object(Bucket=bucket, Key="studies/a"),
        lambda s3, bucket: s3.list_objects_v2(Bucket=bucket),
        lambda s3, bucket: s3.delete_object(Bucket=bucket, Key="studies/a"),
    ]
    for use in uses:
        assert allowed(roles[kind], "s3", partial(use, bucket="our-bucket"))
        assert not allowed(roles[kind], "s3", partial(use, bucket="another-bucket"))


@pytest.mark.parametrize(("kind", "may"), [("head", True), ("cpu-worker", False), ("gpu-worker", False)])
def test_head_alone_may_start_machines(kind: str, may: bool, roles: dict[str, str]) -> None:
    assert allowed(roles[kind], "ec2", lambda ec2: ec2.describe_instances()) is may


def test_head_may_hand_workers_their_role_and_no_other(roles: dict[str, str]) -> None:
    assert roles["cpu-worker"] == roles["gpu-worker"] != roles["head"]
    (document,) = [
        boto3.client("iam").get_role_policy(RoleName="qar-head", PolicyName=name)["PolicyDocument"]
        for name in boto3.client("iam").list_role_policies(RoleName="qar-head")["PolicyNames"]
    ]
    (statement,) = document["Statement"]
    assert statement == {"Effect": "Allow", "Action": "iam:PassRole", "Resource": roles["cpu-worker"]}


def test_ray_takes_the_heads_role_as_it_is(roles: dict[str, str]) -> None:
    config = prepare_config(cluster("cluster.yaml")) | {"head_node": {}}
    configured = ray_aws._configure_iam_role(config)
    assert configured["head_node"] == {}, "Ray has one of its own for a head that has none"
    assert configured["available_node_types"]["head"]["node_config"]["IamInstanceProfile"] == {"Name": "qar-head"}


def test_googles_workers_have_an_account_that_reaches_storage_alone() -> None:
    config = cluster("deploy/gcp.yaml")
    email = f"ray-autoscaler-sa-v1@{config['provider']['project_id']}.iam.gserviceaccount.com"
    account = {"email": email, "scopes": ["https://www.googleapis.com/auth/devstorage.read_write"]}
    for kind, node in config["available_node_types"].items():
        # Ray gives the head its own, which it makes itself.
        assert node["node_config"].get("serviceAccounts") == (None if kind == "head" else [account])
    assert f"--member=serviceAccount:{email}" in text_of("deploy/gcp.yaml")


def written_commands() -> list[tuple[str, str]]:
    """Every qar command in a file of these, with lines that go on joined."""
    found = []
    for name in FILES:
        if name.endswith(".sbatch"):  # whose command is a shell's, and tested by running it
            continue
        text = re.sub(r"\\\n#?\s*", "", text_of(name))
        found += [(name, words.strip()) for words in re.findall(r"(?:^|[\s`'])(qar [a-z]+ [^`'\"#;&\n]*)", text)]
    return [(name, words) for name, words in found if words.split()[1] in get_command(app).commands]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "words"), written_commands())
def test_written_command_parses(name: str, words: str) -> None:
    command, *arguments = words.split()[1:]
    get_command(app).commands[command].make_context(command, arguments)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", LAUNCHED)
def test_file_says_how_to_launch_watch_resume_and_tear_down(name: str) -> None:
    comments = [line for line in text_of(name).splitlines() if line.startswith("#")]
    for word in ("start", "launch", "attach", "watch", "resume", "tear down"):
        assert any(re.match(rf"#   {word}: +ray [a-z]+ {re.escape(name)}", line) for line in comments), word
    shown = [words for where, words in written_commands() if where == name]
    # How far a cluster that costs money is to grow is said, not left to a default.
    assert all("resources.max_concurrent=" in words for words in shown if words.startswith("qar launch"))


KUBERAY = list(yaml.safe_load_all(text_of("deploy/kuberay-rayjob.yaml")))
JOB = KUBERAY[2]

TEXT, NUMBER, TRUTH, QUANTITY = str, int, bool, re.compile(r"\d+(\.\d+)?(m|[KMGT]i?)?")
RESOURCES = {"requests": {str: QUANTITY}, "limits": {str: QUANTITY}}
CONTAINER = {
    "name": TEXT,
    "image": TEXT,
    "resources": RESOURCES,
    "volumeMounts": [{"name": TEXT, "mountPath": TEXT}],
}
VOLUME = {
    "name": TEXT,
    "persistentVolumeClaim": {"claimName": TEXT},
    "configMap": {"name": TEXT},
    "emptyDir": {"medium": TEXT, "sizeLimit": QUANTITY},
}
TEMPLATE = {"spec": {"securityContext": {"fsGroup": NUMBER}, "containers": [CONTAINER], "volumes": [VOLUME]}}
WORKERS = {"groupName": TEXT, "replicas": NUMBER, "minReplicas": NUMBER, "maxReplicas": NUMBER}
WORKERS |= {"rayStartParams": {str: TEXT}, "template": TEMPLATE}  # type: ignore[dict-item]
RAY_CLUSTER = {
    "rayVersion": TEXT,
    "authOptions": {"mode": TEXT},
    "enableInTreeAutoscaling": TRUTH,
    "autoscalerOptions": {"idleTimeoutSeconds": NUMBER},
    "headGroupSpec": {"serviceType": TEXT, "rayStartParams": {str: TEXT}, "template": TEMPLATE},
    "workerGroupSpecs": [WORKERS],
}
RAY_JOB = {
    "apiVersion": TEXT,
    "kind": TEXT,
    "metadata": {"name": TEXT},
    "spec": {
        "entrypoint": TEXT,
        "backoffLimit": NUMBER,
        "shutdownAfterJobFinishes": TRUTH,
        "ttlSecondsAfterFinished": NUMBER,
        "rayClusterSpec": RAY_CLUSTER,
    },
}
"""Part of KubeRay's API (ray.io/v1, reference of KubeRay 1.6) that the file uses, with the type of each value."""


def misfits(value: Any, shape: Any, where: str = "") -> list[str]:
    """Keys that the shape doesn't know and values of another kind."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [where]
        known = {key: shape.get(key, shape.get(str)) for key in value}
        return [
            misfit
            for key, part in value.items()
            for misfit in (misfits(part, known[key], f"{where}.{key}") if known[key] else [f"{where}.{key}"])
        ]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [where]
        return [misfit for place, part in enumerate(value) for misfit in misfits(part, shape[0], f"{where}[{place}]")]
    if isinstance(shape, re.Pattern):
        return [] if isinstance(value, str) and shape.fullmatch(value) else [where]
    return [] if type(value) is shape else [where]


def test_rayjob_has_known_keys_and_values_of_their_kind() -> None:
    assert [document["kind"] for document in KUBERAY] == ["PersistentVolumeClaim", "ConfigMap", "RayJob"]
    assert JOB["apiVersion"] == "ray.io/v1"
    assert misfits(JOB, RAY_JOB) == []


@pytest.mark.parametrize(
    ("key", "value"), [("entrypont", "qar"), ("backoffLimit", "5"), ("rayClusterSpec", {"rayVersion": 2.6})]
)
def test_rayjob_check_finds_what_is_wrong(key: str, value: Any) -> None:
    assert misfits({"spec": {key: value}}, RAY_JOB) == [f".spec.{key}" + (".rayVersion" if key[0] == "r" else "")]


def rayjob_pods() -> list[dict[str, Any]]:
    spec = JOB["spec"]["rayClusterSpec"]
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def test_rayjob_runs_the_study_of_its_config_map_and_resumes_it(tmp_path: Path) -> None:
    program, command, *arguments = JOB["spec"]["entrypoint"].split()
    assert (program, command) == ("qar", "launch")
    parsed = get_command(app).commands[command].make_context(command, arguments).params  # type: ignore[attr-defined]
    assert parsed["resume_if_exists"]
    assert parsed["address"] == "auto"
    assert JOB["spec"]["backoffLimit"] > 0
    mounts = {mount["name"]: mount["mountPath"] for mount in rayjob_pods()[0]["containers"][0]["volumeMounts"]}
    assert Path(parsed["storage"]).is_relative_to(mounts["shared"])
    assert Path(parsed["study"]).parent == Path(mounts["study"])
    study = tmp_path / Path(parsed["study"]).name
    study.write_text(KUBERAY[1]["data"][study.name])
    config = load_study(str(study), [])
    assert config.resources.max_concurrent
    assert Path(config.trial["data_dir"]).is_relative_to(mounts["shared"])


def test_rayjob_head_trains_nothing_and_is_not_exposed() -> None:
    head = JOB["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    assert head["serviceType"] == "ClusterIP"
    assert JOB["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_rayjob_workers_come_and_go() -> None:
    spec = JOB["spec"]["rayClusterSpec"]
    assert spec["enableInTreeAutoscaling"]
    for group in spec["workerGroupSpecs"]:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert group["maxReplicas"] > 0


def test_rayjob_pods_share_a_volume_an_image_and_have_shared_memory() -> None:
    claim, study = (document["metadata"]["name"] for document in KUBERAY[:2])
    assert KUBERAY[0]["spec"]["accessModes"] == ["ReadWriteMany"]
    images = set()
    for pod in rayjob_pods():
        (container,) = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        assert mounts["/mnt/shared"]["persistentVolumeClaim"]["claimName"] == claim
        assert mounts["/etc/qar"]["configMap"]["name"] == study
        assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
        images.add(container["image"])
    (image,) = images
    assert image.endswith(f"/qar:{PYPROJECT['project']['version']}-ray{pins()['ray']}")
    assert image in text_of("deploy/Dockerfile")
