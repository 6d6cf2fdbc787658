"""The file of a backup: what is cut short, changed, foreign or newer is refused with the reason."""

import tarfile
from pathlib import Path

import orjson
import pytest

from services.core.errors import ConfigurationError
from services.operation import archives, postgres_tools
from services.operation.archives import DamagedBackup, Manifest
from services.operation.postgres_tools import Tools

NAME = "ab/" + "ab" * 32


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Return a backup of a made-up dump and one file."""
    path = tmp_path / "one.backup"
    contents = {archives.DUMP: b"PGDMP" * 5_000, f"{archives.FILES}{NAME}": b"receipt"}
    with archives.write_archive(path) as add:
        entries = {}
        for name, content in contents.items():
            (tmp_path / "source").write_bytes(content)
            entries[name] = add(name, tmp_path / "source")
        manifest = Manifest(
            version="0.1.0",
            revision="r",
            postgresql=15,
            tools=15,
            made_at="2026-01-01T00:00:00Z",
            entries=entries,
        )
        archives.write_manifest(add, manifest, folder=tmp_path)
    return path


def test_a_backup_comes_back_as_it_was(backup: Path, tmp_path: Path) -> None:
    manifest = archives.extract_archive(backup, tmp_path / "out")
    assert (manifest.revision, manifest.postgresql) == ("r", 15)
    assert (tmp_path / "out" / archives.FILES / NAME).read_bytes() == b"receipt"


@pytest.mark.parametrize("part", [0, 0.01, 0.3, 0.6, 0.95, 0.99])
def test_a_backup_cut_anywhere_is_refused(backup: Path, tmp_path: Path, part: float) -> None:
    whole = backup.read_bytes()
    backup.write_bytes(whole[: int(len(whole.rstrip(b"\0")) * part)])
    with pytest.raises(DamagedBackup, match=r"cut short|no whole backup"):
        archives.extract_archive(backup, tmp_path / "out")


def test_a_changed_byte_is_found(backup: Path, tmp_path: Path) -> None:
    whole = bytearray(backup.read_bytes())
    whole[2_000] ^= 1
    backup.write_bytes(whole)
    with pytest.raises(DamagedBackup, match=r"damaged: database\.dump differs"):
        archives.extract_archive(backup, tmp_path / "out")


@pytest.mark.parametrize("name", ["../evil", "files/../../evil", "notes.txt", "/etc/passwd"])
def test_entries_of_others_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.backup"
    (tmp_path / "source").write_bytes(b"x")
    with tarfile.open(path, "w") as tar:
        entry = tar.gettarinfo(tmp_path / "source")
        entry.name = name
        with (tmp_path / "source").open("rb") as file:
            tar.addfile(entry, file)
    with pytest.raises(DamagedBackup, match="no backup of Commonweal"):
        archives.extract_archive(path, tmp_path / "out")


def test_a_newer_form_is_refused(tmp_path: Path) -> None:
    path, text = tmp_path / "newer.backup", tmp_path / "text"
    text.write_bytes(orjson.dumps({"format": archives.FORMAT + 1, "version": "9.0"}))
    with archives.write_archive(path) as add:
        add(archives.MANIFEST, text)
    with pytest.raises(ConfigurationError, match=r"newer version of Commonweal \(9\.0\)"):
        archives.extract_archive(path, tmp_path / "out")


def test_nothing_is_overwritten_and_nothing_half_written_stays(backup: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="exists"), archives.write_archive(backup):
        pass
    with pytest.raises(FileNotFoundError), archives.write_archive(tmp_path / "two.backup") as add:
        add("database.dump", tmp_path / "missing")
    assert [path.name for path in tmp_path.glob("two*")] == []


@pytest.mark.parametrize(
    ("server", "archive", "chosen"), [(15, 0, 15), (16, 0, 18), (15, 18, 18), (18, 15, 18), (14, 0, 15)]
)
def test_the_nearest_version_of_the_programs_is_chosen(server: int, archive: int, chosen: int) -> None:
    tools = [Tools(Path("/a"), 15), Tools(Path("/b"), 18)]
    assert postgres_tools.choose_tools(tools, server_major=server, archive_major=archive).major == chosen


def test_missing_programs_are_named() -> None:
    with pytest.raises(ConfigurationError, match="postgresql-client-19"):
        postgres_tools.choose_tools([Tools(Path("/b"), 18)], server_major=19)
