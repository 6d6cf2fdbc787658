"""Errors that keep the schema's names from those who guess: nothing of “Did you mean …?”."""

import re
from typing import Any

_SUGGESTION = re.compile(r"\s*Did you mean [^?]*\?")


def hide(body: dict[str, Any]) -> None:
    """Cut the suggestions out of an answer's errors, in place: those that its variables brought about."""
    for error in body.get("errors", ()):
        if "Did you mean" in error["message"]:
            error["message"] = _SUGGESTION.sub("", error["message"])
