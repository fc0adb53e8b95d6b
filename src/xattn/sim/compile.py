"""From what an opcode means to a Python function that does it, at the cycles at which the pipeline does it.

Each distinct shape of an instruction (opcode, kinds of its registers, cycles, bypasses) is compiled once, to a factory;
binding the factory to the registers of one instruction in one core gives the function that the engine calls when the
bundle issues. The function does at once what reads in cycle 1; what reads later is left with the core as a call for
that cycle, and results that land later as writes for theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from xattn.isa.semantics.lanes import Value
from xattn.isa.semantics.meaning import Store, Write
from xattn.sim import runtime
from xattn.sim.accesses import Access, Accesses, Shape, Spot
from xattn.sim.expressions import Expressions, dtype, held_as, is_exact, largest, shares_storage
from xattn.sim.stages import PLAIN_MEMORY_CYCLE, Landing, Stages, leaf_key
from xattn.sim.state import mask_of, storage_index

Run = Callable[[int], "int | None"]


class Binder(Protocol):
    """Where functions are bound to: gives the objects of one core that generated code uses."""

    def bound(self, name: str) -> Any:
        """The core's object of that name: scalars, ring, later, load4, store32 …"""

    def vector(self, access: Access, part: int | None, type_: str, bypassed: bool) -> Any:
        """The bytes of a vector register as lanes of a type."""


@dataclass(frozen=True)
class Factory:
    """A compiled shape: `make(*parameters)` gives the function; the parameters say what to bind."""

    make: Callable[..., Run]
    parameters: tuple[tuple[Any, ...], ...]
    source: str

    def bind(self, binder: Binder, site: Any, accesses: Accesses) -> Run:
        """The function for one instruction at one place (`site`) in one core."""
        return self.make(*(_resolve(parameter, binder, site, accesses) for parameter in self.parameters))


def _resolve(parameter: tuple[Any, ...], binder: Binder, site: Any, accesses: Accesses) -> Any:
    what, *rest = parameter
    if what == "immediate":
        value = accesses.instruction[rest[0]]
        assert isinstance(value, int)
        return value & 0xFFFFFFFF
    if what == "site":
        return site
    if what == "return address":
        return site.return_address()
    if what == "core":
        return binder.bound(rest[0])
    access = accesses.all[rest[0]]
    if what == "index":
        return storage_index()[access.register.storage[rest[1]].name]
    if what == "mask":
        return mask_of(access.register)
    if what == "keep":
        return ~mask_of(access.register)
    assert what == "view", what
    return binder.vector(access, *rest[1:])


@lru_cache(maxsize=8192)
def factory(shape: Shape, direct: bool) -> Factory:
    """Compile a shape. `direct`: results of cycle 1 are written at once (nothing else in the bundle reads them)."""
    return _Writer(shape, direct).factory()


