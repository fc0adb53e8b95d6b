"""Control flow: where programs start, end, branch, call, return and loop; each rule kept and broken by one step."""

import pytest
from legality_programs import AT_CALL, FULL_NOP, RETURN, found, rules

from xattn.compiler.legality import RULES, LegalityError, assert_legal, check_program
from xattn.errors import InputError, XattnError
from xattn.isa import assemble


def test_a_plain_function_is_legal() -> None:
    assert found("add r0, r0, r1\n" + RETURN, AT_CALL) == []


def test_assert_legal_tells_the_first_violations() -> None:
    assert_legal(assemble(RETURN), defined_at_entry=AT_CALL)
    with pytest.raises(
        LegalityError, match=r"2 violations: 0x0000 undefined-read: r5 .*; 0x0000 undefined-read: r6"
    ) as told:
        assert_legal(assemble("add r0, r5, r6\n" + RETURN), defined_at_entry=AT_CALL)
    assert isinstance(told.value, XattnError) and len(told.value.violations) == 2
    first = told.value.violations[0]
    assert first.bundle is not None and first.bundle.operations[0].opcode.mnemonic == "add"
    assert {violation.rule for violation in told.value.violations} <= RULES.keys()


def test_arguments_are_checked() -> None:
    with pytest.raises(InputError, match="base address 0x8 is no multiple of 16"):
        check_program(b"", base=8)
    with pytest.raises(InputError, match="unknown register r99"):
        check_program(b"", defined_at_entry={"r99"})
    with pytest.raises(InputError, match="no entry address"):
        check_program(b"", entries=())


def test_bytes_that_are_no_bundle() -> None:
    (violation,) = check_program(assemble("add r0, r0, r1")[:3])
    assert violation.rule == "decode" and "cut off" in violation.cause


def test_program_memory_ends() -> None:
    code = assemble(f"{FULL_NOP}\n" * 3 + RETURN)
    assert check_program(code, base=16384 - 64, entries=(16384 - 64,), defined_at_entry=AT_CALL) == []
    (violation,) = check_program(code, base=16384 - 48, entries=(16384 - 48,), defined_at_entry=AT_CALL)
    assert violation.rule == "program-memory" and "ends at 0x400e" in violation.cause
    assert check_program(code, defined_at_entry=AT_CALL, program_memory=len(code)) == []
    assert [v.rule for v in check_program(code, program_memory=len(code) - 1)] == ["program-memory"]


@pytest.mark.parametrize("text", ["nop", "ret lr\nnop*4", "j #0\nnop*4", "jnz r0, #0\nnop*5", "jl #0\nnop*5"])
def test_control_does_not_run_off_the_end(text: str) -> None:
    assert "fall-off" in {rule for rule, _ in rules(text)}


@pytest.mark.parametrize("text", ["done", "j #0\nnop*5", "jnz r0, #0\nnop*5\ndone", RETURN])
def test_done_ret_and_branches_end_a_program(text: str) -> None:
    assert rules(text) == []


def test_branches_go_to_bundles_of_the_program() -> None:
    assert rules("j #0x40\nnop*5") == [("branch-target", 0)]
    inside = found(f"{FULL_NOP}\nadd r0, r0, r1\nj #0x2\nnop*5")
    assert [v.rule for v in inside] == ["branch-target"] and "inside the bundle at 0x0" in inside[0].cause
    (entry,) = check_program(assemble("done"), entries=(0x20,))
    assert (entry.rule, entry.address, entry.bundle) == ("branch-target", 0x20, None)


def test_targets_are_aligned() -> None:
    assert rules("nop\nj #0x2\nnop*5") == [("alignment", 2)]
    assert rules("nop*4\nj #0x8\nnop*5") == [("alignment", 8)]
    assert rules("j #0x10\nnop*5\ndone") == []  # 6 bytes and 5 times 2
    (entry,) = check_program(assemble("nop\ndone"), entries=(2,))
    assert entry.rule == "alignment"


def test_return_points_are_aligned() -> None:
    function = "\n.align 16\nf:\nret lr\nnop*5"
    assert rules("jl #f\nnop*5\ndone" + function) == []
    assert rules("jl #f\nnop*4\nmova r0, #1\ndone" + function) == [("alignment", 0)]


def test_base_moves_the_program() -> None:
    code = assemble("j #0x110\nnop*5\n.align 16\ndone")
    assert check_program(code, base=0x100, entries=(0x100,)) == []
    assert [v.rule for v in check_program(code, base=0x200, entries=(0x200,))] == ["branch-target"]


def test_no_branch_in_the_delay_slots_of_another() -> None:
    text = "j #0x20\n{}jnz r0, #0x20\n{}\n.align 32\ndone"
    assert rules(text.format("nop*4\n", "")) == [("delay-slot", 14)]
    legal = "jnz r0, #0x20\nnop*5\njnz r0, #0x20\nnop*5\n.align 16\ndone"
    assert rules(legal) == []


