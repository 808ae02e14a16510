"""Debian's Prometheus and Alertmanager, and the programs that check their files."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from demo.stack import Process, StackError, free_port

_PACKAGES = {"promtool": "prometheus", "prometheus": "prometheus", "amtool": "prometheus-alertmanager"}


def program(name: str) -> str:
    """Return where a program is.

    Raises:
        StackError: It is not installed.
    """
    found = shutil.which(name)
    if found is None:
        package = _PACKAGES.get(name, name)
        raise StackError(f"the tests need {name}. On Debian: apt-get install --no-install-recommends {package}")
    return found


def checked(name: str, *arguments: str, cwd: Path) -> str:
    """Run one of the checking programs and return what it says; an error of its own is the test's."""
    done = subprocess.run([program(name), *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


class Prometheus:
    """A Prometheus that answers."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an expression now.

        Raises:
            httpx.HTTPStatusError: Prometheus cannot parse or evaluate it.
        """
        result: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return result

    def ask(self, page: str, **parameters: str) -> dict[str, Any]:
        """Ask one of the pages of its API."""
        answer = httpx.get(f"{self.url}/api/v1/{page}", params=parameters, timeout=60, trust_env=False)
        answer.raise_for_status()
        data: dict[str, Any] = answer.json()["data"]
        return data


@contextmanager
def prometheus(home: Path, config: str) -> Iterator[Prometheus]:
    """Run a Prometheus.

    Args:
        home: The folder that it works in; what the configuration names is found from there.
        config: Its configuration.
    """
    (home / "prometheus.yml").write_text(config)
    arguments = ["--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    with _running("prometheus", arguments, home) as url:
        yield Prometheus(url)


@contextmanager
def alertmanager(home: Path, config: str) -> Iterator[str]:
    """Run an Alertmanager that knows no others, and give its address; arguments as of ``prometheus``."""
    (home / "alertmanager.yml").write_text(config)
    arguments = ["--config.file=alertmanager.yml", "--storage.path=alertmanager", "--cluster.listen-address="]
    with _running("prometheus-alertmanager", arguments, home) as url:
        yield url


@contextmanager
def _running(name: str, arguments: Sequence[str], home: Path) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    command = [program(name), *arguments, f"--web.listen-address={address}"]
    process = Process(name, command, log=home / f"{name}.log", env={"PATH": os.environ["PATH"]}, cwd=home)

    def ready() -> bool:
        try:
            return httpx.get(f"http://{address}/-/ready", timeout=60, trust_env=False).is_success
        except httpx.TransportError:
            return False

    process.start()
    try:
        process.wait(ready, timeout=180, waiting_for=f"{name} to be ready")
        yield f"http://{address}"
    finally:
        process.stop()
