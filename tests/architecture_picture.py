"""Draw docs/architecture.svg from the code: floors, packages and their imports.

Run `python -m tests.architecture_picture` after packages have moved; a test compares the committed file.
"""

import tomllib
from itertools import pairwise
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"
FLOORS = ("schema", "resolvers", "dataloaders", "services", "models")
DRAWN_INSIDE = ("schema", "services")
BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, MARGIN = 118, 26, 18, 34, 16
HEADING_HEIGHT = 30
STYLE = (
    "text{font:12px sans-serif;fill:#1b2a32}.floor{fill:#f4f7f5;stroke:#b9c7c0}"
    ".box{fill:#fff;stroke:#3d6b5c}.arrow{stroke:#3d6b5c;stroke-opacity:.45;fill:none}"
    ".title{font-weight:bold}"
)

Edge = tuple[str, str]
Position = tuple[int, int]


def layers_of(container: str) -> list[list[str]]:
    """Return a floor's packages by layer, the top layer first, as the import contract lists them."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = config["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c.get("containers") == [container])
    return [[name.strip() for name in layer.split("|")] for layer in layers]


def package_edges(container: str) -> set[Edge]:
    """Return which package of a floor imports which other one."""
    graph = grimp.build_graph(*FLOORS)
    edges = set()
    for module in sorted(graph.modules):
        if module.startswith(f"{container}."):
            source = module.split(".")[1]
            imported = graph.find_modules_directly_imported_by(module)
            targets = {name.split(".")[1] for name in imported if name.startswith(f"{container}.")}
            edges |= {(source, target) for target in targets if target != source}
    return edges


def without_shortcuts(edges: set[Edge]) -> set[Edge]:
    """Leave out each arrow that a longer path of arrows already implies."""
    below: dict[str, set[str]] = {}

    def reachable(name: str) -> set[str]:
        if name not in below:
            targets = {target for source, target in edges if source == name}
            below[name] = targets.union(*(reachable(target) for target in targets))
        return below[name]

    return {
        (source, target)
        for source, target in edges
        if not any(s == source and t != target and target in reachable(t) for s, t in edges)
    }


def box(x: int, y: int, label: str) -> str:
    """Return the drawing of one package."""
    middle_x, middle_y = x + BOX_WIDTH // 2, y + BOX_HEIGHT // 2 + 4
    return (
        f'<rect class="box" x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="4"/>'
        f'<text x="{middle_x}" y="{middle_y}" text-anchor="middle">{label}</text>'
    )


def arrow(start: Position, end: Position) -> str:
    """Return a curve from the bottom of one box to the top of another."""
    (x1, y1), (x2, y2) = start, end
    x1, x2 = x1 + BOX_WIDTH // 2, x2 + BOX_WIDTH // 2
    y1 += BOX_HEIGHT
    bend = (y2 - y1) // 2
    curve = f"M{x1} {y1}C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2}"
    return f'<path class="arrow" marker-end="url(#tip)" d="{curve}"/>'


def draw_floor(name: str, *, y: int, width: int) -> tuple[list[str], int]:
    """Return the drawing of a floor and its height."""
    if name not in DRAWN_INSIDE:
        rows: list[list[str]] = []
    else:
        rows = layers_of(name)
    height = HEADING_HEIGHT + len(rows) * (BOX_HEIGHT + GAP_Y) - (GAP_Y - MARGIN if rows else 0)
    parts = [
        f'<rect class="floor" x="{MARGIN}" y="{y}" width="{width - 2 * MARGIN}" height="{height}" rx="6"/>',
        f'<text class="title" x="{2 * MARGIN}" y="{y + 20}">{name}</text>',
    ]
    positions: dict[str, Position] = {}
    for index, row in enumerate(rows):
        row_width = len(row) * BOX_WIDTH + (len(row) - 1) * GAP_X
        left = (width - row_width) // 2 + (index % 2) * (BOX_WIDTH // 2) * (len(row) == 1)
        for place, package in enumerate(row):
            top = y + HEADING_HEIGHT + index * (BOX_HEIGHT + GAP_Y)
            positions[package] = (left + place * (BOX_WIDTH + GAP_X), top)
    if rows:
        for source, target in sorted(without_shortcuts(package_edges(name))):
            parts.append(arrow(positions[source], positions[target]))
    parts += [box(*position, label) for label, position in positions.items()]
    return parts, height


def draw() -> str:
    """Return the whole picture as SVG."""
    width, y = 640, MARGIN
    parts, edges = [], []
    for name in FLOORS:
        drawn, height = draw_floor(name, y=y, width=width)
        parts += drawn
        edges.append((y, y + height))
        y += height + GAP_Y
    for (_, bottom), (top, _) in pairwise(edges):
        parts.append(
            f'<path class="arrow" marker-end="url(#tip)" d="M{width // 2} {bottom}L{width // 2} {top}"/>'
        )
    tip = (
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#3d6b5c" fill-opacity=".6"/></marker>'
    )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" height="{y}">\n'
        f"<title>The floors and packages of Commonweal; arrows are imports</title>\n"
        f"<style>{STYLE}</style>\n<defs>{tip}</defs>\n{body}\n</svg>\n"
    )


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(draw())


if __name__ == "__main__":
    main()
