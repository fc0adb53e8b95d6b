import re
from decimal import Decimal

import numpy as np
import pytest
from compat_c import exp_lut

from xattn.errors import InputError
from xattn.numerics import c_header, exp_table


def test_default_table_equals_fifty_digit_arithmetic():
    assert exp_table().tolist() == exp_lut()


def test_default_table_has_the_documented_range():
    """8 to 64 for x <= 0 in 57 distinct values, saturated from x = 89 on."""
    table = exp_table().tolist()
    assert (table[0], table[128], len(set(table[:129]))) == (8, 64, 57)
    assert table[128 + 88] < 255
    assert set(table[128 + 89 :]) == {255}


@pytest.mark.parametrize("scale", [0.1, 1.0, 16.0, 40.5, 64.0, 128.0, 1e6])
def test_any_scale_equals_fifty_digit_arithmetic(scale):
    s = Decimal(scale)
    expected = [int(min(Decimal(255), s * min(Decimal(x) / s, Decimal(700)).exp())) for x in range(-128, 128)]
    assert exp_table(scale).tolist() == expected


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_refuses_scales_that_make_no_table(scale):
    with pytest.raises(InputError, match="expected a positive finite number"):
        exp_table(scale)


def test_header_has_the_format_and_gives_the_table_back():
    lines = c_header(exp_table()).split("\n")
    assert lines[0] == "#ifndef EXP_LUT_H"
    assert lines[1] == "#define EXP_LUT_H"
    assert "#include <stdint.h>" in lines
    assert "// Index: x + 128 where x in [-128, 127]" in lines
    start = lines.index("const uint8_t EXP_LUT[256] = {")
    rows = lines[start + 1 : start + 17]
    assert lines[start + 17] == "};"
    assert lines[-2:] == ["#endif // EXP_LUT_H", ""]
    assert all(re.fullmatch(r"    (?:[ \d]{3}, ){15}[ \d]{3},", row) for row in rows)
    assert [int(x) for row in rows for x in row.split(",")[:-1]] == exp_lut()


@pytest.mark.parametrize("table", [np.zeros(255, np.uint8), np.zeros(256, np.int8), np.zeros((16, 16), np.uint8)])
def test_header_refuses_what_is_no_table(table):
    with pytest.raises(InputError, match="table has"):
        c_header(table)
