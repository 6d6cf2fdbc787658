"""The tokens of a document, counted before it is parsed: far cheaper than to parse what is too much."""

import re

MAX_CHARACTERS = 20_000
MAX_TOKENS = 1_500
MAX_NESTING = 50
"""Of brackets of any kind, so that no parser and no walk meets the end of the stack."""
MAX_DIRECTIVES = 50
_TOKEN = re.compile(
    r'"""(?:\\"""|[^"]|"(?!""))*+"""|"(?:\\.|[^"\\\n\r])*+"|#[^\n\r]*+|[_A-Za-z][_0-9A-Za-z]*+'
    r"|-?[0-9][0-9.eE+-]*+|\.\.\.|[!$&()*:=@\[\]{|}]"
)


def excess(text: str) -> str | None:
    """Return which limit a text exceeds, in words: characters, tokens, directives or nesting."""
    if len(text) > MAX_CHARACTERS:
        return f"A document may have {MAX_CHARACTERS} characters; long values belong in variables"
    tokens = directives = depth = 0
    for found in _TOKEN.finditer(text):
        first = text[found.start()]
        if first == "#":
            continue
        tokens += 1
        if first in "{[(":
            depth += 1
        elif first in ")]}":
            depth -= 1
        elif first == "@":
            directives += 1
        if depth > MAX_NESTING:
            return "Nested too deeply"
        if directives > MAX_DIRECTIVES:
            return f"A document may have {MAX_DIRECTIVES} directives"
        if tokens > MAX_TOKENS:
            return f"A document may have {MAX_TOKENS} tokens"
    return None
