"""The steps of a start: a bar in a terminal, a line a step elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

Tick = Callable[[], None]


class Steps:
    """Shows which of several steps runs; a step that takes long has a bar of its own."""

    def __init__(self, total: int) -> None:
        self._done, self._total = 0, total

    @contextmanager
    def step(self, name: str, *, ticks: int | None = None) -> Iterator[Tick]:
        """Show a step until the block ends; yield what is to be called after each of about `ticks` parts."""
        self._done += 1
        title = f"[{self._done}/{self._total}] {name}"
        if not sys.stderr.isatty():
            print(title, file=sys.stderr, flush=True)
            yield lambda: None
            return
        layout = "{desc}: {percentage:3.0f}% {bar} {elapsed}" if ticks else "{desc} … {elapsed}"
        with tqdm(total=ticks, desc=title, bar_format=layout, file=sys.stderr, mininterval=0.1) as bar:
            yield lambda: _advance(bar)
            if ticks:
                bar.update(ticks - bar.n)


def _advance(bar: Any) -> None:
    if bar.total is not None and bar.n < bar.total:
        bar.update()
