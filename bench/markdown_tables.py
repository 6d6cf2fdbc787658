"""Benchmark results as Markdown: tables, medians and ranges."""

from collections.abc import Sequence
from statistics import median


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *notes: str) -> None:
    """Print a title, a table and notes."""
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


def compute_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio of each round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def format_spread(values: Sequence[float], form: str = ".2f") -> str:
    """Format the median with the minimum and the maximum."""
    return f"{median(values):{form}} [{min(values):{form}} to {max(values):{form}}]"


def format_verdict(value: float, target: float) -> str:
    """Return "yes" if a ratio reaches its target, or a bold "no"."""
    return "yes" if value >= target else "**no**"
