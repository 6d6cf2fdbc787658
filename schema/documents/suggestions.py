"""Errors that keep the schema's names from those who guess: nothing of “Did you mean …?”."""

import re
from collections.abc import Iterable
from typing import Any

_SUGGESTION = re.compile(r"\s*Did you mean [^?]*\?")


def hide(errors: Iterable[dict[str, Any]]) -> None:
    """Cut the suggestions out of errors, in place: those that no option of the validation keeps away."""
    for error in errors:
        if "Did you mean" in error["message"]:
            error["message"] = _SUGGESTION.sub("", error["message"])
