"""Prometheus, its Pushgateway and its node exporter in local processes: Debian's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.stack import Process, free_port


class Program:
    """One of them, as others reach it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **params: str) -> str:
        """Return a page."""
        answer = httpx.get(self.url + path, params=params, timeout=60, trust_env=False)
        answer.raise_for_status()
        return answer.text

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what Prometheus knows: samples with ``metric``, which are the labels, and ``value``."""
        found: list[dict[str, Any]] = json.loads(self.get("/api/v1/query", query=expression))["data"]["result"]
        return found


@contextmanager
def prometheus(home: Path, *scraped: str) -> Iterator[Program]:
    """Run a Prometheus that scrapes these, ``host:port`` each, every second."""
    config = home / "prometheus.json"
    jobs = [{"job_name": "watchdog", "honor_labels": True, "static_configs": [{"targets": scraped}]}]
    # What reads YAML reads JSON.
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    options = [f"--config.file={config}", f"--storage.tsdb.path={home / 'tsdb'}"]
    with _running("prometheus", home, *options, ready="/-/ready") as program:
        yield program


@contextmanager
def pushgateway(home: Path) -> Iterator[Program]:
    """Run a Pushgateway."""
    # Debian's keeps what was pushed in a file of the whole machine's, unless told otherwise.
    options = [f"--persistence.file={home / 'pushed'}"]
    with _running("prometheus-pushgateway", home, *options, ready="/-/ready") as program:
        yield program


@contextmanager
def node_exporter(home: Path, folder: Path) -> Iterator[Program]:
    """Run a node exporter that only collects the files in a folder."""
    options = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}"]
    with _running("prometheus-node-exporter", home, *options, ready="/") as program:
        yield program


def promtool(*words: str, given: bytes) -> str:
    """Run promtool, and return what it has to say."""
    command = [_installed("promtool", "prometheus"), *words]
    done = subprocess.run(command, input=given, capture_output=True, timeout=180, check=False)
    return (done.stdout + done.stderr).decode() + (f"status {done.returncode}" if done.returncode else "")


@contextmanager
def _running(name: str, home: Path, *options: str, ready: str) -> Iterator[Program]:
    address = f"127.0.0.1:{free_port()}"
    program = Program(f"http://{address}")
    command = [_installed(name, name), f"--web.listen-address={address}", *options]
    process = Process(name, command, log=home / f"{name}.log", env={"PATH": os.environ["PATH"]}, cwd=home)

    def answers() -> bool:
        try:
            program.get(ready)
        except httpx.HTTPError:
            return False
        return True

    process.start()
    try:
        process.wait(answers, timeout=180, waiting_for=f"{name} to answer")
        yield program
    finally:
        process.stop()


def _installed(program: str, package: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.fail(
            f"the tests of metrics need {program}. On Debian: apt-get install --no-install-recommends {package}"
        )
    return path
