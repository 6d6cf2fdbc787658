"""All texts for readers: `python -m schema.texts` lists what has no translation, `--write` adds it.

The catalogues are services/core/catalogues/*.po. A new text is added with an empty translation, and one
that the code no longer has is removed.
"""

import ast
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

from models.enums import Locale
from schema.server import donation_page
from schema.server.page_problems import CONNECT_PROBLEMS, GIFT_PROBLEMS, PROBLEMS
from schema.server.sign_in_page import SCRIPT_TEXTS, TEXT_IN_HTML
from services.core.languages import CATALOGUES, TAGS, read_catalogue
from services.messaging.rendering import list_mail_texts

_SCHEMA = Path(__file__).parent
SIGN_IN = _SCHEMA / "graphiql" / "src" / "sign-in.html"
DONATE = _SCHEMA / "server" / "donate.html"
_PLACEHOLDER = re.compile(r"\{\w+\}")


def update_catalogues(*options: str) -> int:
    """List what is not translated, or with --write bring the catalogues up to date; return the exit code."""
    missing = 0
    for locale in Locale:
        if locale is Locale.EN:
            continue
        if "--write" in options:
            (CATALOGUES / f"{TAGS[locale]}.po").write_bytes(build_catalogue(locale))
            read_catalogue.cache_clear()
        for text in find_untranslated(locale):
            sys.stdout.write(f"{TAGS[locale]}: {text}\n")
            missing += 1
    return int(missing > 0)


def list_all_texts() -> list[str]:
    """List every text that a reader may get, once."""
    html = [text for page in (SIGN_IN, DONATE) for text in TEXT_IN_HTML.findall(page.read_text("utf-8"))]
    scripts = [*SCRIPT_TEXTS, *donation_page.SCRIPT_TEXTS]
    problems = [*PROBLEMS, *GIFT_PROBLEMS, *CONNECT_PROBLEMS]
    return list(dict.fromkeys([*list_mail_texts(), *_list_page_texts(), *html, *scripts, *problems]))


def _list_page_texts() -> Iterator[str]:
    """Yield the texts that pages say, by `say` or by the speaker that it names."""
    for path in sorted((_SCHEMA / "server").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            speaker = node.func.func if isinstance(node.func, ast.Call) else node.func
            if isinstance(speaker, ast.Name) and speaker.id in {"say", "speaker"}:
                yield str(node.args[0].value)


def find_untranslated(locale: Locale) -> list[str]:
    """List the texts that a catalogue lacks, or translates with other placeholders."""
    known = read_catalogue(locale)
    return [
        text
        for text in list_all_texts()
        if not known.get(text)
        or sorted(set(_PLACEHOLDER.findall(text))) != sorted(set(_PLACEHOLDER.findall(known[text])))
    ]


def build_catalogue(locale: Locale) -> bytes:
    """Build the catalogue of a language: all texts, with the translations that there are."""
    path = CATALOGUES / f"{TAGS[locale]}.po"
    known = read_catalogue(locale) if path.exists() else {}
    catalogue = Catalog(locale=TAGS[locale], fuzzy=False)
    for text in list_all_texts():
        catalogue.add(text, known.get(text, ""))
    out = io.BytesIO()
    write_po(out, catalogue, width=110, omit_header=True, include_previous=False)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(update_catalogues(*sys.argv[1:]))
