"""Documents that are asked for by an id: trusted ones from a manifest, and those that clients register."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from schema.documents import document_cache
from services.core.errors import ConfigurationError
from services.core.settings import Settings

MAX_ID = 200
NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"
MISMATCH = "PERSISTED_QUERY_MISMATCH"
NOT_TRUSTED = "DOCUMENT_NOT_TRUSTED"
PREFIX = "sha256:"
_HASH = re.compile(r"[0-9a-f]{64}")


class Unknown(Exception):
    """A document that is not served, with the code that says why."""

    def __init__(self, code: str, message: str) -> None:
        """Keep what the answer needs."""
        self.code, self.message = code, message
        super().__init__(message)


@dataclass(slots=True)
class Asked:
    """How a request names its document."""

    text: str | None
    id: str | None
    """Of a trusted document, or `sha256:` and the hash of a text."""


class Persisted:
    """The documents that one application knows by id."""

    def __init__(self, settings: Settings) -> None:
        """Read the manifest.

        Raises:
            ConfigurationError: a manifest that cannot be read, or a document in it that cannot run.
        """
        self._only = settings.trusted_only
        self._hides = settings.hides_suggestions
        self._trusted = _manifest(settings.trusted_documents) if settings.trusted_documents else {}
        if self._only and not self._trusted:
            raise ConfigurationError("COMMONWEAL_TRUSTED_ONLY needs COMMONWEAL_TRUSTED_DOCUMENTS")
        self._registered: document_cache.Store[str] = document_cache.Store(
            count=document_cache.MAX_KEPT, size=document_cache.MAX_KEPT_BYTES
        )

    def text_of(self, asked: Asked) -> str:
        """Return the text of the document asked for; one that came with its hash is kept under it.

        Raises:
            Unknown: nobody registered it, the hash is another text's, or only trusted ones are served.
        """
        if asked.text is None:
            return self._found(asked.id or "")
        if asked.id is None and not self._only:
            return asked.text
        key = PREFIX + document_cache.hash_of(asked.text)
        if asked.id is not None and asked.id != key and self._trusted.get(asked.id) != asked.text:
            raise Unknown(MISMATCH, "The id is not that of the document")
        if key in self._trusted:
            return asked.text
        if self._only:
            raise Unknown(NOT_TRUSTED, "Only trusted documents are served")
        if asked.id is not None and self._runs(asked.text):
            self._registered.put(key, asked.text, size=len(asked.text))
        return asked.text

    def _runs(self, text: str) -> bool:
        return document_cache.prepare(text, hide_suggestions=self._hides).document is not None

    def _found(self, name: str) -> str:
        if (text := self._trusted.get(name)) is not None:
            return text
        if self._only:
            raise Unknown(NOT_TRUSTED, "Only trusted documents are served")
        if (text := self._registered.get(name)) is not None:
            return text
        raise Unknown(NOT_FOUND, "PersistedQueryNotFound")


def is_hash(text: object) -> bool:
    """Tell whether this is a SHA-256 in small hex digits."""
    return isinstance(text, str) and _HASH.fullmatch(text) is not None


def _manifest(place: str) -> Mapping[str, str]:
    """Read a manifest, or all `.json` manifests of a folder; each document is known by its hash, too."""
    found: dict[str, str] = {}
    for file, name, text in _entries(Path(place)):
        made = document_cache.prepare(text)
        if made.document is None:
            raise ConfigurationError(f"{file}: the document {name} cannot run: {made.errors[0]['message']}")
        by_hash = PREFIX + made.sha256
        known = PREFIX + name if is_hash(name) else name
        if known.startswith(PREFIX) and known != by_hash:
            raise ConfigurationError(f"{file}: {name} is not the hash of its document")
        if found.setdefault(known, text) != text:
            raise ConfigurationError(f"{file}: {name} names two documents")
        found[by_hash] = text
    return found


def _entries(place: Path) -> Iterator[tuple[Path, str, str]]:
    files = sorted(place.glob("*.json")) if place.is_dir() else [place]
    for file in files:
        try:
            manifest = orjson.loads(file.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise ConfigurationError(f"{file} is no manifest of trusted documents: {error}") from None
        if not isinstance(manifest, dict) or not all(isinstance(text, str) for text in manifest.values()):
            raise ConfigurationError(f"{file} must be a JSON object of ids and documents")
        for name, text in manifest.items():
            if not 0 < len(name) <= MAX_ID:
                raise ConfigurationError(f"{file}: an id has 1 to {MAX_ID} characters")
            yield file, name, text
