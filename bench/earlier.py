"""Compare approving a donation with an earlier commit, which runs in an environment of its own."""

import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from shutil import which

from bench import markdown_tables
from bench.postgres_cluster import BenchCluster

COMMIT = "1deb69f"
"""The last commit before mutations took two round trips."""
_ROOT = Path(__file__).parent.parent
_PIP = (".venv/bin/python", "-m", "pip", "install", "--quiet")


def run(cluster: BenchCluster) -> None:
    """Measure approvals a second now and then, in turn."""
    with _earlier_checkout() as earlier:
        now: list[dict[str, float]] = []
        before: list[dict[str, float]] = []
        for _ in range(cluster.rounds):
            before.append(_measure(earlier / ".venv/bin/python", earlier, cluster.seconds))
            now.append(_measure(Path(sys.executable), _ROOT, cluster.seconds))
    rows = [
        _row(connections, [each[connections] for each in now], [each[connections] for each in before])
        for connections in now[0]
    ]
    markdown_tables.print_table(
        f"Approving a donation now and at {COMMIT}: approvals a second",
        ["connections", "now", COMMIT, "now ÷ before", "target", "reached"],
        rows,
        f"{cluster.rounds} runs of each in turn, {cluster.seconds:g} s a figure, each with its own server,"
        " database and environment.",
    )


def _row(connections: str, now: Sequence[float], before: Sequence[float]) -> list[str]:
    ratios = markdown_tables.compute_ratios(now, before)
    return [
        connections,
        markdown_tables.format_spread(now, ".0f"),
        markdown_tables.format_spread(before, ".0f"),
        markdown_tables.format_spread(ratios, ".1f"),
        "≥ 6",
        markdown_tables.format_verdict(sorted(ratios)[len(ratios) // 2], 6),
    ]


@contextmanager
def _earlier_checkout() -> Iterator[Path]:
    """Yield a folder with the commit's files and an environment with what it needs."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            [which("git") or "git", "archive", COMMIT], cwd=_ROOT, check=True, capture_output=True
        )
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        for command in (
            (sys.executable, "-m", "venv", ".venv"),
            (*_PIP, "--requirement", "requirements.lock"),
            (*_PIP, "--no-deps", "--no-build-isolation", "--editable", "."),
        ):
            subprocess.run(command, cwd=folder, check=True)
        yield Path(folder)


def _measure(python: Path, root: Path, seconds: float) -> dict[str, float]:
    """Return the approvals a second by number of connections, as the bench in that folder prints them."""
    command = [str(python), "-m", "bench", "--rounds", "1", "--seconds", f"{seconds:g}", "approvals"]
    printed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    cells = [[cell.strip() for cell in line.split("|")] for line in printed.splitlines()]
    rates = {row[1]: float(row[2].split()[0]) for row in cells if len(row) > 2 and row[1].isdigit()}
    if not rates:
        raise SystemExit(f"No figures in: {printed}")
    return rates
