"""Measure the size of an installation for scoring: `python -m benchmarks.speed.install_size`.

`pip install .` runs without extras in a fresh environment in a temporary folder, with the versions of
`constraints.txt`. The packages that scoring needs count; pip and setuptools, which every environment has, do not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import click

from benchmarks.data.problems import DEFAULT_CACHE
from benchmarks.speed.report import Target, target_lines, write_formatted

ROOT = Path(__file__).parents[2]
WANTED_MB = 450
INSTALLERS = ("pip", "setuptools", "_distutils_hack", "distutils")
UNWANTED = ("torch", "transformers", "pandas", "tokenizers")


def folder_sizes(site_packages: Path) -> dict[str, int]:
    """Bytes of every entry of a folder of packages, largest first; installers are left out.

    Sizes are in disk blocks, as in `du`; a file with several hard links counts once.
    """
    seen: set[tuple[int, int]] = set()
    sizes = {}
    for entry in sorted(site_packages.iterdir()):
        if entry.name.split("-")[0] in INSTALLERS:
            continue
        total = 0
        for path in (entry, *entry.rglob("*")):
            status = path.lstat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
        sizes[entry.name] = total
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def install(folder: Path) -> Path:
    """Create an environment with this repository installed; returns its site-packages folder."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), str(ROOT)], check=True, cwd=folder)
    query = "import sysconfig, relsql, udfs.attach; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([str(python), "-P", "-c", query], check=True, capture_output=True, text=True, cwd=folder)
    return Path(found.stdout.strip())


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--out", default=DEFAULT_CACHE / "install.json", type=click.Path(path_type=Path), help="Results file.")
def main(out: Path) -> None:
    """Install relsql for scoring into a fresh environment and print the size of its packages."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = folder_sizes(install(Path(folder) / "environment"))
    unwanted = [name for name in UNWANTED if name in sizes]
    total = sum(sizes.values())
    for name, size in [*list(sizes.items())[:8], ("in all", total)]:
        click.echo(f"{size / 1e6:8.1f} MB  {size / 2**20:8.1f} MiB  {name}")
    target = Target("scoring install, MB", "<=", WANTED_MB, total / 1e6)
    click.echo(target_lines([target]))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_formatted(out, {"bytes": total, "packages": sizes, "met": target.met})
    if unwanted:
        raise click.ClickException(f"scoring installs {', '.join(unwanted)}")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.speed.install_size")
