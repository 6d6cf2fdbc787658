"""Required and forbidden content of the repository and of installed packages."""

import re
import shutil
import subprocess
from dataclasses import fields
from importlib import metadata
from pathlib import Path

import pytest

from services.core.settings import Settings

ROOT = Path(__file__).parents[1]
OURS = ("schema", "resolvers", "dataloaders", "services", "models")


def tracked() -> list[Path]:
    """Return the tracked files."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    listed = subprocess.check_output([git, "ls-files", "-z"], cwd=ROOT, text=True)
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def lines() -> list[tuple[str, str]]:
    """Return every line of the tracked text files, with its location."""
    results = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        name = path.relative_to(ROOT)
        results += [(f"{name}:{number}", line) for number, line in enumerate(text.splitlines(), 1)]
    return results


def matching(pattern: str, *, but: str = "") -> list[str]:
    """Return the matching lines with their locations, except those of this file."""
    expected, spared = re.compile(pattern), re.compile(but or r"(?!)")
    here = Path(__file__).name
    return [
        f"{place}: {line.strip()[:120]}"
        for place, line in lines()
        if expected.search(line) and not spared.search(line) and here not in place
    ]


@pytest.mark.parametrize("name", OURS)
def test_no_other_distribution_installs_a_package_with_our_names(name: str) -> None:
    assert set(metadata.packages_distributions().get(name, [])) <= {"commonweal"}
    others = [
        f"{distribution.name}: {file}"
        for distribution in metadata.distributions()
        if distribution.name != "commonweal"
        for file in distribution.files or ()
        if file.parts[0] in {name, f"{name}.py"}
    ]
    assert others == []


def test_every_setting_is_documented_with_its_meaning() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    missing = [
        entry.name
        for entry in fields(Settings)
        if f"`COMMONWEAL_{entry.name.upper()}`" not in page or entry.metadata["doc"] not in page
    ]
    assert missing == []


def test_the_docs_name_only_existing_settings() -> None:
    known = {f"COMMONWEAL_{entry.name.upper()}" for entry in fields(Settings)}
    known |= {"COMMONWEAL_TEST_SERVER_URLS", "COMMONWEAL_TEST_SECONDS"}
    named = {
        result
        for place, line in lines()
        if place.startswith(("docs/", "README", "Makefile", ".ci"))
        for result in re.findall(r"COMMONWEAL_[A-Z_]*[A-Z]", line)
    }
    assert named - known == set()


def test_no_file_contains_a_path_of_one_machine() -> None:
    assert matching(r"(?<![\w.])/(work|root|home|Users)/\w") == []


def test_no_file_names_a_registry() -> None:
    hosts = r"pypi\.org|pythonhosted|registry\.npmjs|npmmirror|artifactory|nexus\.|--(extra-)?index-url"
    assert matching(hosts, but=r"--no-emit-index-url") == []


def test_no_file_contains_a_todo() -> None:
    assert matching(r"\b(TODO|FIXME|XXX:|HACK)\b") == []


def test_no_secret_or_built_file_is_tracked() -> None:
    built = re.compile(r"(__pycache__|\.pyc$|(^|/)\.env|\.pem$|(^|/)dist/|node_modules|\.venv)")
    assert [path.name for path in tracked() if built.search(str(path.relative_to(ROOT)))] == []


def test_each_advisory_lock_has_a_number_of_its_own() -> None:
    taken = [
        number
        for place, line in lines()
        if place.startswith(("models/migrations/sql/", "services/", "schema/cli/"))
        for number in re.findall(r"(?:advisory\w*\(|^_LOCK = )(\d{4})\b", line)
    ]
    listed = re.findall(r"^\| (\d{4})\b", (ROOT / "docs" / "migrations.md").read_text(), re.MULTILINE)
    assert sorted(taken) == sorted(listed)
