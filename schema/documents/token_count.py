"""Count a document's tokens before parsing, which is far cheaper than parsing one that is too large."""

import re

MAX_CHARACTERS = 20_000
MAX_TOKENS = 1_500
MAX_NESTING = 50
"""Nesting of brackets of any kind, so that neither parser nor visitors overflow the stack."""
MAX_DIRECTIVES = 50
_TOKEN = re.compile(
    r'"""(?:\\"""|[^"]|"(?!""))*+"""|"(?:\\.|[^"\\\n\r])*+"|#[^\n\r]*+|[_A-Za-z][_0-9A-Za-z]*+'
    r"|-?[0-9][0-9.eE+-]*+|\.\.\.|[!$&()*:=@\[\]{|}]"
)


def find_exceeded_limit(text: str) -> str | None:
    """Return the message for the first limit exceeded: characters, tokens, directives or nesting."""
    if len(text) > MAX_CHARACTERS:
        return f"A document may have at most {MAX_CHARACTERS} characters; long values belong in variables"
    tokens = directives = depth = 0
    for token in _TOKEN.finditer(text):
        character = text[token.start()]
        if character == "#":
            continue
        tokens += 1
        if character in "{[(":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "@":
            directives += 1
        if depth > MAX_NESTING:
            return "Nested too deeply"
        if directives > MAX_DIRECTIVES:
            return f"A document may have at most {MAX_DIRECTIVES} directives"
        if tokens > MAX_TOKENS:
            return f"A document may have at most {MAX_TOKENS} tokens"
    return None
