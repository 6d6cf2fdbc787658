"""Mails as HTML: their own words and what people entered, all of it escaped; no picture and no script."""

from collections.abc import Mapping, Sequence
from html import escape

from models.enums import Locale
from services.core.languages import TAGS, translate
from services.messaging.templates import is_value

STOP_NOTE = "You have no account here. To get no mails about what others do here, open this link:"
_LINKS = frozenset({"link", "pay_link", "export_link", "public_url"})
_FRAME = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
</head>
<body style="margin:0;padding:1.5rem 1rem;font:1rem/1.5 system-ui,sans-serif">
<main style="max-width:36rem;margin:0 auto;overflow-wrap:anywhere">
<h1 style="font-size:1.25rem;line-height:1.3">{title}</h1>
{body}
</main>
<footer style="max-width:36rem;margin:2rem auto 0;border-top:1px solid;font-size:.875rem">
<p><a href="{site}">Commonweal</a></p>{note}
</footer>
</body>
</html>
"""
_BUTTON = (
    '<a href="{url}" style="display:inline-block;padding:.625rem 1rem;border-radius:.375rem;'
    'background:#1d4f91;color:#ffffff;font-weight:600;text-decoration:none">{label}</a>'
)


def build(
    subject: str,
    paragraphs: Sequence[Sequence[str]],
    values: Mapping[str, str],
    *,
    label: str,
    site: str,
    stop_url: str | None,
    locale: Locale,
) -> str:
    """Return the HTML of a mail from its translated paragraphs and its values; `label` names its link."""
    safe = {name: escape(value) for name, value in values.items()}
    body = "\n".join(_build_paragraph(lines, values, safe, label=label) for lines in paragraphs)
    note = ""
    if stop_url is not None:
        url = escape(stop_url)
        note = f'\n<p>{escape(translate(STOP_NOTE, locale))} <a href="{url}">{url}</a></p>'
    return _FRAME.format(lang=TAGS[locale], title=escape(subject), body=body, site=escape(site), note=note)


def _build_paragraph(
    lines: Sequence[str], values: Mapping[str, str], safe: Mapping[str, str], *, label: str
) -> str:
    name = lines[0].strip(" {}") if is_value(lines[0]) and len(lines) == 1 else ""
    if name == "link":
        return f"<p>{_BUTTON.format(url=safe[name], label=escape(label))}</p>"
    if name in _LINKS:
        return f'<p><a href="{safe[name]}">{safe[name]}</a></p>'
    if name == "token":
        return f"<p><code>{safe[name]}</code></p>"
    if name == "message":
        quoted = [escape(line.removeprefix("> ")) for line in values[name].split("\n")]
        return f"<blockquote>{'<br>'.join(quoted)}</blockquote>"
    return f"<p>{'<br>'.join(_build_line(line, safe) for line in lines)}</p>"


def _build_line(line: str, safe: Mapping[str, str]) -> str:
    """Return a line; the label of a fact is bold."""
    head, brace, rest = line.partition("{")
    if head.rstrip().endswith(":") and rest.rstrip(" %").endswith("}"):
        return f"<strong>{escape(head.strip())}</strong> {(brace + rest).format_map(safe)}"
    return escape(line.strip(), quote=False).format_map(safe)
