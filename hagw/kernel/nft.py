"""The nftables table: put, drop, read back, and the sets that are filled while running."""

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from typing import Any, Final

from hagw.errors import UnsupportedEnvironment
from hagw.kernel.netlink import NLM_F_ACK, NetlinkSocket, attributes
from hagw.model.ids import NFT_FAMILY, NFT_TABLE
from hagw.model.intent import IPAddress
from hagw.plan.named import NAMED_PREFIX

_WHERE: Final = {"family": NFT_FAMILY, "table": NFT_TABLE}
_TABLE: Final = {"table": {"family": NFT_FAMILY, "name": NFT_TABLE}}
_ENOENT_TEXT: Final = "No such file or directory"
_NETLINK_NETFILTER: Final = 12
_GET_GENERATION: Final = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
_NFTA_GEN_ID: Final = 1
_PUTS_MAX: Final = 3
_HEADER: Final = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource id


class NftRefused(OSError):
    """The kernel or libnftables refused a batch; the old table stands whole."""


class Nft:
    """One libnftables context: bound to the network namespace of the thread that makes it, and used by that one."""

    def __init__(self) -> None:
        """Raise UnsupportedEnvironment where Debian's package is missing: pip cannot bring it along."""
        try:
            from nftables import Nftables
        except ImportError:
            raise UnsupportedEnvironment(
                "the Python module of nftables is missing: install python3-nftables, and let a virtual environment"
                " see it (python3 -m venv --system-site-packages)"
            ) from None
        self._context = Nftables()
        self._context.set_json_output(True)
        self._netlink = NetlinkSocket(_NETLINK_NETFILTER)
        self._seen: tuple[int, str | None] | None = None  # the kernel's count of changes, and the digest at that time

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def replace(self, text: str) -> str:
        """Put the table from nothing, in one transaction; return the digest of what the kernel shows afterwards."""
        wanted = json.loads(text)
        anew = [{"add": _TABLE}, {"delete": _TABLE}, {"add": _TABLE}, *_objects(wanted), *_contents(wanted)]
        return self._put(lambda: anew)

    def update(self, text: str) -> str:
        """Replace rules and fixed sets in one transaction; counters and the sets filled while running stay.

        Only for a table that has the same objects already, but for the sets of names, which come and go. Returns the
        digest of what the kernel shows afterwards.
        """
        wanted = json.loads(text)
        emptied = [{"flush": {"set": {**_WHERE, "name": each["name"]}}} for each in wanted["sets"] if _is_fixed(each)]

        def batch() -> list[dict[str, Any]]:
            over = [{"delete": {"set": {**_WHERE, "name": name}}} for name in self._named() - _names(wanted["sets"])]
            # Flushing needs the table: one that somebody has just removed is not made anew unnoticed.
            return [{"flush": _TABLE}, *_objects(wanted), *emptied, *over, *_contents(wanted, _is_fixed)]

        return self._put(batch)

    def drop(self) -> None:
        """Remove the table; one that is not there is fine."""
        self._run([{"add": _TABLE}, {"delete": _TABLE}])

    def empty_chain(self, name: str) -> None:
        """Remove a chain's rules; a table that is not there is fine."""
        if self._list() is not None:
            self._run([{"flush": {"chain": {**_WHERE, "name": name}}}])

    def digest(self) -> str | None:
        """Return the digest of what the kernel shows, None when there is no table.

        The kernel counts the changes of a namespace's rulesets: while the count stands, what was read holds. Asking
        for it takes 20 µs, listing the table 7 ms.
        """
        generation = self._generation()
        if self._seen is None or self._seen[0] != generation:
            listing = self._list()
            digest = None if listing is None else _digest(listing)
            # Something changed while it was listed: listed once more next time.
            self._seen = (generation, digest) if self._generation() == generation else None
            return digest
        return self._seen[1]

    def counters(self) -> dict[str, int]:
        """Return the packets counted by each counter; empty when there is no table."""
        found = (entry["counter"] for entry in self._list({"counters": _TABLE}) or () if "counter" in entry)
        return {counter["name"]: counter["packets"] for counter in found}

    def intercepted(self) -> frozenset[str]:
        """Return the families ("ip", "ip6") whose new connections are handed to the listener."""
        found = set()
        for entry in self._list() or ():
            for expression in entry.get("rule", {}).get("expr", ()):
                if "tproxy" in expression:
                    found.add(expression["tproxy"]["family"])
        return frozenset(found)

    def add_refused(self, address: IPAddress, port: int, timeout_s: float) -> None:
        """Leave connections to this destination alone for a while. Raises NftRefused when there is no table."""
        name = "refused4" if isinstance(address, IPv4Address) else "refused6"
        value = {"concat": [str(address), port]}
        element = {"elem": {"val": value, "timeout": max(1, round(timeout_s))}}
        # Adding alone would not prolong one that is there already, and deleting needs that it is there.
        where = {**_WHERE, "name": name}
        self._run(
            [
                {"add": {"element": {**where, "elem": [element]}}},
                {"delete": {"element": {**where, "elem": [value]}}},
                {"add": {"element": {**where, "elem": [element]}}},
            ]
        )

    def add_named(self, elements: Mapping[str, Mapping[IPAddress, float]]) -> None:
        """Put addresses into sets of names, each for so many seconds. Raises NftRefused where a set is not there."""
        commands = []
        for name, own in elements.items():
            entries = [
                {"elem": {"val": str(address), "timeout": max(1, round(timeout_s))}}
                for address, timeout_s in own.items()
            ]
            where = {**_WHERE, "name": name}
            # As with `add_refused`: what is there is prolonged by making it anew.
            values = [str(address) for address in own]
            commands += [
                {verb: {"element": {**where, "elem": elem}}}
                for verb, elem in (("add", entries), ("delete", values), ("add", entries))
            ]
        if commands:
            self._run(commands)

    def _named(self) -> set[str]:
        """Return the sets of names that there are."""
        listing = self._list({"sets": _TABLE}) or ()
        return _names(entry["set"] for entry in listing if "set" in entry)

    def refused(self) -> list[tuple[str, int]]:
        """Return the destinations that are left alone now."""
        found = []
        for entry in self._list() or ():
            if entry.get("set", {}).get("name") in ("refused4", "refused6"):
                for element in entry["set"].get("elem", ()):
                    address, port = element["elem"]["val"]["concat"]
                    found.append((address, port))
        return found

    def _generation(self) -> int:
        [answer] = self._netlink.request(_GET_GENERATION, _HEADER.pack(0, 0, 0), NLM_F_ACK)
        generation: int = struct.unpack(">I", dict(attributes(answer[_HEADER.size :]))[_NFTA_GEN_ID])[0]
        return generation

    def _put(self, batch: Callable[[], list[dict[str, Any]]]) -> str:
        """Run a batch and return the digest of what the kernel shows of it, and of nothing that others did after it."""
        for _ in range(_PUTS_MAX):
            before = self._generation()
            self._run(batch())
            digest = self.digest()
            if self._seen == ((before + 1) % (1 << 32), digest) and digest is not None:
                return digest
        if digest is None:
            raise NftRefused("the table is gone as often as it is put")
        return digest  # others change rules of their own all the time

    def _list(self, what: dict[str, Any] = _TABLE) -> list[dict[str, Any]] | None:
        try:
            code, output, error = self._context.json_cmd({"nftables": [{"list": what}]})
        except ValueError as why:  # nftables 1.0 breaks off where it should name who owns a table
            raise NftRefused(f"the table cannot be read: nftables' JSON is broken ({why})") from why
        if code != 0:
            if _ENOENT_TEXT in error:
                return None
            raise NftRefused(error.strip())
        listing: list[dict[str, Any]] = output["nftables"]
        return listing

    def _run(self, commands: list[dict[str, Any]]) -> None:
        code, _output, error = self._context.json_cmd({"nftables": commands})
        if code != 0:
            raise NftRefused(error.strip())


