"""Figures as Markdown: tables, medians and ranges."""

from collections.abc import Sequence
from statistics import median


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *notes: str) -> None:
    """Print a table below its title, and notes below the table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    if notes:
        print()
    for note in notes:
        print(note)
    print(flush=True)


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio of each round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Return the median with the least and the greatest."""
    return f"{median(values):{form}} [{min(values):{form}} to {max(values):{form}}]"


def verdict(value: float, target: float) -> str:
    """Say whether a ratio reaches its target."""
    return "yes" if value >= target else "**no**"
