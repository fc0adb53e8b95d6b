"""The programs recorded on a Phoenix core give the same bytes on the simulator."""

from __future__ import annotations

from pathlib import Path

import pytest
import silicon


@pytest.fixture(scope="module")
def counts(facts: Path) -> silicon.Counts:
    return silicon.compare(facts / "silicon_points.jsonl.gz")


def test_every_point_of_an_implemented_opcode_is_equal(counts: silicon.Counts) -> None:
    print(counts)
    assert not counts.different, [(point.id, point.op) for point in counts.different]


def test_the_recording_covers_most_opcodes(counts: silicon.Counts) -> None:
    # a harness that lost its points would pass the test above
    assert counts.points == 3087
    assert counts.covered > 2300 and len(counts.opcodes) > 250


def test_unknown_registers_do_not_matter_where_the_recording_says_so(facts: Path) -> None:
    for point in list(silicon.points(facts / "silicon_points.jsonl.gz"))[::20]:
        code = silicon.assembled(point)
        if point.excluded_by is None and not silicon.missing_from(code):
            expected = [data for _, data in point.output]
            assert silicon.run_if_known(point, code, fill=0xA5) in (None, expected), point.id


def test_a_wrong_result_would_be_seen(facts: Path) -> None:
    point = next(p for p in silicon.points(facts / "silicon_points.jsonl.gz") if p.op == "ABS")
    code = silicon.assembled(point)
    wrong = code.replace(silicon.assemble(point.code[2]), silicon.assemble(point.code[2].replace("abs", "clz")))
    assert wrong != code
    assert silicon.run(point, wrong) != [data for _, data in point.output]
