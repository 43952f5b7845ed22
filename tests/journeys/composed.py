"""docker-compose.yml as processes, for machines without a container engine: the same commands and environments.

What a container changes is replaced and nothing else: names of hosts and ports, places of volumes, and the two
servers' binaries. A service's environment is what its image's stage of the Dockerfile says, then what the compose
file says.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from models.infra.valkey import find_binary

ROOT = Path(__file__).parents[2]


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def stages() -> dict[str, list[tuple[str, str]]]:
    """The Dockerfile's instructions by stage, each with those of the stage it starts from."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            current = list(found.get(base, [("FROM", base)]))
            found[name] = current
        else:
            current.append((word, rest.strip()))
    return found


def image_environment(target: str) -> dict[str, str]:
    told: dict[str, str] = {}
    for word, rest in stages()[target]:
        if word == "ENV":
            told |= dict(pair.partition("=")[::2] for pair in shlex.split(rest))
    return told


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service, ready to be run here."""

    name: str
    command: list[str]
    environment: dict[str, str]
    check: list[str]
    grace_seconds: float


@dataclass(kw_only=True)
class Composed:
    """The services with `replaced` texts, and variables as .env gives them."""

    home: Path
    variables: dict[str, str]
    replaced: dict[str, str]
    extra: dict[str, str] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def service(self, name: str) -> Service:
        told = compose()["services"][name]
        target = told.get("build", {}).get("target")
        environment = (image_environment(target) if target else {}) | told.get("environment", {})
        check = told.get("healthcheck", {}).get("test", ["NONE"])
        return Service(
            name=name,
            command=[self._here(word) for word in told["command"]],
            environment={key: self._here(value) for key, value in environment.items() if key != "PATH"} | self.extra,
            check=["sh", "-c", self._here(check[1])] if check[0] == "CMD-SHELL" else [self._here(w) for w in check[1:]],
            grace_seconds=float(str(told.get("stop_grace_period", "10s")).removesuffix("s")),
        )

    def start(self, name: str) -> Service:
        service = self.service(name)
        with (self.home / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                service.command, env=self.environment(service), stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, cwd=self.home, start_new_session=True,
            )  # fmt: skip
        return service

    def run(self, service: Service, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        """To its end, in this service's environment, as `docker compose exec` or `run` would."""
        return subprocess.run(
            command or service.command, env=self.environment(service), capture_output=True, text=True, cwd=self.home,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    def wait_until_healthy(self, service: Service, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while self.run(service, service.check).returncode != 0:
            assert self.running[service.name].poll() is None, f"{service.name} ended: {self.log(service.name)}"
            assert time.monotonic() < deadline, f"{service.name} is not healthy: {self.log(service.name)}"
            time.sleep(0.2)

    def stop(self, *services: Service) -> dict[str, int]:
        """SIGTERM to all, as `docker compose stop`: their exit codes. Raises where one outlives its grace."""
        began = time.monotonic()
        for service in services:
            self.running[service.name].send_signal(signal.SIGTERM)
        return {
            service.name: self.running[service.name].wait(service.grace_seconds - (time.monotonic() - began))
            for service in services
        }

    def kill_all(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text()[-3000:]

    def environment(self, service: Service) -> dict[str, str]:
        """Nothing of the surroundings but what finds programs."""
        binaries = self.home / "bin"
        if not binaries.exists():
            binaries.mkdir()
            (binaries / "valkey-server").symlink_to(find_binary())
        path = os.pathsep.join([str(binaries), str(Path(sys.executable).parent), os.environ["PATH"]])
        return {"PATH": path, "HOME": str(self.home)} | service.environment

    def _here(self, text: str) -> str:
        text = re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", self._variable, str(text)).replace("$$", "$")
        there = "|".join(re.escape(each) for each in sorted(self.replaced, key=len, reverse=True))
        return re.sub(there, lambda found: self.replaced[found[0]], text)  # once: what was put in is not looked at

    def _variable(self, found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        if kind == "?":
            return self.variables[name]
        return self.variables.get(name) or default or ""
