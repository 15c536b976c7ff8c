"""Processors: which integer kernels they have. Pure; facts come from a probe or from this machine."""

from collections.abc import Collection
from dataclasses import dataclass

VNNI = frozenset({"avx512_vnni", "avx_vnni"})
"""Instructions (as /proc/cpuinfo calls them) that add four products of u8 and s8 in int32. Without one of
them ONNX Runtime adds pairs in int16 on x86, which saturates."""

X86 = frozenset({"x86_64", "amd64", "i686"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Processor:
    machine: str
    """`x86_64`, `aarch64`."""
    flags: frozenset[str]
    """Instruction sets, as /proc/cpuinfo calls them."""

    @property
    def is_x86(self) -> bool:
        return self.machine.lower() in X86

    @property
    def has_vnni(self) -> bool:
        return self.is_x86 and bool(VNNI & self.flags)


def processor_of(machine: object, flags: object) -> Processor | None:
    """Returns a processor of what a probe told, whatever that is; None where it told too little."""
    if not isinstance(machine, str) or not isinstance(flags, Collection) or isinstance(flags, str):
        return None
    known = frozenset(flag for flag in flags if isinstance(flag, str))
    processor = Processor(machine=machine, flags=known)
    # Every x86 processor has some: without any, nobody could read them.
    return None if processor.is_x86 and not processor.flags else processor
