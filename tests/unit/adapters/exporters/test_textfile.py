"""The file for the node exporter: whole or not there, whatever happens."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from monitoring.adapters.exporters.textfile import Textfile
from monitoring.errors import DeliveryError
from monitoring.metrics.openmetrics import text
from monitoring.metrics.snapshot import Sample
from tests.support.metric_samples import large, ordinary, snapshot

UP = snapshot(server_up=(Sample(value=1.0),))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prefect.prom"


def refused(path: Path) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        Textfile(str(path)).publish(UP)
    error = str(caught.value)
    assert error.startswith(f"metrics.textfile: {path} cannot be written (")
    assert "\n" not in error
    return caught.value


def test_the_numbers_are_in_the_file_and_nothing_is_beside_it(file: Path) -> None:
    Textfile(str(file)).publish(ordinary())
    assert file.read_bytes() == text(ordinary())
    assert os.listdir(file.parent) == [file.name]


def test_the_numbers_of_the_check_before_are_replaced(file: Path) -> None:
    for numbers in (large(100), UP):
        Textfile(str(file)).publish(numbers)
    assert file.read_bytes() == text(UP)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_everybody_may_read_it_and_nobody_else_may_write_it(file: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        Textfile(str(file)).publish(UP)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    error = refused(tmp_path / "no" / "prefect.prom")
    assert "No such file or directory" in str(error)
    assert "create the directory" in str(error)
    assert error.permanent


def test_a_folder_that_is_a_file_is_an_error(file: Path) -> None:
    file.write_text("")
    assert refused(file / "prefect.prom").permanent


def test_a_folder_in_the_place_of_the_file_is_an_error_and_nothing_is_left_behind(file: Path) -> None:
    file.mkdir()
    (file / "something").touch()
    refused(file)
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize("path", ["/nul\0byte.prom", "/lone\ud800surrogate.prom", "/", f"/{'long' * 100}.prom"])
def test_a_path_that_no_file_can_have_is_an_error(path: str) -> None:
    refused(Path(path))


def test_a_folder_that_takes_no_files_is_an_error() -> None:
    # Not even root's.
    assert refused(Path("/proc/self/prefect.prom")).permanent


def test_a_full_disk_is_an_error_what_was_there_stays_and_nothing_is_left_behind(file: Path) -> None:
    Textfile(str(file)).publish(UP)
    # A limit on the size of files plays the full disk: both are an error in the midst of writing.
    script = f"""
import resource, signal
from monitoring.adapters.exporters.textfile import Textfile
from monitoring.errors import DeliveryError
from tests.support.metric_samples import large
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    Textfile({str(file)!r}).publish(large(100))
except DeliveryError as error:
    print(error.permanent, error)
"""
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert output.startswith("False metrics.textfile: ")
    assert "disk has space" in output
    assert file.read_bytes() == text(UP)
    assert os.listdir(file.parent) == [file.name]


def test_a_check_that_is_killed_while_it_writes_leaves_what_was_there(file: Path) -> None:
    Textfile(str(file)).publish(UP)
    script = f"""
import os, signal
from monitoring.adapters.exporters import textfile
from tests.support.metric_samples import large
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
textfile.Textfile({str(file)!r}).publish(large(100))
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert file.read_bytes() == text(UP)
    # What the killed one left is no file that the collector reads.
    assert [path.name for path in file.parent.iterdir() if path.suffix == ".prom"] == [file.name]
    Textfile(str(file)).publish(ordinary())
    assert file.read_bytes() == text(ordinary())
    assert os.listdir(file.parent) == [file.name], "the next check takes it away"


def test_what_somebody_put_in_the_way_is_not_written_to(file: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    precious = tmp_path_factory.mktemp("elsewhere") / "precious"
    precious.write_text("precious")
    for put in (os.symlink, os.link):
        put(precious, file.with_name(f".{file.name}.tmp"))
        Textfile(str(file)).publish(UP)
        assert precious.read_text() == "precious"
        assert os.listdir(file.parent) == [file.name]
        assert not file.is_symlink()
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
