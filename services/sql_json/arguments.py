"""The arguments of a row or a list in one execution: what changes the statement's text, and its values."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Select, Text, Uuid, bindparam, column, func, literal_column, select
from sqlalchemy.sql.type_api import TypeEngine
from sqlmodel import col

from models import Collective, now
from services.access.actor import Actor
from services.collectives import directory
from services.collectives.directory import CollectiveRow
from services.core import pagination
from services.core.pagination import PageRequest, Sort

_TYPES: dict[type, TypeEngine[Any]] = {UUID: Uuid(), datetime: DateTime(timezone=True), str: Text()}
"""Types of the conditions' values that are parameters; all other values are written into the text."""


@dataclass(frozen=True)
class Reference:
    """A collective that a condition names by id or slug; there must be one that the viewer may see."""

    key: UUID | str
    is_readable: Callable[[Actor, Any], Any] | None = None
    """Builds what the viewer must also be allowed, from the viewer and the collective's columns."""


@dataclass(frozen=True)
class RowId:
    """The id of one row."""

    id: UUID


@dataclass(frozen=True)
class Unconditional:
    """No conditions."""


@dataclass(frozen=True)
class ListArguments:
    """What a field selects: the conditions, and for a list its order and page."""

    select: Callable[..., tuple[Select[Any], ...]]
    """Selects the rows, as `select(actor, where=…, owner=…)`; a list in several parts that share no row."""
    where: Any
    """The conditions, as a dataclass."""
    sort: Sort | None = None
    """None for a single row."""
    page: PageRequest | None = None
    """None for a single row or a whole list."""
    option: str = ""
    """The type of a single row that may be of several tables."""

    def __post_init__(self) -> None:
        """Order lists of conditions and drop repeats: they are sets, and part of the statement's text."""
        ordered = {
            name: tuple(sorted(set(value)))
            for name, value in vars(self.where).items()
            if isinstance(value, list | tuple)
        }
        if ordered:
            object.__setattr__(self, "where", replace(self.where, **ordered))

    @property
    def key(self) -> Hashable:
        """The part that changes the statement's text."""
        conditions = tuple((name, _text_part(value)) for name, value in vars(self.where).items())
        page = self.page and (self.page.size, *pagination.keyset_name(self.page))
        return self.select, conditions, self.sort and self.sort.name, page

    def values(self, prefix: str) -> dict[str, Any]:
        """Return the values of the parameters.

        Raises:
            Invalid: the cursor is not one of this list.
        """
        values = {
            f"{prefix}_{name}": value.key if isinstance(value, Reference) else value
            for name, value in vars(self.where).items()
            if _is_parameter(value)
        }
        if self.page is not None and self.page.cursor is not None:
            assert self.sort is not None
            values[f"{prefix}_after_key"], values[f"{prefix}_after_id"] = pagination.decode_cursor(
                self.page.cursor, self.sort, field=self.page.cursor_field
            )
        return values

    def references(self, actor: Actor, prefix: str) -> dict[str, Select[Any]]:
        """Select the id of each collective that a condition names, by condition."""
        return {
            name: _select_referenced(actor, value, f"{prefix}_{name}")
            for name, value in vars(self.where).items()
            if isinstance(value, Reference)
        }

    def conditions(self, prefix: str, referenced: str) -> Any:
        """Return the conditions with parameters as values; those of references are columns of a table."""
        return replace(
            self.where,
            **{
                name: literal_column(f"{referenced}.{name}", Uuid)
                if isinstance(value, Reference)
                else _parameter(f"{prefix}_{name}", value)
                for name, value in vars(self.where).items()
                if _is_parameter(value)
            },
        )

    def page_statement(self, parts: tuple[Select[Any], ...], prefix: str, extra: int) -> Select[Any]:
        """Select the page and `extra` rows more, with the sort key as `sort_key`; unordered."""
        sort, page = self.sort, self.page
        assert sort is not None
        keyed = [part.add_columns(sort.key.label("sort_key")) for part in parts]
        if page is None:
            return _union(keyed)
        if "id" not in parts[0].selected_columns:
            keyed = [part.add_columns(sort.id.label("id")) for part in keyed]
        cursor = None
        if page.cursor is not None:
            cursor = (
                bindparam(f"{prefix}_after_key", None, type_=sort.key.type),
                bindparam(f"{prefix}_after_id", None, type_=Uuid),
            )
        size = page.size + extra
        limited = [
            pagination.start_at(part, sort, cursor, size, is_backward=page.is_backward) for part in keyed
        ]
        if len(limited) == 1:
            return limited[0]
        union = _union(limited).subquery()
        order = [union.c.sort_key, union.c.id]
        return (
            select(*union.c)
            .order_by(*(c.desc() if sort.descending != page.is_backward else c.asc() for c in order))
            .limit(literal_column(str(size)))
        )


