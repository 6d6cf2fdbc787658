"""The committed SDL as other people's tools see it: linters, Relay's compiler, type generators, a diff."""

import json
import re
import subprocess
from datetime import date
from functools import cache
from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema

from schema.build import sdl
from tests import node_runner

TOOLS = Path(__file__).parents[1] / "schema_tools"
SCHEMA = Path(__file__).parents[2] / "schema"
COMMITTED, RELEASED = SCHEMA / "schema.graphql", SCHEMA / "released.graphql"
OLDEST_NODE = 24  # what the tools ask for; the wheel has it
INSPECTOR = "node_modules/@graphql-inspector/cli/cjs/index.js"
DATED = re.compile(r"(\d{4}-\d{2}-\d{2}): .+; removal (\d{4}-\d{2}-\d{2})")
NOTICE_DAYS = 180


def tool(*arguments: str) -> str:
    """Run a tool of tests/schema_tools, and return what it prints."""
    return node_runner.run_script(
        node_runner.require_node(TOOLS, oldest=OLDEST_NODE), *arguments, folder=TOOLS
    )


def refusal(*arguments: str) -> str:
    """Return what a tool says that must not be content."""
    node_runner.require_node(TOOLS, oldest=OLDEST_NODE)
    with pytest.raises(subprocess.CalledProcessError) as raised:
        tool(*arguments)
    return str(raised.value.stdout)


def findings(place: Path) -> list[dict[str, str]]:
    """Return what the linters find in an SDL."""
    return [json.loads(line) for line in tool("lint.mjs", str(place)).splitlines()]


def test_the_linters_find_nothing() -> None:
    assert findings(COMMITTED) == []


def test_the_linters_report_a_spoiled_schema(tmp_path: Path) -> None:
    spoiled = tmp_path / "schema.graphql"
    bad = 'type bad_name { get_x: Int @deprecated }\nextend type Query { "None." bad: bad_name! }\n'
    spoiled.write_text(COMMITTED.read_text() + bad)
    results = {(f["tool"], f["rule"]) for f in findings(spoiled)}
    assert results >= {
        ("graphql-eslint", "naming-convention"),
        ("graphql-eslint", "require-description"),
        ("graphql-eslint", "require-nullable-result-in-root"),
        ("graphql-eslint", "strict-id-in-types"),
        ("graphql-schema-linter", "types-have-descriptions"),
        ("graphql-schema-linter", "fields-are-camel-cased"),
        ("graphql-schema-linter", "deprecations-have-a-reason"),
    }


# --- Since the last release ---


def difference(new: Path) -> tuple[str, ...]:
    """Return the command that compares an SDL with the last release's."""
    return (INSPECTOR, "diff", str(RELEASED), str(new), "--rule", "./accepted.mjs")


def test_nothing_breaks_the_clients_of_the_last_release() -> None:
    tool(*difference(COMMITTED))


def test_a_breaking_change_is_refused_until_it_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, accepted = tmp_path / "schema.graphql", tmp_path / "accepted.json"
    broken.write_text(RELEASED.read_text().replace("  hasNextPage: Boolean!", "  hasNextPage: Boolean"))
    monkeypatch.setenv("ACCEPTED_CHANGES", str(accepted))
    accepted.write_text("[]")
    change = "Field PageInfo.hasNextPage changed type from Boolean! to Boolean"
    assert change in refusal(*difference(broken))
    accepted.write_text(json.dumps([{"change": change}]))
    assert "needs a reason" in refusal(*difference(broken))
    accepted.write_text(json.dumps([{"change": change, "reason": "2026-11-21: counted no more"}]))
    assert "No breaking changes" in tool(*difference(broken))
    assert "there is no such change" in refusal(*difference(RELEASED))


# --- Deprecations ---


@cache
def built() -> GraphQLSchema:
    """Return the schema as a client reads it."""
    return build_schema(sdl())


def deprecations(schema: GraphQLSchema) -> dict[str, str]:
    """Return the reason of each deprecation by its schema coordinate."""
    results = {}
    for name, kind in schema.type_map.items():
        members = {**getattr(kind, "fields", {}), **getattr(kind, "values", {})}
        for member, entry in members.items():
            results[f"{name}.{member}"] = entry.deprecation_reason
            for argument, arguments in getattr(entry, "args", {}).items():
                results[f"{name}.{member}({argument})"] = arguments.deprecation_reason
    return {place: reason for place, reason in results.items() if reason is not None}


def undated(schema: GraphQLSchema) -> list[str]:
    """Return the deprecations whose reason is not `DAY: use that; removal DAY`, half a year apart."""
    wrong = []
    for place, reason in deprecations(schema).items():
        dated = DATED.fullmatch(reason)
        days = [date.fromisoformat(day) for day in dated.groups()] if dated else []
        if not days or (days[1] - days[0]).days < NOTICE_DAYS:
            wrong.append(place)
    return wrong


def test_every_deprecation_is_dated() -> None:
    assert undated(built()) == []


def test_a_deprecation_without_a_date_or_with_short_notice_is_found() -> None:
    sample = build_schema("""
      type Query {
        bare: Int @deprecated
        words: Int @deprecated(reason: "Use good")
        short: Int @deprecated(reason: "2026-11-21: Use good; removal 2026-12-21")
        good(old: Int @deprecated(reason: "Soon")): Kind
        fine: Int @deprecated(reason: "2026-11-21: Use good; removal 2027-06-01")
      }
      enum Kind { A B @deprecated(reason: "no") }
    """)
    assert undated(sample) == ["Query.bare", "Query.words", "Query.short", "Query.good(old)", "Kind.B"]


# --- What is made of it ---


def test_typescript_generated_from_the_schema_compiles_strictly() -> None:
    tool("node_modules/@graphql-codegen/cli/esm/bin.js", "--config", "codegen.mjs")
    tool("node_modules/typescript/bin/tsc", "--project", "tsconfig.json")


def test_the_sample_operations_are_valid() -> None:
    said = tool(INSPECTOR, "validate", "operations/*.graphql", str(COMMITTED))
    assert "All documents are valid" in said


def test_relay_compiles_refetchable_and_pagination_fragments() -> None:
    assert "Compilation completed" in node_runner.compile_for_relay()
    results = {path.name for path in (node_runner.CLIENTS / "node_modules" / ".relay").glob("*.graphql.js")}
    assert {"feedPageQuery.graphql.js", "feedHeadRefetchQuery.graphql.js"} <= results
    node_runner.compile_for_relay("--validate")
