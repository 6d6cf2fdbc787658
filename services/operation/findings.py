"""What `commonweal doctor` says of one thing."""

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How serious a finding is."""

    GOOD = "GOOD"
    WARNING = "WARNING"
    WRONG = "WRONG"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    message: str