@dataclass(frozen=True)
class NodesArguments:
    """The types and ids of rows of several tables, in the order of the answer."""

    ids: tuple[tuple[str, UUID], ...]

    @property
    def options(self) -> tuple[str, ...]:
        """The types that the ids are of."""
        return tuple(sorted({option for option, _ in self.ids}))

    @property
    def key(self) -> Hashable:
        """The part that changes the statement's text."""
        return self.options

    def values(self, prefix: str) -> dict[str, Any]:
        """Return the values of the parameters. Types become an array's text: their names are letters."""
        types = ",".join(option for option, _ in self.ids)
        return {f"{prefix}_ids": [row_id for _, row_id in self.ids], f"{prefix}_types": f"{{{types}}}"}

    def rows(self, prefix: str, name: str) -> Any:
        """Return the table `name` of ids and types, numbered."""
        ids = bindparam(f"{prefix}_ids", None, type_=ARRAY(Uuid))
        types = bindparam(f"{prefix}_types", None, type_=ARRAY(Text))
        columns = column("id", Uuid), column("type", Text)
        listed: Any = func.unnest(ids, types).table_valued(*columns, with_ordinality="n")
        return listed.render_derived(name=name)


@dataclass(frozen=True)
class BalanceArguments:
    """The currency and the moment of a balance."""

    currency: str
    as_of: datetime | None
    """None for now."""

    @property
    def key(self) -> Hashable:
        """The part that changes the statement's text."""
        return self.as_of is None

    def values(self, prefix: str) -> dict[str, Any]:
        """Return the values of the parameters."""
        return {f"{prefix}_currency": self.currency, f"{prefix}_as_of": self.as_of or now()}


def _union(parts: list[Select[Any]]) -> Select[Any]:
    if len(parts) == 1:
        return parts[0]
    first, *others = (part.subquery().select() for part in parts)
    return select(first.union_all(*others).subquery())


def whole_list(parts: tuple[Select[Any], ...]) -> Select[Any]:
    """Select the whole list, to count it."""
    return _union(list(parts))


def _is_parameter(value: Any) -> bool:
    return isinstance(value, Reference) or type(value) in _TYPES


def _text_part(value: Any) -> Hashable:
    if isinstance(value, Reference):
        return "reference", type(value.key).__name__, value.is_readable
    if type(value) in _TYPES:
        return type(value).__name__, "parameter"
    return tuple(value) if isinstance(value, list | tuple) else value


def _parameter(name: str, value: Any) -> Any:
    return bindparam(name, value, type_=_TYPES[type(value)])


def _select_referenced(actor: Actor, reference: Reference, name: str) -> Select[Any]:
    key = reference.key
    parameter = _parameter(name, key)
    row = CollectiveRow(id=parameter) if isinstance(key, UUID) else CollectiveRow(slug=parameter)
    (found,) = directory.select_by_ref(actor, where=row)
    if reference.is_readable is None:
        return found.with_only_columns(col(Collective.id))
    collective = found.subquery()
    return select(collective.c.id).where(reference.is_readable(actor, collective.c))
