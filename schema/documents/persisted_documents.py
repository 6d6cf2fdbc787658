"""Documents requested by id: trusted ones from a manifest, and those that clients register."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from schema.documents import document_cache
from services.core.errors import ConfigurationError
from services.core.settings import Settings

MAX_ID_LENGTH = 200
NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"
MISMATCH = "PERSISTED_QUERY_MISMATCH"
NOT_TRUSTED = "DOCUMENT_NOT_TRUSTED"
PREFIX = "sha256:"
_HASH = re.compile(r"[0-9a-f]{64}")


class DocumentNotServed(Exception):
    """A document that is not served, with the code of the reason."""

    def __init__(self, code: str, message: str) -> None:
        """Keep the code and message of the response."""
        self.code, self.message = code, message
        super().__init__(message)


@dataclass(slots=True)
class DocumentSource:
    """The document of a request: its text, its id, or both."""

    text: str | None
    id: str | None
    """The id of a trusted document, or `sha256:` and the hash of the text."""


class PersistedDocuments:
    """The documents that the application serves by id."""

    def __init__(self, settings: Settings) -> None:
        """Load the manifest.

        Raises:
            ConfigurationError: the manifest cannot be read, or one of its documents is invalid.
        """
        self._trusted_only = settings.trusted_only
        self._hide_suggestions = settings.are_suggestions_hidden
        self._trusted = _load_manifests(settings.trusted_documents) if settings.trusted_documents else {}
        if self._trusted_only and not self._trusted:
            raise ConfigurationError("COMMONWEAL_TRUSTED_ONLY needs COMMONWEAL_TRUSTED_DOCUMENTS")
        self._registered: document_cache.LruCache[str] = document_cache.LruCache(
            max_count=document_cache.MAX_ACCEPTED, max_bytes=document_cache.MAX_ACCEPTED_BYTES
        )

    def resolve_text(self, source: DocumentSource) -> str:
        """Return the text of a document; register a text that comes with its hash.

        Raises:
            DocumentNotServed: it is not registered, the hash is another text's, or it is not trusted.
        """
        if source.text is None:
            return self._text_by_id(source.id or "")
        if source.id is None and not self._trusted_only:
            return source.text
        key = PREFIX + document_cache.hash_text(source.text)
        if source.id is not None and source.id != key and self._trusted.get(source.id) != source.text:
            raise DocumentNotServed(MISMATCH, "The id does not match the document")
        if key in self._trusted:
            return source.text
        if self._trusted_only:
            raise DocumentNotServed(NOT_TRUSTED, "Only trusted documents are served")
        if source.id is not None and self._is_valid(source.text):
            self._registered.put(key, source.text, size_bytes=len(source.text))
        return source.text

    def _is_valid(self, text: str) -> bool:
        return document_cache.prepare(text, hide_suggestions=self._hide_suggestions).document is not None

    def _text_by_id(self, document_id: str) -> str:
        if (text := self._trusted.get(document_id)) is not None:
            return text
        if self._trusted_only:
            raise DocumentNotServed(NOT_TRUSTED, "Only trusted documents are served")
        if (text := self._registered.get(document_id)) is not None:
            return text
        raise DocumentNotServed(NOT_FOUND, "PersistedQueryNotFound")


def is_hash(text: object) -> bool:
    """Return True for a SHA-256 in lower-case hex digits."""
    return isinstance(text, str) and _HASH.fullmatch(text) is not None


def _load_manifests(location: str) -> Mapping[str, str]:
    """Load a manifest, or all `.json` manifests of a folder; each document is also served by its hash."""
    texts: dict[str, str] = {}
    for file, name, text in _read_entries(Path(location)):
        cached = document_cache.prepare(text)
        if cached.document is None:
            reason = cached.errors[0]["message"]
            raise ConfigurationError(f"{file}: the document {name} is invalid: {reason}")
        by_hash = PREFIX + cached.sha256
        document_id = PREFIX + name if is_hash(name) else name
        if document_id.startswith(PREFIX) and document_id != by_hash:
            raise ConfigurationError(f"{file}: {name} is not the hash of its document")
        if texts.setdefault(document_id, text) != text:
            raise ConfigurationError(f"{file}: {name} names two documents")
        texts[by_hash] = text
    return texts


def _read_entries(location: Path) -> Iterator[tuple[Path, str, str]]:
    files = sorted(location.glob("*.json")) if location.is_dir() else [location]
    for file in files:
        try:
            manifest = orjson.loads(file.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise ConfigurationError(f"{file} is not a manifest of trusted documents: {error}") from None
        if not isinstance(manifest, dict) or not all(isinstance(text, str) for text in manifest.values()):
            raise ConfigurationError(f"{file} must be a JSON object of ids and documents")
        for name, text in manifest.items():
            if not 0 < len(name) <= MAX_ID_LENGTH:
                raise ConfigurationError(f"{file}: an id must have 1 to {MAX_ID_LENGTH} characters")
            yield file, name, text