def test_indirect_branches_go_where_constants_point() -> None:
    loop = "movxm p0, #0x10\n.align 16\nnop\njnzd r0, r1, p0\nnop*5\ndone"
    assert rules(loop) == []
    assert rules(loop.replace("movxm p0, #0x10", "lda p0, [p1, #0]\nnop*6"))[0][0] == "indirect-target"
    assert rules(loop.replace("#0x10", "#0x12")) == [("alignment", 0x12)]
    assert rules("movxm r5, #0x10\nmov p0, r5\n.align 16\nj p0\nnop*5") == []
    assert rules("movxm r5, #0x20\nmov r6, r5\nmov p0, r6\n.align 16\nj p0\nnop*5\n.align 16\ndone") == []
    overtaken = "lda p0, [p1, #0]\nmovxm p0, #0x20\nnop*6\nj p0\nnop*5\n.align 16\ndone"
    assert "indirect-target" in dict(rules(overtaken))


def test_every_constant_that_an_indirect_branch_may_find_is_followed() -> None:
    text = (
        "movxm p0, #one\njnz r0, #go\nnop*5\nmovxm p0, #two\n.align 16\ngo:\nj p0\nnop*5\n"
        ".align 16\none:\nmov r6, r8\ndone\n.align 16\ntwo:\nmov r6, r9\ndone"
    )
    assert rules(text) == []
    assert [v.cause[:2] for v in found(text, AT_CALL)] == ["r8", "r9"]


FUNCTION = "\n.align 16\nf:\nnop*16\n" + RETURN


def test_calls_return_to_their_own_caller() -> None:
    # a register defined between two calls of one function is defined behind the second, not behind the first
    call = "jl #f\nnop*5\n"
    calls = f"{call}{{first}}\nmov r5, r0\n.align 16\n{call}{{second}}\n.align 16\n"
    text = f"mov r4, lr\n.align 16\n{calls}mov lr, r4\n{RETURN}"
    assert found(text.format(first="nop", second="mov r6, r5") + FUNCTION, AT_CALL) == []
    (violation,) = found(text.format(first="mov r6, r5", second="nop") + FUNCTION, AT_CALL)
    assert (violation.rule, violation.address) == ("undefined-read", 0x20)


def two_levels(first: str, second: str, after: str, function: str = "nop*16") -> str:
    """main calls g twice, g calls f; `first` and `second` stand before the calls, in f stands `function`."""
    calls = "".join(
        f"{before}\n.align 16\njl #g\nnop*4\n{slot}\n" for before, slot in ((first, "nop"), (second, "nop"))
    )
    g = f"\n.align 16\ng:\nmov r7, lr\n.align 16\njl #f\nnop*5\nmov lr, r7\n{RETURN}"
    return f"mov r4, lr\n{calls}{after}\nmov lr, r4\n{RETURN}{g}\n.align 16\nf:\n{function}\n{RETURN}"


def test_what_a_caller_knows_stays_known_behind_a_call() -> None:
    # only the second caller of g defines r5, and it does not lose it where g comes back from f
    assert found(two_levels("nop", "mov r5, r0", "mov r6, r5"), AT_CALL) == []
    last_call, padded = "jl #g\nnop*4\nnop\nmov r6", "nop*7\njl #g\nnop*3\nlda r5, [p0, #0]\nnop\nmov r6"
    arriving = two_levels("nop", "nop", "mov r6, r5").replace(last_call, padded)
    assert found(arriving, AT_CALL) == []
    late = found(two_levels("nop", "nop", "mov r6, r5"), AT_CALL)
    assert [v.rule for v in late] == ["undefined-read"]


@pytest.mark.parametrize("changes", ["lda p6, [p0, #0]\nnop*9", "movxm p6, #0x2\nnop*9"])
def test_what_a_function_changes_is_not_known_behind_its_call(changes: str) -> None:
    after = "j p6\nnop*5\n.align 16\nend:\nnop"
    assert found(two_levels("nop", "movxm p6, #end", after)) == []
    assert {v.rule for v in found(two_levels("nop", "movxm p6, #end", after, changes))} <= {
        "indirect-target",
        "branch-target",
    }
    assert found(two_levels("nop", "movxm p6, #end", after, changes))


def test_every_call_is_followed_behind_its_return() -> None:
    g = f"g:\nst lr, [sp, #-32]\n.align 16\njl #f\nnop*5\nlda lr, [sp, #-32]\nnop*6\n{RETURN}\n.align 16\nf:\n{RETURN}"
    text = f"jl #g\nnop*5\njl #g\nnop*5\nmov r6, r9\ndone\n.align 16\n{g}"  # the second call adds nothing new to f
    assert rules(text, AT_CALL) == [("undefined-read", 0x20)]


