"""What is run elsewhere, looked at here: the image, compose.yaml, units of systemd. tests/e2e runs it as processes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from bus.identities import SYSTEM, USERS
from bus.issuer import Issuer
from cli.parts import NAMES
from tests.composition import FILE, composition, is_ours, replicas
from tests.running import ROOT

DEPLOY = ROOT / "docs" / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = re.split(r"(?m)^(?=FROM )", re.sub(r"(?m)^#.*\n", "", DOCKERFILE).replace("\\\n", " "))[1:]
PINNED = r"[\w./-]+:\d+\.\d+(\.\d+)?(-[\w.]+)*"
VALUES = dict.fromkeys(re.findall(r"\$\{(\w+):\?", FILE.read_text()), "value")
SERVICES: dict[str, Any] = composition(VALUES)["services"]
SECRETS: dict[str, Any] = composition(VALUES)["secrets"]
OURS = {name: service for name, service in SERVICES.items() if is_ours(service)}


# --- the image --------------------------------------------------------------------------------------------------------


def test_the_image_is_built_in_stages_on_a_pinned_base() -> None:
    assert len(STAGES) == 2
    for stage in STAGES:
        base = stage.split()[1]
        assert re.fullmatch(PINNED, base), f"{base} is not pinned"
    assert re.search(r"^ADD ", DOCKERFILE, re.MULTILINE) is None


def test_the_image_is_nobodys_that_may_do_anything() -> None:
    last = STAGES[-1]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE), "a number that is not root's"
    assert last.index("USER") < last.index("ENTRYPOINT")
    assert not re.search(r"pip install|build-essential|gcc|curl|wget|--require-hashes", last), (
        "what builds stays outside"
    )
    assert "--no-install-recommends" in last
    assert "rm -rf /var/lib/apt/lists" in last
    assert re.search(r"^HEALTHCHECK .*CMD \[", last, re.MULTILINE)
    assert 'ENTRYPOINT ["flows"]' in last


def test_all_that_is_installed_is_checked_by_hash() -> None:
    for command in re.findall(r"pip [^&\n]*\binstall\b[^&\n]*", DOCKERFILE.replace("\\\n", " ")):
        assert "--require-hashes" in command or "--no-index" in command, command


# --- compose.yaml -----------------------------------------------------------------------------------------------------


def test_each_part_is_composed_as_often_as_it_needs() -> None:
    commands = {name: service["command"] for name, service in OURS.items()}
    served = {word for command in commands.values() if command[0] == "serve" for word in command[1:]}
    assert served == set(NAMES)
    counts = {name: replicas(service) for name, service in OURS.items()}
    assert {name for name, count in counts.items() if count >= 2} >= {
        "api",
        "scheduler",
        "executor",
        "recorder",
        "worker",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"], "not root"
    assert "/tmp" in service["tmpfs"]
    assert service["stop_grace_period"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert service["restart"] in {"always", "on-failure"}
    assert is_ours(service) or re.fullmatch(PINNED, service["image"]), "its image is pinned"
    assert not {"privileged", "network_mode", "pid", "cap_add"} & service.keys()
    assert not any("docker.sock" in volume for volume in service.get("volumes", []))
    assert is_ours(service) or "test" in service["healthcheck"]


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_files(name: str) -> None:
    service = SERVICES[name]
    granted = {one if isinstance(one, str) else one["source"] for one in service.get("secrets", [])}
    assert granted <= SECRETS.keys()
    environment = service.get("environment", {})
    for variable, value in environment.items():
        assert "password" not in variable.lower() or variable.endswith("_FILE"), f"{variable} holds a secret"
        assert not re.search(r"//[^/]*:[^/]*@", str(value)), f"{variable} holds a password"
    there = {f"/run/secrets/{one}" if isinstance(one, str) else one["target"] for one in service.get("secrets", [])}
    folders = {str(Path(file).parent) for file in there}
    for named in re.findall(r"/run/secrets/[\w/-]+", str(environment)):
        assert named in there | folders, f"{named} is not there"


def test_only_the_proxy_is_reached_from_outside() -> None:
    assert {name for name, service in SERVICES.items() if service.get("ports")} == {"proxy"}


def test_what_is_waited_for_has_a_health_check() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            condition = how["condition"]
            assert needed in SERVICES
            if condition == "service_healthy":
                assert is_ours(SERVICES[needed]) or "test" in SERVICES[needed]["healthcheck"], f"{name}: {needed}"
            else:
                assert condition == "service_completed_successfully"
                assert SERVICES[needed]["restart"] == "on-failure"


def test_every_variable_is_one_that_is_read() -> None:
    known = (ROOT / "cli" / "settings.py").read_text()
    for name, service in OURS.items():
        for variable in service.get("environment", {}):
            if variable.startswith("OTEL_"):
                continue  # OpenTelemetry's own
            assert f'"{variable}"' in known, f"{name}: nobody reads {variable}"


def test_the_files_that_are_mounted_are_here() -> None:
    made = {"data", "disks", "repository"}  # by prepare.sh
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, _, *options = volume.split(":")
            assert source.split("/")[1] in made or ((ROOT / source).is_file() and options == ["ro"]), volume


def test_each_part_has_the_password_of_its_own_user_and_no_others() -> None:
    for name, service in OURS.items():
        if service["command"][0] == "serve":
            (part,) = service["command"][1:]
            assert part in USERS, "nats.conf knows it"
            mine = [one["target"] for one in service["secrets"] if isinstance(one, dict)]
            more = ("issuer", "system") if part == "setup" else ()
            assert mine == [f"/run/secrets/nats/{one}" for one in (part, *more)], name


@pytest.mark.server
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine")
def test_the_issuer_that_is_prepared_is_the_one_that_the_set_up_knows(tmp_path: Path) -> None:
    """The script works out the public key of a seed by itself, twice the same."""
    shutil.copytree(DEPLOY, tmp_path / "docs" / "deploy")
    shutil.copy(ROOT / "nats.conf", tmp_path)
    written: list[str] = []
    for _ in range(2):
        subprocess.run(["sh", "docs/deploy/prepare.sh"], cwd=tmp_path, check=True, capture_output=True)
        written.append((tmp_path / "secrets" / "nats-passwords").read_text())
    public = Issuer.of(tmp_path / "secrets" / "credentials" / "issuer").public
    assert written[0] == written[1]
    assert f'ISSUER: "{public}"\n' in written[0]
    assert re.findall(r"^PASSWORD_(\w+): ", written[0], re.MULTILINE) == [one.upper() for one in (*USERS, SYSTEM)]


# --- systemd ----------------------------------------------------------------------------------------------------------

UNITS = ("flows.service", "flows@.service")
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelTunables": "yes",
    "RestrictSUIDSGID": "yes",
    "CapabilityBoundingSet": "",
    "Type": "notify",
    "Restart": "always",
}


def read(name: str) -> dict[str, list[str]]:
    """Return what a unit's [Service] says, by the name of each line."""
    parser = ConfigParser(strict=False, interpolation=None)
    parser.read_string((DEPLOY / name).read_text())
    assert "Service" in parser
    lines = (DEPLOY / name).read_text().partition("[Service]")[2].partition("[Install]")[0].splitlines()
    found: dict[str, list[str]] = {}
    for line in lines:
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", UNITS)
def test_units_are_hardened_and_watched(name: str) -> None:
    unit = read(name)
    assert {key: unit[key][-1] for key in HARDENED} == HARDENED
    assert unit["User"] != ["root"]
    assert int(unit["WatchdogSec"][0]) >= 20
    assert unit["ExecStart"][0].startswith("/opt/flows/bin/flows ")


