"""Compares the balances that an export tells with the sums of its rows; pure computation.

Since 2024 the processor's fee is a transaction of its own at Open Collective. The export folds it into its
row's netAmount, but the row's balance is from before that fee. Balances are therefore compared at the end of
each group, with and without the fee.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

from services.open_collective.csv_reader import Row

# Open Collective sorts an account's rows by spans of 10 seconds, then by group and kind: groups this close to
# each other may stand in any order.
_SPAN = timedelta(seconds=10)
_LOOK_AHEAD = 50
_MAX_CANDIDATES = 20


@dataclass(frozen=True)
class Group:
    """Rows of one account, group and moment, with what they change the balance by."""

    rows: Sequence[Row]

    @property
    def net_minor(self) -> int:
        """What the rows add to the balance."""
        return sum(row.net_minor for row in self.rows)

    def implied_starts(self) -> list[int]:
        """Return the balances before the group that agree with a balance that it tells."""
        starts: list[int] = []
        for row in self.rows:
            if row.balance_minor is not None:
                end_minor = row.balance_minor - self.net_minor
                starts += [end_minor, end_minor + row.fee_minor]
        return starts


@dataclass
class Comparison:
    """The result of comparing one account."""

    opening_minor: int = 0
    """Balance before the first row."""
    differing: list[Row] = field(default_factory=list)
    """The last row of each group whose balance does not agree."""


def compare(rows: Sequence[Row]) -> Comparison:
    """Compare the rows of one account, sorted oldest first, and find the balance with which they begin.

    Of the balances that the first rows imply, the one with which most groups agree counts; zero, if as many
    agree with it.
    """
    spans = _spans(rows)
    candidates = {start for group in spans[0][:_MAX_CANDIDATES] for start in group.implied_starts()}
    ordered = [0, *sorted(candidates - {0})[:_MAX_CANDIDATES]]
    return min((_walk(spans, opening) for opening in ordered), key=lambda result: len(result.differing))


def _spans(rows: Sequence[Row]) -> list[list[Group]]:
    """Return the groups, in lists of those that are close to each other."""
    ordered = sorted(rows, key=lambda row: (row.at, row.group, row.short_id))
    spans: list[list[Row]] = [[ordered[0]]]
    for before, row in pairwise(ordered):
        if row.at - before.at > _SPAN:
            spans.append([])
        spans[-1].append(row)
    return [_groups(span) for span in spans]


def _groups(rows: Sequence[Row]) -> list[Group]:
    by_group = defaultdict[str, list[Row]](list)
    for row in rows:
        by_group[row.group].append(row)
    return [Group(each) for each in by_group.values()]


def _walk(spans: Sequence[Sequence[Group]], opening_minor: int) -> Comparison:
    """Add up the groups; after one that differs, both its balance and the sum may continue."""
    result, sum_minor = Comparison(opening_minor), opening_minor
    possible = {opening_minor}
    for span in spans:
        waiting = list(span)
        while waiting:
            near = waiting[:_LOOK_AHEAD]
            group = next((group for group in near if not _differs(group, possible)), waiting[0])
            waiting.remove(group)
            starts = set(group.implied_starts())
            if _differs(group, possible):
                result.differing.append(max(group.rows, key=lambda row: (row.at, row.line)))
                possible = starts | {sum_minor}
            elif starts:
                possible &= starts
            possible = {start + group.net_minor for start in possible}
            sum_minor += group.net_minor
    return result


def _differs(group: Group, possible: set[int]) -> bool:
    starts = group.implied_starts()
    return bool(starts) and possible.isdisjoint(starts)