@pytest.mark.parametrize("sides", [("mov r5, r0", "nop"), ("nop", "mov r5, r0")])
def test_every_return_of_a_function_counts(sides: tuple[str, str]) -> None:
    main = "mov r4, lr\n.align 16\njl #f\nnop*5\nmov r6, r5\nmov lr, r4\n{end}\n.align 16\n"
    text = main + "f:\njnz r0, #g\nnop*5\n{}\n{end}\n.align 16\ng:\n{}\n{end}"
    assert [v.rule for v in found(text.format(*sides, end=RETURN), AT_CALL)] == ["undefined-read"]
    assert found(text.format("mov r5, r0", "mov r5, r1", end=RETURN), AT_CALL) == []


def test_a_function_is_checked_for_each_of_its_callers() -> None:
    text = "mov r5, r0\n.align 16\njl #f\nnop*5\ndone\n.align 16\ng:\njl #f\nnop*5\ndone\n.align 16\nf:\nmov r6, r5\n"
    code = assemble(text + RETURN)
    assert check_program(code, entries=(0,), defined_at_entry=AT_CALL) == []
    (violation,) = check_program(code, entries=(0, 0x30), defined_at_entry=AT_CALL)
    assert violation.rule == "undefined-read" and violation.path.endswith("→ 0x50")


def test_lr_must_survive_until_ret() -> None:
    lost = "jl #f\nnop*5\n" + RETURN + FUNCTION
    (violation,) = found(lost)
    assert violation.rule == "return-address" and "0x10 instead of the caller of the program" in violation.cause
    saved = "mov r5, lr\n.align 16\n" + lost.replace("ret lr", "mov lr, r5\nret lr", 1)
    assert rules(saved) == []
    inner = f"jl #g\nnop*5\ndone\n.align 16\ng:\njl #f\nnop*5\n{RETURN}{FUNCTION}"
    assert [v.cause[:22] for v in found(inner)] == ["ret goes to 0x30 inste"]


def test_recursion_is_followed() -> None:
    text = f"mov r4, lr\n.align 16\njl #0\nnop*5\nmov lr, r4\n{RETURN}"
    assert rules(text) == []  # never comes back
    again = "jnz r0, #out\nnop*5\n.align 16\njl #0\nnop*5\n.align 16\nout:\n"
    saved = f"paddb [sp], #32\nst lr, [sp, #-32]\n{again}lda lr, [sp, #-32]\nnop*6\npaddb [sp], #-32\n{RETURN}"
    assert rules(saved) == []
    assert [rule for rule, _ in rules(f"mov r4, lr\n{again}mov lr, r4\n{RETURN}")] == ["return-address"]


def loop(setup: str = "", body: str = FULL_NOP, end: str = FULL_NOP, after: str = "done", nops: int = 7) -> str:
    """A hardware loop whose set-up stands `nops` full bundles before its first bundle."""
    return (
        f"movxm ls, #first\nmovxm le, #last\nadd.nc lc, r0, #0{setup}\n.align 16\n"
        + f"{FULL_NOP}\n" * nops
        + f"first:\n{body}\nlast:\n{end}\n{after}"
    )


def test_a_hardware_loop_is_legal() -> None:
    assert rules(loop()) == []
    assert rules(loop(nops=6)) == []  # the body counts too: 112 bytes up to the bundle at le


def test_loop_registers_are_written_112_bytes_before_the_end() -> None:
    assert rules(loop(nops=5)) == [("loop-setup", 0x70)]
    # in 2-byte steps: 112 and 110 bytes
    assert rules(f"movxm ls, #first\nmovxm le, #last\nadd.nc lc, r0, #0\nnop*56\nfirst:\nlast:\n{FULL_NOP}\ndone") == []
    short = f"movxm ls, #first\nmovxm le, #last\nnop\nadd.nc lc, r0, #0\nnop*55\nfirst:\nlast:\n{FULL_NOP}\ndone"
    assert rules(short) == [("loop-setup", 0x80)]
    assert "110 bytes lie between" in found(short)[0].cause


def test_the_shortest_path_to_the_loop_end_counts() -> None:
    def skipping(nops: int) -> str:
        jump = f"jnz r1, #last\n{FULL_NOP}\n{FULL_NOP}\n{FULL_NOP}\n{FULL_NOP}\n{FULL_NOP}\n"
        return loop(body=jump + f"{FULL_NOP}\n" * 3 + ".align 16", nops=nops)

    assert rules(skipping(2)) == []  # 2 and the branch with its slots
    assert [rule for rule, _ in rules(skipping(1))] == ["loop-setup"]


def test_the_bundle_at_le_is_full() -> None:
    assert [rule for rule, _ in rules(loop(end="add r1, r1, r0"))] == ["loop-end"]


