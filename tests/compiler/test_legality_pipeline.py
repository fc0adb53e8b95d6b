"""Each rule of the exposed pipeline, one bundle before and one bundle after it holds."""

import pytest
from legality_programs import AT_CALL, RETURN, apart, found, rules

EARLY_READS = [  # a write, a read of it, the least distance (public latencies: vector and scalar classes)
    ("lda r0, [p0, #0]", "add r1, r0, r0", 7),
    ("vlda wl0, [p0, #0]", "vst wl0, [p0, #0]", 7),
    ("vldb wl0, [p0, #0]", "vmac cm0, cm0, x0, x2, r0", 7),
    ("vmac cm0, cm0, x0, x2, r0", "vmac cm0, cm0, x0, x2, r0", 2),  # over the bypass
    ("vmac.f bml0, bml0, x0, x2, r0", "vmac.f bml0, bml0, x0, x2, r0", 4),  # without one
    ("vmac cm0, cm0, x0, x2, r0", "vsrs.s8.s32 wl0, cm0, s0", 5),
    ("vlda.ups.s32.d8 cm0, s0, [p0, #0]", "vsrs.s8.s32 wl0, cm0, s0", 9),
    ("vlda.ups.s32.d8 cm0, s0, [p0, #0]", "vmac cm0, cm0, x0, x2, r0", 7),
    ("vadd.8 x0, x1, x2", "vadd.8 x3, x0, x2", 1),
    ("vadd.8 x0, x1, x2", "vmac cm0, cm0, x0, x2, r0", 2),
    ("vsrs.s8.s32 wl0, cm0, s0", "vadd.8 x1, x0, x0", 4),
    ("mul r0, r1, r2", "mov r1, r0", 2),
    ("mov r0, r1", "add r1, r0, r0", 1),
    ("lda r0, [p0, #0]", "st.s8 r0, [p0, #0]", 1),  # the store reads its data in cycle 7
]


@pytest.mark.parametrize(("write", "read", "least"), EARLY_READS, ids=lambda value: str(value)[:24])
def test_a_read_must_wait_for_the_write(write: str, read: str, least: int) -> None:
    assert "in-flight-read" not in {rule for rule, _ in rules(apart(write, read, least))}
    if least > 1:
        early = found(apart(write, read, least - 1))
        assert {v.rule for v in early} == {"in-flight-read"}
        assert all(f"{least} are needed" in v.cause for v in early)
        assert not rules(apart(write, read, least - 1), allow_in_flight_reads=True)


def test_reads_of_the_same_bundle_get_the_old_value() -> None:
    assert not rules("vadd.8 x0, x1, x2; vst wl0, [p0, #0]\nnop*9\ndone")


def test_a_loop_carries_writes_under_way_over_its_back_edge() -> None:
    def loop(nops: int) -> str:
        return f"first:\nadd r1, r0, r0\nnop*{nops}\nlda r0, [p0, #0]\njnz r1, #first\nnop*5\n{RETURN}"

    assert not rules(loop(1))  # the load is 7 bundles before the next round's add
    late = loop(1).replace("jnz r1, #first\nnop*5", "jnz r1, #first\nnop*4\nlda r0, [p0, #0]")
    assert {rule for rule, _ in rules(late)} == {"in-flight-read"}
    assert found(late)[0].path == "over 0x18 → 0x0"


def test_two_writes_must_not_land_together() -> None:
    assert rules(apart("lda r0, [p0, #0]", "mov r0, r1", 6)) == [("same-cycle-write", 0xE)]
    assert rules("mov r0, r1; movx r0, #1\nnop*9\ndone")[0] == ("same-cycle-write", 0)
    assert not rules(apart("lda r0, [p0, #0]", "mov r0, r1", 7))
    assert ("same-cycle-write", 0) in rules("divs r31, r31, r0, r1\ndone")