def test_units_load_secrets_and_hold_none() -> None:
    assert read("flows@.service")["LoadCredential"] == ["%i:/etc/flows/nats/%i"]
    for drop_in in DEPLOY.glob("flows@*.service.d/*.conf"):
        part = drop_in.parent.name.removeprefix("flows@").removesuffix(".service.d")
        assert part in NAMES
        found = read(str(drop_in.relative_to(DEPLOY)))
        loaded = {one.partition(":")[0] for one in found.get("LoadCredential", [])}
        for line in found.get("Environment", []):
            variable, _, value = line.partition("=")
            assert f'"{variable}"' in (ROOT / "cli" / "settings.py").read_text()
            if value.startswith("%S/"):  # a folder that is the unit's own
                assert value.removeprefix("%S/") in found["StateDirectory"]
            else:
                assert value.removeprefix("%d/") in loaded


@pytest.mark.server
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not on this machine")
@pytest.mark.parametrize("unit", ["flows.service", "flows@worker.service", "flows@api.service"])
def test_systemd_understands_the_units(unit: str, tmp_path: Path) -> None:
    program = str(Path(sys.executable).parent / "flows")
    for file in DEPLOY.glob("flows*"):
        if file.is_file():
            (tmp_path / file.name).write_text(file.read_text().replace("/opt/flows/bin/flows", program))
        else:
            shutil.copytree(file, tmp_path / file.name)
    name = re.sub("@.*[.]", "@.", unit)
    shutil.copy(tmp_path / name, tmp_path / unit) if name != unit else None
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], cwd=tmp_path, capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if "flows" in line]
    assert complaints == []


def test_what_a_worker_keeps_outlives_it() -> None:
    """Its outbox was in memory alone: what it did while NATS could not be reached was lost with it."""
    worker = SERVICES["worker"]
    mounted = [volume.split(":")[1] for volume in worker["volumes"] if not volume.endswith(":ro")]
    assert worker["environment"]["FLOWS_STATE_DIR"] in mounted
    unit = (ROOT / "docs" / "deploy" / "flows@worker.service.d" / "paths.conf").read_text()
    assert "StateDirectory=flows-worker\n" in unit
    assert "FLOWS_STATE_DIR=%S/flows-worker\n" in unit
