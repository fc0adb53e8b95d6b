"""The configuration in a file for the whole array: a PDI, or an xclbin that holds one."""

from __future__ import annotations

from xattn.array.aie_partition import read_aie_partition
from xattn.array.cdo import Cdo
from xattn.array.pdi import read_pdi
from xattn.array.xclbin import SectionKind, is_xclbin, read_xclbin
from xattn.errors import InputError


def configuration_of(name: str, data: bytes) -> Cdo:
    """The commands that the file gives to the array.

    FileFormatError when it is damaged or something else, InputError for an xclbin with several PDIs.
    """
    if is_xclbin(data):
        pdis = read_aie_partition(read_xclbin(data).section(SectionKind.AIE_PARTITION).data).pdis
        if len(pdis) != 1:
            raise InputError(f"{name} has {len(pdis)} PDIs; take one out and simulate that")
        data = pdis[0].image
    return read_pdi(data).cdo()
