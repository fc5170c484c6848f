"""All kinds of lines: to add one, write its file and name it here and in `UplinkKind`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hagw.model.intent import UplinkKind
from hagw.uplinks import dsl, ethernet, pppoe, wifi, wwan
from hagw.uplinks.kind import Kind

KINDS: Final[Mapping[UplinkKind, Kind]] = MappingProxyType(
    {each.KIND.name: each.KIND for each in (dsl, ethernet, pppoe, wwan, wifi)}
)
