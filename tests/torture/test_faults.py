"""The faults themselves: each one happens at the requested operation, and only in its folder."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture.faults import FAULTS, compile_library, compiler, environment

pytestmark = pytest.mark.skipif(compiler() is None, reason="faults need Linux and a C compiler (cc)")

# Twelve operations: for each of three files it is created, written, synced and renamed.
SCRIPT = """
import errno, os, sys
for i in range(3):
    try:
        fd = os.open(f"{sys.argv[1]}/{i}.draft", os.O_WRONLY | os.O_CREAT)
        written = os.write(fd, b"0123456789")
        os.fsync(fd)
        os.close(fd)
        os.rename(f"{sys.argv[1]}/{i}.draft", f"{sys.argv[1]}/{i}")
        with open(f"{sys.argv[1]}/{i}", "rb") as file:
            print(written, len(file.read()), flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno])
    except MemoryError:
        print("no memory")
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("faults"))


def run(library: Path, folder: Path, fault: str, at: int, script: str = SCRIPT) -> tuple[int, list[str]]:
    """Exit code and lines of a process that meets a fault in a folder."""
    folder.mkdir(exist_ok=True)
    ended = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env=environment(library, FAULTS[fault], at, folder),
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout.splitlines()


@pytest.mark.parametrize(
    ("fault", "at", "lines", "left"),
    [
        ("kill", 4, [], {"0.draft": 10}),
        ("kill", 6, ["10 10"], {"0": 10, "1.draft": 0}),
        ("torn write", 2, ["10 10"], {"0": 10, "1.draft": 5}),
        ("disk full", 5, ["10 10", "ENOSPC", "ENOSPC"], {"0": 10}),
        ("I/O error", 6, ["10 10", "EIO", "10 10"], {"0": 10, "1.draft": 0, "2": 10}),
        ("failed sync", 2, ["10 10", "EIO", "10 10"], {"0": 10, "1.draft": 10, "2": 10}),
        ("failed read", 1, ["EIO", "10 10", "10 10"], {"0": 10, "1": 10, "2": 10}),
        ("short write", 3, ["10 10", "10 10", "5 5"], {"0": 10, "1": 10, "2": 5}),
        ("read-only disk", 1, ["EROFS"] * 3, {}),
        ("read-only folder", 1, ["EACCES"] * 3, {}),
    ],
)
def test_a_fault_happens_where_it_is_asked_for(
    library: Path, tmp_path: Path, fault: str, at: int, lines: list[str], left: dict[str, int]
) -> None:
    code, found = run(library, tmp_path / "here", fault, at)
    assert found == lines
    assert {path.name: path.stat().st_size for path in (tmp_path / "here").iterdir()} == left
    assert code == (-signal.SIGKILL if fault in ("kill", "torn write") else 0)


def test_an_allocation_fails(library: Path, tmp_path: Path) -> None:
    script = "for i in range(3):\n    try: print(len(bytearray(10**6)))\n    except MemoryError: print('no memory')"
    found = [run(library, tmp_path, "no memory", at, script)[1] for at in range(1, 30)]
    assert ["1000000", "no memory", "1000000"] in found


def test_other_folders_are_not_affected(library: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "there")],
        env=environment(library, FAULTS["disk full"], 1, tmp_path / "here"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.splitlines() == ["10 10"] * 3


def test_a_file_in_a_read_only_folder_can_be_written(library: Path, tmp_path: Path) -> None:
    (tmp_path / "0").touch()
    script = "import sys; print(open(sys.argv[1] + '/0', 'wb', buffering=0).write(b'0123'))"
    assert run(library, tmp_path, "read-only folder", 1, script) == (0, ["4"])


@pytest.mark.parametrize(
    ("fault", "there", "absent"), [("read-only disk", "EROFS", "EROFS"), ("read-only folder", "EACCES", "ENOENT")]
)
def test_a_file_in_a_read_only_place_cannot_be_removed(
    library: Path, tmp_path: Path, fault: str, there: str, absent: str
) -> None:
    (tmp_path / "0").touch()
    script = "\n".join(
        [
            "import errno, os, sys",
            "for name in '01':",
            "    try: os.unlink(sys.argv[1] + '/' + name)",
            "    except OSError as error: print(errno.errorcode[error.errno])",
        ]
    )
    assert run(library, tmp_path, fault, 1, script) == (0, [there, absent])
