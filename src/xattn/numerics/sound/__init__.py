"""Sound int8 attention: the integer model of flash attention that keeps a real model intact.

int8 Q, K, V with real scales folded into one power of two, int16 scores in 1/128 octave, a running max per row rounded
up to a whole octave, unnormalised uint8 weights by a linear-mantissa power of two, int32 accumulators and sums, one
division at the end. `steps` holds each step, `block` the state machine that a kernel implements, `attention` whole
heads.
"""

from xattn.numerics.sound.attention import (
    Order,
    attend,
    attention_sound,
    blind_rows,
    block_order,
    broadcast_key_mask,
    require_in_range,
    to_blocks,
)
from xattn.numerics.sound.block import (
    BLOCK,
    BLOCK_MAXIMUM_OPTIONS,
    DEFAULT_OPTIONS,
    MAX_KEYS,
    BlockTrace,
    SoundOptions,
    SoundState,
    finish,
    finish_int8,
    init_state,
    process_block,
    trace_block,
)
from xattn.numerics.sound.dither import Dither, dither_pattern
from xattn.numerics.sound.mask import BlockMask
from xattn.numerics.sound.operands import Share, SoundOperands, power_of_two_scales, quantize_operands

__all__ = [
    "BLOCK",
    "BLOCK_MAXIMUM_OPTIONS",
    "DEFAULT_OPTIONS",
    "MAX_KEYS",
    "BlockMask",
    "BlockTrace",
    "Dither",
    "Order",
    "Share",
    "SoundOperands",
    "SoundOptions",
    "SoundState",
    "attend",
    "attention_sound",
    "blind_rows",
    "block_order",
    "broadcast_key_mask",
    "dither_pattern",
    "finish",
    "finish_int8",
    "init_state",
    "power_of_two_scales",
    "process_block",
    "quantize_operands",
    "require_in_range",
    "to_blocks",
    "trace_block",
]