def test_a_value_overtaken_by_an_earlier_write_is_lost_unless_read_before() -> None:
    lost = "lda r0, [p0, #0]\nmov r0, r1\nnop*9\ndone"
    assert rules(lost, allow_in_flight_reads=True) == [("overtaken-write", 4)]
    used = "lda r0, [p0, #0]\nmov r0, r1\nnop*4\nadd r2, r0, r0\nnop*9\ndone"
    assert not rules(used, allow_in_flight_reads=True)
    assert rules(apart("lda r0, [p0, #0]", "mov r0, r1", 5)) == [("overtaken-write", 12)]
    bypassed = "vldb wh0, [p0, #0]; vlda wl0, [p0, #0]\nnop*3\nvadd.8 x0, x1, x2\n{}vadd.8 x3, x0, x2\nnop*9\ndone"
    assert not rules(bypassed.format(""), allow_in_flight_reads=True)
    assert "overtaken-write" in dict(rules(bypassed.format("nop*2\n"), allow_in_flight_reads=True))
    too_late = "lda r0, [p0, #0]\nmov r0, r1\nnop*5\nadd r2, r0, r0\nnop*9\ndone"
    assert rules(too_late, allow_in_flight_reads=True) == [("overtaken-write", 4)]


def test_a_value_of_a_delay_slot_may_be_read_on_one_side_only() -> None:
    text = "jnz r1, #side\nnop*3\nlda r0, [p0, #0]\nmov r0, r1\n{}\nnop*9\ndone\n.align 16\nside:\n{}\nnop*9\ndone"
    for sides in (("mov r2, r0", "nop"), ("nop", "mov r2, r0")):
        assert not rules(text.format(*sides), allow_in_flight_reads=True)
    assert [rule for rule, _ in rules(text.format("nop", "nop"))] == ["overtaken-write"]


PORTS = [  # two operations whose distance must not be this one, and the port
    ("vlda wl0, [p0, #0]", "vsrs.s8.s32 wl2, cm0, s0", 3, "W_WA_PORT"),
    ("vlda wl0, [p0, #0]", "vpack.s8.s16 wl2, x4", 5, "W_WA_PORT"),
    ("vmac.f bml0, bml0, x0, x2, r0", "vmac cm1, cm1, x0, x2, r0", 1, "CM_WA_PORT"),
    ("vadd cm0, cm0, cm1, r0", "vsrs.s8.s32 wl2, cm2, s0", 2, "CM_RM_PORT"),
    ("vlda.ups.s32.d8 cm0, s0, [p0, #0]", "vups.s32.d8 cm1, wl0, s0", 6, "UPS_UNIT"),
    ("mul r0, r1, r2", "add r3, r4, r5", 1, "R_WX_PORT"),
    ("lda r0, [p0, #0]", "mova r1, #1", 6, "R_WA_PORT"),
    ("vextract.s8 r1, x0, r16", "mov r2, r3", 1, "RS_WM_PORT"),
]


@pytest.mark.parametrize(("first", "second", "distance", "port"), PORTS, ids=lambda value: str(value)[:24])
def test_a_port_serves_one_operation_a_cycle(first: str, second: str, distance: int, port: str) -> None:
    clash = found(apart(first, second, distance), allow_in_flight_reads=True)
    assert {v.rule for v in clash} == {"port"} and any(port in v.cause for v in clash)
    for other in {distance - 1, distance + 1} - {0}:
        assert "port" not in {rule for rule, _ in rules(apart(first, second, other), allow_in_flight_reads=True)}


def test_a_port_is_free_only_once_in_a_bundle() -> None:
    assert rules("st r0, [p0, #0]; mov r1, r2\nnop*9\ndone") == [("port", 0)]  # P_RM_PORT
    assert rules("st r0, [p0, #0]; vmul cm0, x0, x2, r0\nnop*9\ndone") == [("port", 0)]  # R_RV_PORT
    assert rules("st.s8 r0, [p0, #0]; vldb wl0, [p0, #0]\nnop*9\ndone") == [("port", 0)]  # one use reserves only
    assert rules("vldb wl2, [p0, #0]; vlda wl0, [p0, #0]\nnop*9\ndone") == []  # both reserve only


def test_ports_are_counted_over_back_edges() -> None:
    text = "first:\nvsrs.s8.s32 wl2, cm0, s0\nnop*4\njnz r1, #first\nnop*2\nvlda wl0, [p0, #0]\nnop*{}\n" + RETURN
    assert [v.rule for v in found(text.format(2))] == ["port"]
    assert not found(text.replace("nop*2\nvlda", "nop\nvlda").format(3))