@pytest.mark.parametrize("store", ["st.s8 r1, [p0, #0]", "st.s16 r1, [p0, #0]"])
def test_no_part_word_store_at_le(store: str) -> None:
    end = f"nopb; {store}; nops; nopxm; nopv"
    assert [rule for rule, _ in rules(loop(end=end, body=f"{FULL_NOP}\n" * 9))] == ["loop-end"]
    assert rules(loop(body=f"{end}\n" + f"{FULL_NOP}\n" * 7)) == []


def test_no_branch_at_le_and_no_loop_end_in_delay_slots() -> None:
    end = "nopb; nopa; nops; j #0; nopv"
    assert "loop-end" in dict(rules(loop(end=end, after="nop*5\ndone")))
    wide = "nopb; nopa; nops; jnz r1, #out; nopv\n"
    after = ".align 16\nout:\ndone"
    assert "delay-slot" in dict(rules(loop(body=wide + f"{FULL_NOP}\n" * 4, after=after)))
    assert rules(loop(body=wide + f"{FULL_NOP}\n" * 5, after=after)) == []


def test_loop_bounds_are_known_and_name_bundles() -> None:
    assert "loop-setup" in dict(rules(loop().replace("movxm le, #last", "lda r5, [p0, #0]\nnop*6\nmov le, r5")))
    assert rules(loop().replace("movxm le, #last", "movxm r5, #last\nmov le, r5")) == []
    assert rules("movxm le, #0x22\n" + f"{FULL_NOP}\n" * 9 + "done")[0][0] == "branch-target"
    assert "loop-setup" in dict(rules(loop().replace("movxm ls, #first", "nop")))


def test_loops_do_not_nest_on_the_one_loop_unit() -> None:
    inner = "movxm ls, #in\nmovxm le, #in\nadd.nc lc, r1, #0\n.align 16\n" + f"{FULL_NOP}\n" * 7 + f"in:\n{FULL_NOP}\n"
    nested = found(loop(body=inner))
    assert {v.rule for v in nested} == {"loop-nesting"}
    saved = "mov r5, lc\n" + inner + "movxm ls, #first\nmovxm le, #last\nmov lc, r5\n.align 16\n" + f"{FULL_NOP}\n" * 7
    assert rules(loop(body=saved)) == []
    for restore, other in (("mov lc, r5", "mov lc, r6"), ("movxm ls, #first", "nop"), ("movxm le, #last", "nop")):
        text = loop(body=saved[: len(saved) // 2] + saved[len(saved) // 2 :].replace(restore, other))
        assert {v.rule for v in found(text)} == {"loop-nesting"}, restore


def test_nesting_is_found_also_where_a_branch_enters_the_loop_in_the_middle() -> None:
    inner = "movxm ls, #in\nmovxm le, #in\nadd.nc lc, r1, #0\n.align 16\n" + f"{FULL_NOP}\n" * 7 + f"in:\n{FULL_NOP}\n"
    for first, other in (("middle", "nop"), ("start", "middle")):
        enter = "movxm ls, #start\nmovxm le, #last\nadd.nc lc, r0, #0\n.align 16\n" + f"{FULL_NOP}\n" * 7
        enter += f"jnz r1, #{first}\nnop*5\n" + (f"j #{other}\nnop*5\n" if other != "nop" else "")
        text = f"{enter}.align 16\nstart:\n{FULL_NOP}\nmiddle:\n{inner}last:\n{FULL_NOP}\ndone"
        assert {v.rule for v in found(text)} == {"loop-nesting"}


def test_a_loop_that_was_left_by_a_branch_may_start_again() -> None:
    body = "nopb; nopa; nops; jnz r1, #again; nopv\n" + f"{FULL_NOP}\n" * 6
    assert rules("again:\n" + loop(body=body)) == []


def test_loops_may_follow_each_other_inside_a_branch_loop() -> None:
    second = loop(after="jnz r3, #again\nnop*5\ndone").replace("first", "first2").replace("last", "last2")
    assert rules("again:\n" + loop(after=".align 16\n" + second)) == []


def test_writes_under_way_cross_the_back_edge_of_a_hardware_loop() -> None:
    use, load = "nopb; nopa; nops; add r5, r4, r4; nopm; nopv", "nopb; lda r4, [p0, #0]; nops; nopxm; nopv"
    assert rules(loop(body=f"{use}\n{load}\n" + f"{FULL_NOP}\n" * 5)) == []
    early = found(loop(body=f"{use}\n{FULL_NOP}\n{load}\n" + f"{FULL_NOP}\n" * 4))
    assert [v.rule for v in early] == ["in-flight-read"]
    assert "6 bundles earlier; 7 are needed" in early[0].cause and early[0].path == "over 0xf0 → 0x80"
