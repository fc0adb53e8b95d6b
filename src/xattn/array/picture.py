"""A picture of the array: tiles as boxes, programs in them, and between neighbours how many streams cross."""

from __future__ import annotations

from collections.abc import Iterator

from xattn.array.configuration import Configuration, TokenRoute
from xattn.array.design import TileId
from xattn.array.registers import TileKind
from xattn.array.streams import crossings

_INSIDE = 10  # characters in a box
_GAP = 8  # between two boxes


def draw(configuration: Configuration) -> list[str]:
    """The rows of the picture, the top row of the array first; empty when nothing is configured."""
    tiles = used_tiles(configuration)
    if not tiles:
        return []
    columns = range(min(t.column for t in tiles), max(t.column for t in tiles) + 1)
    rows = range(max(t.row for t in tiles), -1, -1)
    crossing = crossings(configuration)
    lines: list[str] = []
    for row in rows:
        places = [TileId(column, row) for column in columns]
        lines += _boxes(places, configuration, tiles, crossing)
        if row:
            below = [_vertical(place, TileId(place.column, row - 1), crossing) for place in places]
            lines.append("       " + (" " * _GAP).join(below))
    names = (f"column {column}".center(_INSIDE + 2) for column in columns)
    lines.append("       " + (" " * _GAP).join(names))
    return [line.rstrip() for line in lines]


def used_tiles(configuration: Configuration) -> set[TileId]:
    """The tiles that have anything to do."""
    lists = (
        configuration.cores,
        configuration.locks,
        configuration.bds,
        configuration.starts,
        configuration.routes,
        configuration.shim_ports,
    )
    return {item.tile for items in lists for item in items}


def _boxes(
    places: list[TileId], configuration: Configuration, tiles: set[TileId], crossing: dict[tuple[TileId, TileId], int]
) -> Iterator[str]:
    label = f"row {places[0].row}  "
    contents = [_contents(place, configuration) if place in tiles else ("", "") for place in places]
    used = [place in tiles for place in places]
    yield "       " + (" " * _GAP).join(_edge("┌", "┐", there) for there in used)
    for index in range(2):
        line = label if index == 0 else " " * len(label)
        for place, there, texts in zip(places, used, contents, strict=True):
            side = "│" if there else " "
            line += f"{side}{texts[index].center(_INSIDE)}{side}"
            if place != places[-1]:
                line += _horizontal(place, TileId(place.column + 1, place.row), crossing, eastward=index == 0)
        yield line
    yield "       " + (" " * _GAP).join(_edge("└", "┘", there) for there in used)


def _edge(left: str, right: str, there: bool) -> str:
    return f"{left}{'─' * _INSIDE}{right}" if there else " " * (_INSIDE + 2)


def _contents(place: TileId, configuration: Configuration) -> tuple[str, str]:
    """Two short lines: what the tile is, and what it has."""
    program = any(core.tile == place and core.pieces for core in configuration.cores)
    name = f"{place.kind.value}{' ▶' if program else ''}"
    bds = len({bd.number for bd in configuration.bds if bd.tile == place})
    if place.kind is TileKind.SHIM:
        tokens = any(isinstance(route, TokenRoute) and route.tile == place for route in configuration.routes)
        return name, "tokens" if tokens else ""
    return name, f"{bds} BDs" if bds else ""


def _vertical(upper: TileId, lower: TileId, crossing: dict[tuple[TileId, TileId], int]) -> str:
    up, down = crossing.get((lower, upper), 0), crossing.get((upper, lower), 0)
    text = "  ".join(f"{arrow}{count}" for arrow, count in (("↑", up), ("↓", down)) if count)
    return text.center(_INSIDE + 2)


def _horizontal(west: TileId, east: TileId, crossing: dict[tuple[TileId, TileId], int], eastward: bool) -> str:
    count = crossing.get((west, east) if eastward else (east, west), 0)
    return (f"─{count}→" if eastward else f"←{count}─").center(_GAP) if count else " " * _GAP