def _objects(wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the commands that make counters, sets and chains: each may be there already."""
    for name in wanted["counters"]:
        yield {"add": {"counter": {**_WHERE, "name": name}}}
    for each in wanted["sets"]:
        yield {"add": {"set": {**_WHERE, **{key: value for key, value in each.items() if key != "elem"}}}}
    for chain in wanted["chains"]:
        yield {"add": {"chain": {**_WHERE, **{key: value for key, value in chain.items() if key != "rules"}}}}


def _names(sets: Iterable[dict[str, Any]]) -> set[str]:
    return {each["name"] for each in sets if each["name"].startswith(NAMED_PREFIX)}


def _is_fixed(wanted_set: dict[str, Any]) -> bool:
    """Tell whether a set holds what was put and nothing else; what has a timeout lives its own life."""
    return "elem" in wanted_set and "timeout" not in wanted_set


def _contents(
    wanted: dict[str, Any], is_filled: Callable[[dict[str, Any]], bool] = lambda _: True
) -> Iterator[dict[str, Any]]:
    """Yield the commands that fill sets and chains."""
    for each in wanted["sets"]:
        if each.get("elem") and is_filled(each):
            yield {"add": {"element": {**_WHERE, "name": each["name"], "elem": each["elem"]}}}
    for chain in wanted["chains"]:
        for rule in chain["rules"]:
            yield {"add": {"rule": {**_WHERE, "chain": chain["name"], "expr": rule}}}


def _digest(listing: list[dict[str, Any]]) -> str:
    """Digest what was put: without handles, counts, and elements that come and go."""
    kept = []
    for entry in listing:
        for kind, fields in entry.items():
            if kind == "metainfo":
                continue
            fixed = {key: value for key, value in fields.items() if key not in ("handle", "packets", "bytes")}
            if "timeout" in fixed:
                fixed.pop("elem", None)
            kept.append({kind: fixed})
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
