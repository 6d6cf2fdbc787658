"""The file of a backup: a tar with the database's dump, the uploaded files, and a list of all at its end.

The list is written last, so that a file that was cut short has none.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from services.core.errors import ConfigurationError

FORMAT = 1
"""Version of the file's form; a reader refuses a higher one."""
DUMP, MANIFEST, FILES = "database.dump", "manifest.json", "files/"
_CHUNK_BYTES = 1024 * 1024


class DamagedBackup(ConfigurationError):
    """The file is no whole backup."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a backup consists of."""

    version: str
    """Version of Commonweal that made it."""
    revision: str
    """Revision of the database."""
    postgresql: int
    """Major version of the server it came from."""
    tools: int
    """Major version of the pg_dump that wrote it."""
    made_at: str
    entries: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each entry, by its name."""


@contextmanager
def write_archive(path: Path) -> Iterator[Callable[[str, Path], str]]:
    """Yield a function that adds a file and returns its hash; `path` exists only once all is written.

    Raises:
        ConfigurationError: there is a file of this name.
    """
    if path.exists():
        raise ConfigurationError(f"{path} exists: choose another name, nothing is overwritten")
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            yield lambda name, source: _add_file(tar, name, source)
            tar.close()
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _add_file(tar: tarfile.TarFile, name: str, source: Path) -> str:
    with source.open("rb") as file:  # once, as another may delete it meanwhile
        tar.addfile(_without_owner(tar.gettarinfo(arcname=name, fileobj=file)), file)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o600
    return entry


def write_manifest(add: Callable[[str, Path], str], manifest: Manifest, *, folder: Path) -> None:
    """Add the list of all entries, the last one."""
    path = folder / MANIFEST
    path.write_bytes(orjson.dumps({"format": FORMAT} | asdict(manifest), option=orjson.OPT_INDENT_2))
    add(MANIFEST, path)


def extract_archive(path: Path, folder: Path) -> Manifest:
    """Extract a backup and compare each entry with its hash.

    Raises:
        DamagedBackup: it is cut short, changed, or no backup.
        ConfigurationError: a newer version made it.
    """
    hashes: dict[str, str] = {}
    manifest: Mapping[str, Any] | None = None
    try:
        with tarfile.open(path, mode="r:") as tar:
            for entry in tar:
                source = tar.extractfile(entry)
                if source is None or not _is_ours(entry.name):
                    raise DamagedBackup(f"{path} is no backup of Commonweal: it holds {entry.name!r}")
                if entry.name == MANIFEST:
                    manifest = orjson.loads(source.read())
                else:
                    hashes[entry.name] = _extract(source, folder / entry.name, size_bytes=entry.size)
    except (tarfile.TarError, orjson.JSONDecodeError, EOFError, io.UnsupportedOperation) as error:
        raise DamagedBackup(f"{path} is no whole backup: {error}") from error
    if manifest is None:
        raise DamagedBackup(f"{path} is cut short: the list of its entries, the last of them, is missing")
    return _check(path, manifest, hashes)


def _is_ours(name: str) -> bool:
    return name in {DUMP, MANIFEST} or (name.startswith(FILES) and ".." not in Path(name).parts)


def _extract(source: Any, target: Path, *, size_bytes: int) -> str:
    """Write an entry to a file; return its hash."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, written = hashlib.sha256(), 0
    with target.open("wb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            written += _write(file, chunk)
    if written != size_bytes:
        raise DamagedBackup(f"The backup is cut short within {target.name}")
    return digest.hexdigest()


def _write(file: BinaryIO, chunk: bytes) -> int:
    file.write(chunk)
    return len(chunk)


def _check(path: Path, manifest: Mapping[str, Any], hashes: Mapping[str, str]) -> Manifest:
    if manifest.get("format", 0) > FORMAT:
        raise ConfigurationError(
            f"{path} was made by a newer version of Commonweal ({manifest.get('version')}): install that"
        )
    try:
        result = Manifest(**{name: value for name, value in manifest.items() if name != "format"})
    except TypeError as error:
        raise DamagedBackup(f"{path} is no backup of Commonweal: its list is of another form") from error
    changed = sorted(name for name, sha256 in result.entries.items() if hashes.get(name) != sha256)
    unknown = sorted(hashes.keys() - result.entries.keys())
    if changed or unknown or DUMP not in result.entries:
        raise DamagedBackup(f"{path} is damaged: {', '.join([*changed, *unknown][:5]) or DUMP} differs")
    return result