@pytest.mark.parametrize("first", ["st.s8 r1, [p0, #0]", "st.s16 r1, [p0, #0]"])
def test_a_part_word_store_blocks_memory_for_six_bundles(first: str) -> None:
    for second in ("vldb wl0, [p1, #0]", "st r2, [p1, #0]", "vlda wl0, [p1, #0]"):
        assert "port" in dict(rules(apart(first, second, 6)))
        assert "port" not in dict(rules(apart(first, second, 7)))
    assert "port" in dict(rules(apart(first, "st.s8 r2, [p1, #0]", 6)))
    assert "port" not in dict(rules(apart(first, "st.s8 r2, [p1, #0]", 7)))


def test_a_late_store_keeps_out_of_the_part_word_window() -> None:
    store, part = "vst.srs.s8.s32 cm0, s0, [p1, #0]", "st.s8 r1, [p0, #0]"
    assert "port" in dict(rules(apart(store, part, 2)))
    assert "port" not in dict(rules(apart(store, part, 3)))
    assert "port" in dict(rules(apart(part, store, 4)))
    assert "port" not in dict(rules(apart(part, store, 5)))


def test_every_register_read_is_defined_on_every_path() -> None:
    some = "jnz r0, #join\nnop*5\nmov r5, r0\n.align 16\njoin:\nadd r6, r5, r5\n" + RETURN
    undefined = found(some, AT_CALL)
    assert [v.rule for v in undefined] == ["undefined-read"]
    assert "r5 is not written on every path" in undefined[0].cause and undefined[0].path.startswith("over 0xe →")
    assert not found("mov r5, r1\n" + some, AT_CALL)


def test_a_first_value_under_way_is_not_defined_yet() -> None:
    text = "lda r5, [p0, #0]\nnop*{}\nadd r6, r5, r5\n" + RETURN
    assert not found(text.format(6), AT_CALL, allow_in_flight_reads=True)
    assert [v.rule for v in found(text.format(5), AT_CALL, allow_in_flight_reads=True)] == ["undefined-read"]
    assert [v.rule for v in found(text.format(5), AT_CALL)] == ["in-flight-read"]


@pytest.mark.parametrize("late_side", [0, 1])
def test_the_latest_first_value_of_two_sides_counts(late_side: int) -> None:
    load = "lda r5, [p0, #0]"
    sides = (f"nop*3\n{load}", f"{load}\nnop*3") if late_side == 0 else (f"{load}\nnop*3", f"nop*3\n{load}")
    text = "jnz r0, #else\nnop*5\nj #join\nnop\n{}\n.align 16\nelse:\nnop*3\n{}\njoin:\nnop*{}\nmov r6, r5\ndone"
    assert found(text.format(*sides, 6), AT_CALL, allow_in_flight_reads=True) == []
    assert [v.rule for v in found(text.format(*sides, 5), AT_CALL, allow_in_flight_reads=True)] == ["undefined-read"]


def test_a_late_read_takes_a_value_written_after_its_issue() -> None:
    text = "st.s8 r5, [p0, #0]\nnop*{}\nmov r5, r0\nnop*9\n" + RETURN
    assert not found(text.format(4), AT_CALL)  # lands in time for cycle 7
    assert [v.rule for v in found(text.format(6), AT_CALL)] == ["undefined-read"]
    assert [v.rule for v in found(text.format(4), AT_CALL, check_late_reads=True)] == ["late-read"]


def test_a_first_value_arrives_early_over_a_bypass() -> None:
    text = "vldb wl1, [p0, #0]\nvldb wh1, [p0, #0]\nnop*7\n{}\n{}nop*9\ndone"
    for first, second, distance in (
        ("vadd.8 x0, x1, x1", "vadd.8 x2, x0, x1", 1),
        ("vmul cm0, x1, x1, r0", "vmac cm0, cm0, x1, x1, r0", 2),
    ):
        body = f"{{}}{second}\n"
        near = text.format(first, body.format("nop\n" * (distance - 1)))
        assert found(near, AT_CALL, allow_in_flight_reads=True) == []
    close = text.format("vmul cm0, x1, x1, r0", "vmac cm0, cm0, x1, x1, r0\n")
    assert {v.rule for v in found(close, AT_CALL, allow_in_flight_reads=True)} == {"undefined-read"}


