"""How clients name a payment or payout method: by its type, or by its id."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodName:
    """The type or id of a method, and the field of the input that holds it."""

    value: str
    field: str


def split_name(name: MethodName | str | None, *, field: str) -> tuple[str | None, str]:
    """Return what a method is named by, and the field for errors; a bare text is from `field`."""
    return (name.value, name.field) if isinstance(name, MethodName) else (name, field)