class _Writer:
    """Writes the source of one shape: one nested function for each of its stages."""

    def __init__(self, shape: Shape, direct: bool):
        self.direct = direct
        self.stages = Stages(shape)
        self.opcode, self.effects, self.spots = self.stages.opcode, self.stages.effects, self.stages.spots
        self.memory_cycles = shape.memory_cycles
        self.parameters: dict[tuple[Any, ...], str] = {}
        self.constants: dict[str, Any] = dict(runtime.NAMES)

    def factory(self) -> Factory:
        """The compiled factory."""
        lines: list[str] = []
        known: dict[Value, str] = {}
        for stage in self.stages.all:
            code, known = self._stage(stage, dict(known))
            lines[:0] = code
        names = ", ".join(self.parameters.values())
        source = f"def make({names}):\n" + "".join(f"    {line}\n" for line in lines) + "    return at1\n"
        exec(compile(source, f"<{self.opcode.name}>", "exec"), self.constants)
        return Factory(self.constants["make"], tuple(self.parameters), source)

    def _stage(self, stage: int, carried: dict[Value, str]) -> tuple[list[str], dict[Value, str]]:
        """The function of one cycle, and the names of the values that it hands to the next."""
        writer = Expressions(self._leaf, self._site, self.constants)
        writer.known = dict(carried)
        following = self.stages.following(stage)
        later = self.stages.needed_later(stage) if following else []
        writer.count_uses([value for value in self.stages.roots if self.stages.stage_of(value) == stage] + later)
        first = stage == 1
        if not first:
            writer.lines += self._undefined_check(stage)
        if first:
            self._loads(writer)
        kept = {value: self._kept(writer, value) for value in later}
        actions = (self._store_begins(writer) if first else []) + self._store_ends(stage, writer)
        if following:
            later_list = self._core("later")
            values = "".join(f"{name}, " for name in kept.values())
            actions.append(f"{later_list}[now + {following - stage}].append((at{following}, ({values})))")
        control = self._control(writer) if first else []
        returned = self._branch(writer) if first else []
        actions += control + self._writes(self.stages.landings(stage), writer) + returned
        unpack = [f"{''.join(f'{name}, ' for name in carried.values())}= args"] if carried else []
        body = [*unpack, *writer.lines, *actions] or ["pass"]
        return [f"def at{stage}(now{'' if first else ', args'}):", *(f"    {line}" for line in body)], kept

    def _kept(self, writer: Expressions, value: Value) -> str:
        if not shares_storage(value):
            return writer.named(value)
        source = writer.source(value)
        name = writer.known[value] = writer.free_name("k")
        writer.lines.append(f"{name} = {source}.copy()")
        return name

    # what the code is bound to

    def _parameter(self, what: tuple[Any, ...], name: str | None = None) -> str:
        return self.parameters.setdefault(what, name or f"p{len(self.parameters)}")

    def _core(self, name: str) -> str:
        return self._parameter(("core", name), name)

    def _site(self) -> str:
        return self._parameter(("site",), "site")

    def _leaf(self, leaf: Value, type_: str | None) -> str:
        if leaf.op == "immediate":
            return self._parameter(("immediate", leaf.data))
        if leaf.op == "load":
            return f"loaded{leaf.data}"
        if leaf.data == "return address":
            return self._parameter(("return address",))
        if leaf.data == "tile_cntr":
            return f"{self._core('counter')}()"
        key = leaf_key(leaf)
        spot = self.spots[key]
        if spot.kind in ("scalar", "pair"):
            places = [
                f"{self._core('scalars')}[{self._parameter(('index', key, k))}]"
                for k in range(2)[: 1 + (spot.kind == "pair")]
            ]
            return places[0] if len(places) == 1 else f"({places[0]} | {places[1]} << 32)"
        if spot.kind == "compound":
            return f"np.concatenate(({self._view(key, spot, 'u1', 0)}, {self._view(key, spot, 'u1', 1)}))"
        if held_as(leaf) == "int":
            return f"int.from_bytes({self._view(key, spot, 'u1')}.tobytes(), 'little')"
        if spot.bits < leaf.bits:
            padded = f"padded({self._view(key, spot, 'u1')}, {(leaf.bits - spot.bits) // 8})"
            return f"{padded}.view('{type_}')" if type_ else padded
        return self._view(key, spot, type_ or "u1")

    def _view(self, key: Any, spot: Spot, type_: str, part: int | None = None) -> str:
        return self._parameter(("view", key, part, type_, spot.bypassed))

    def _undefined_check(self, stage: int) -> list[str]:
        """Late reads see for themselves whether their register holds a value; reads of cycle 1 the engine checks."""
        late = [key for key, spot in self.spots.items() if key[0] == "r" and spot.cycle == stage]
        if not late:
            return []
        masks = " | ".join(self._parameter(("mask", key)) for key in late)
        undefined = f"{self._core('scalars')}[-1] & ({masks})"
        return [f"if {undefined}: {self._site()}.undefined_late({undefined})"]

    # memory

    def _loads(self, writer: Expressions) -> None:
        for number, load in enumerate(self.effects.loads):
            assert self.memory_cycles == (PLAIN_MEMORY_CYCLE,), self.opcode
            function = self._core(f"load{load.bytes}")
            address = writer.source(load.address)
            writer.lines.append(f"loaded{number} = {function}({address}, now, {self._site()})")

    def _store_begins(self, writer: Expressions) -> list[str]:
        distance = self.stages.part_word_distance
        if distance is None:
            return []
        assert self.effects.store
        address = writer.named(self.effects.store.address)
        writer.lines.append(f"{self._core('part_word_begin')}({address}, now, now + {distance})")
        return []

    def _store_ends(self, stage: int, writer: Expressions) -> list[str]:
        found = self.stages.store_in(stage)
        if found is None:
            return []
        store, distance = found
        address, value = writer.source(store.address), self._stored(store, writer)
        if store.part_word:
            function = self._core("part_word_end")
            return [f"{function}({address}, {store.bytes}, {value}, now + {distance + 1}, {self._site()})"]
        if distance == 0:
            return [f"{self._core(f'store{store.bytes}')}({address}, {value}, now, {self._site()})"]
        function = self._core("store_later")
        return [f"{function}({address}, {value}, now + {distance}, {self._site()})"]

    def _stored(self, store: Store, writer: Expressions) -> str:
        source = writer.source(store.value)
        return f"raw_of({source}, 8)" if held_as(store.value) == "int" and store.bytes == 8 else source

    # control

    def _control(self, writer: Expressions) -> list[str]:
        lines = []
        if lock := self.effects.lock:
            condition = writer.source(lock.condition) if lock.condition else "True"
            number, value = writer.source(lock.id), writer.source(lock.value)
            lines.append(f"if {condition}: {self._core('lock')}({lock.acquire}, {number}, {value}, {self._site()})")
        if self.effects.done:
            lines.append(f"{self._core('stop')}()")
        if self.effects.event is not None:
            lines.append(f"{self._core('signal')}({writer.source(self.effects.event)}, {self._site()})")
        return lines

    def _branch(self, writer: Expressions) -> list[str]:
        branch = self.effects.branch
        if branch is None:
            return []
        target = writer.source(branch.target)
        taken = target if branch.condition is None else f"{target} if {writer.source(branch.condition)} else None"
        writer.lines.append(f"target = {taken}")
        return ["return target"]

    # results

    def _writes(self, landings: list[Landing], writer: Expressions) -> list[str]:
        lines: list[str] = []
        now: list[tuple[str, str]] = []
        for landing in landings:
            write, key, spot, offset = landing.write, landing.key, landing.spot, landing.offset
            if spot.kind in ("scalar", "pair"):
                self._write_scalar(write, key, spot, offset, writer, lines, now)
            else:
                assert spot.kind == "vector" and not write.sticky
                lines += self._write_vector(write, key, spot, offset, writer)
        if now:
            lines.append(f"{', '.join(target for target, _ in now)} = {', '.join(source for _, source in now)}")
        return lines

    def _write_scalar(
        self,
        write: Write,
        key: Any,
        spot: Spot,
        offset: int,
        writer: Expressions,
        lines: list[str],
        now: list[tuple[str, str]],
    ) -> None:
        scalars = self._core("scalars")
        for place, source in enumerate(self._scalar_parts(write.value, spot, writer)):
            index = self._parameter(("index", key, place))
            if offset == 1 and self.direct:
                target = f"{scalars}[{index}]"
                now.append((target, f"{target} | {source}" if write.sticky else source))
            else:
                holder = self._core("sticky") if write.sticky else scalars
                keep = self._parameter(("keep", key))
                lines.append(f"{self._core('ring')}[now + {offset}].append(({holder}, {index}, {source}, {keep}))")

    def _scalar_parts(self, value: Value, spot: Spot, writer: Expressions) -> list[str]:
        source = writer.source(value)
        if spot.kind == "pair":
            name = writer.named(value)
            return [f"{name} & 0xFFFFFFFF", f"{name} >> 32"]
        if value.bits == 1:
            return [f"+{source}"]
        return [source if largest(value) < 1 << spot.bits else f"{source} & {(1 << spot.bits) - 1}"]

    def _write_vector(self, write: Write, key: Any, spot: Spot, offset: int, writer: Expressions) -> list[str]:
        source, type_ = self._lanes_to_write(write.value, spot, writer)
        if spot.twice:
            name = f"v{len(writer.lines)}"
            writer.lines.append(f"{name} = {source}")
            source = name
        ring, keep = self._core("ring"), self._parameter(("keep", key))
        view = self._parameter(("view", key, None, type_, False))
        lines = [f"{ring}[now + {offset}].append(({view}, ALL, {source}, {keep}))"]
        if spot.twice:
            copy = self._parameter(("view", key, None, type_, True))
            if spot.bypassed:
                # after what lands in the same cycle, before what reads late in it: reads see the newest result
                early = f"({self._core('land_early')}, ({copy}, {source}, {keep}))"
                lines.append(f"{self._core('later')}[now + {offset - 1}].append({early})")
            else:
                lines.append(f"{ring}[now + {offset}].append(({copy}, ALL, {source}, -1))")
        return lines

    def _lanes_to_write(self, value: Value, spot: Spot, writer: Expressions) -> tuple[str, str]:
        inner = value
        while inner.op == "cast":
            inner = inner.args[0]
        copied = ".copy()" if shares_storage(inner) else ""
        if inner.lanes * inner.bits == spot.bits:
            if held_as(inner) == "array" and is_exact(inner.bits):
                return writer.source(inner) + copied, dtype(inner.bits)
            if held_as(inner) == "wide":
                return f"{writer.source(inner)}.reshape(-1){copied}", "u8"
        source = (
            f"raw_of({writer.source(value)}, {spot.bits // 8})" if held_as(value) == "int" else writer.source(value)
        )
        if held_as(value) == "raw" and value.bits > spot.bits:
            source = f"{source}[:{spot.bits // 8}]"
        elif held_as(value) == "raw" and value.bits < spot.bits:
            source, copied = f"padded({source}, {(spot.bits - value.bits) // 8})", ""
        return source + copied, "u1"