def test_a_late_read_after_the_return_needs_a_value_too() -> None:
    text = "ret lr\nnop*4\nst.s8 {}, [p0, #0]"
    assert found(text.format("r0"), AT_CALL) == []
    assert [v.rule for v in found(text.format("r5"), AT_CALL)] == ["undefined-read"]


def test_a_multiply_reads_what_its_configuration_word_asks_for() -> None:
    loads = "vldb wl0, [p0, #0]\nvldb wl2, [p0, #32]\nvldb wh2, [p0, #64]\nnop*6\n"
    text = "movxm r2, #{}\n" + loads + "vmac cm0, cm0, x0, x2, r2\nnop*5\n" + RETURN
    causes = {word: {v.cause.split(" is ")[0] for v in found(text.format(word), AT_CALL)} for word in (776, 777, 793)}
    accumulator = {"amll0", "amlh0", "amhl0", "amhh0"}
    assert causes[776] == accumulator  # int8 4x8x8: only 256 bits of x
    assert causes[777] == set()  # and the accumulator counts as zero
    assert causes[793] == {"x0 (wh0)"}  # 16x8 bits


def test_nothing_is_under_way_when_the_caller_goes_on() -> None:
    assert not rules("lda r0, [p0, #0]\nret lr\nnop*5")  # visible 7 bundles later, to the caller's first bundle
    assert rules("ret lr\nlda r0, [p0, #0]\nnop*4") == [("exit-in-flight", 0xE)]
    assert not rules("lda r0, [p0, #0]\ndone\nnop*5")  # nobody goes on


LOCKS = [
    ("st r2, [p0, #0]", "rel #1, r0", 5),
    ("st.s8 r2, [p0, #0]", "rel #1, r0", 11),
    ("vst.srs.s8.s32 cm0, s0, [p0, #0]", "rel #1, r0", 7),
    ("acq #1, r0", "lda r2, [p0, #0]", 4),
    ("acq #1, r0", "vst.srs.s8.s32 cm0, s0, [p0, #0]", 2),
]


@pytest.mark.parametrize(("first", "second", "least"), LOCKS, ids=lambda value: str(value)[:16])
def test_memory_keeps_its_distance_from_locks(first: str, second: str, least: int) -> None:
    assert not rules(apart(first, second, least))
    assert [rule for rule, _ in rules(apart(first, second, least - 1))] == ["lock-order"]
    assert not rules(apart(first, second, least - 1), check_lock_order=False)


def test_memory_and_lock_operations_do_not_share_a_bundle() -> None:
    assert rules("st r2, [p0, #0]; rel #1, r0\nnop*9\ndone") == [("lock-order", 0)]


@pytest.mark.parametrize("sides", [("st r2, [p0, #0]", "nop"), ("nop", "st r2, [p0, #0]")])
def test_lock_order_is_kept_from_either_side_of_a_branch(sides: tuple[str, str]) -> None:
    text = "jnz r0, #else\nnop*5\nj #join\nnop*4\n{}\n.align 16\nelse:\nnop*8\n{}\n.align 16\njoin:\nrel #1, r0\ndone"
    assert [v.rule for v in found(text.format(*sides))] == ["lock-order"]
    assert found(text.format("nop", "nop")) == []


def test_the_stack_needs_no_lock() -> None:
    assert not rules("st r2, [sp, #-32]\nrel #1, r0\nnop*9\ndone")


@pytest.mark.parametrize("then", [True, False])
def test_a_late_read_is_remembered_from_either_side_of_a_branch(then: bool) -> None:
    store = "st.s8 r5, [p0, #0]"
    sides = (store, "nop") if then else ("nop", store)
    text = "jnz r0, #else\nnop*5\nj #join\nnop*4\n{}\n.align 16\nelse:\nnop*8\n{}\n.align 16\njoin:\nmov r5, r0\ndone"
    assert [v.rule for v in found(text.format(*sides), check_late_reads=True)] == ["late-read"]
    assert found(text.format("nop", "nop"), check_late_reads=True) == []
