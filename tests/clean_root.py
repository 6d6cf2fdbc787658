"""Run the steps of deploy/Dockerfile in a clean Debian root, where Docker is absent.

`python -m tests.clean_root` needs root and debootstrap. The base image is a new root of its Debian release
with that release's Python. Prints the size, and how long it takes from the start until the image is ready.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from services.database import embedded_postgres
from services.database import engine as database_engine

ROOT = Path(__file__).parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
RELEASE = "bookworm"
PORT = 18_000
READY_SECONDS = 120
BUILT = ("__pycache__", "node_modules", "dist")
"""What the image does not take from the working tree."""
# The machine's own, so that a registry behind its certificates is reached.
TRUSTED = ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")


@dataclass
class Stage:
    """A stage of the image, and the root that stands for it."""

    root: Path
    folder: str = "/"
    user: str = "0"
    environment: dict[str, str] = field(default_factory=dict)


def read_steps(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction of a Dockerfile with its arguments, its lines joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    for line in joined.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word:
            yield word, " ".join(rest.split())


def build(folder: Path) -> Stage:
    """Run all steps and return the last stage."""
    base = folder / "base"
    packages = "ca-certificates,python3,python3-venv"
    _call("debootstrap", "--variant=minbase", f"--include={packages}", RELEASE, str(base))
    for name in TRUSTED:
        if Path(name).exists():
            shutil.copy(name, base / name.lstrip("/"))
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    for word, rest in read_steps(DOCKERFILE.read_text()):
        if word == "FROM":
            name = rest.partition(" AS ")[2] or "image"
            stage = stages[name] = Stage(folder / name)
            _call("cp", "-a", str(base), str(stage.root))
        else:
            _run_step(stages, stage, word, rest)
    return stage


def _run_step(stages: dict[str, Stage], stage: Stage, word: str, rest: str) -> None:
    match word:
        case "WORKDIR":
            stage.folder = rest
            (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "ENV":
            stage.environment |= dict(pair.split("=", 1) for pair in rest.split())
        case "USER":
            stage.user = rest
        case "COPY":
            _copy(stages, stage, rest.split())
        case "RUN":
            # The base image calls it python.
            script = f"cd {stage.folder} && {re.sub(r'^python ', 'python3 ', rest)}"
            _call("/usr/sbin/chroot", str(stage.root), "/bin/sh", "-ec", script)
        case "VOLUME" | "EXPOSE" | "STOPSIGNAL" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
            pass  # they say how it is run
        case _:
            sys.exit(f"{DOCKERFILE.name}: no step for {word} {rest}")


def _copy(stages: dict[str, Stage], stage: Stage, words: list[str]) -> None:
    source = ROOT
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].root
    *names, target = words
    for name in names:
        found = source / name.lstrip("/")
        goal = stage.root / os.path.normpath(Path(stage.folder) / target).lstrip("/")
        if found.is_dir():
            ignored = shutil.ignore_patterns(*BUILT) if source == ROOT else None
            shutil.copytree(found, goal, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        else:
            shutil.copy(found, goal / found.name if goal.is_dir() else goal)


def start(stage: Stage) -> float:
    """Start the image as its user on a migrated database; return the seconds until it is ready."""
    data = stage.root / "data" / "database"
    with embedded_postgres.run_embedded_postgres(data) as socket_folder:
        for hidden in (data, Path(socket_folder)):
            hidden.chmod(0o711)  # the image's user is another than the server's
        inside = f"/{Path(socket_folder).relative_to(stage.root)}"
        owner = f"postgresql://postgres@/commonweal?host={inside}"
        database_engine.create_database(f"postgresql://postgres@/postgres?host={socket_folder}", "commonweal")
        environment = {
            "PATH": "/usr/bin:/bin",
            **{name: value.replace("$PATH", "/usr/bin:/bin") for name, value in stage.environment.items()},
            "COMMONWEAL_OWNER_DATABASE_URL": owner,
            "COMMONWEAL_DATABASE_URL": owner.replace("postgres@", f"{database_engine.APP_ROLE}@"),
            "COMMONWEAL_PUBLIC_URL": "https://example.org",
            "COMMONWEAL_SMTP_URL": "smtp://127.0.0.1:25",
            "COMMONWEAL_PORT": str(PORT),
        }
        command = ["/usr/sbin/chroot", f"--userspec={stage.user}:{stage.user}", str(stage.root), "commonweal"]
        subprocess.run([*command, "migrate"], check=True, env=environment)
        began = time.monotonic()
        server = subprocess.Popen([*command, "serve", "--no-migrate"], env=environment)
        try:
            _wait_until_ready(server)
            return time.monotonic() - began
        finally:
            server.terminate()
            server.wait()


def _wait_until_ready(server: "subprocess.Popen[bytes]") -> None:
    ends = time.monotonic() + READY_SECONDS
    with closing(httpx.Client()) as client:
        while time.monotonic() < ends and server.poll() is None:
            try:
                if client.get(f"http://127.0.0.1:{PORT}/readyz").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
    sys.exit("It does not get ready.")


def _call(*command: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON", "VIRTUAL_ENV"))}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def _measure(folder: Path) -> int:
    size = subprocess.run(["/usr/bin/du", "-sm", folder], check=True, capture_output=True, text=True).stdout
    return int(size.split()[0])


def main() -> None:
    """Build, measure and start."""
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        sys.exit("This needs root, and Debian's debootstrap.")
    with tempfile.TemporaryDirectory(prefix="cw") as folder:
        stage = build(Path(folder))
        total, base = _measure(stage.root), _measure(Path(folder) / "base")
        sys.stdout.write(f"size: {total} MB, of which the base has {base} MB\n")
        sys.stdout.write(f"from start to ready: {start(stage):.1f} s\n")


if __name__ == "__main__":
    main()
