"""One clear sentence for each thing that is missing."""

import sys
from dataclasses import replace

import pytest

from hagw.errors import UnsupportedEnvironment
from hagw.kernel.nft import Nft
from hagw.kernel.preflight import Found, explain

ALL = Found(has_net_admin=True, has_mptcp=True, has_path_manager=True, has_userspace_path_manager=True, nft_error="")


def test_a_machine_that_has_everything_is_fine() -> None:
    assert explain("cpe", ALL) == ()
    assert explain("hag", ALL) == ()


def test_each_lack_is_one_sentence() -> None:
    lacking = Found(
        has_net_admin=False,
        has_mptcp=False,
        has_path_manager=False,
        has_userspace_path_manager=False,
        nft_error="Error: Could not process rule: No such file or directory",
    )
    sentences = explain("cpe", lacking)
    assert len(sentences) == 3
    for sentence, word in zip(sentences, ("CAP_NET_ADMIN", "CONFIG_MPTCP", "tproxy"), strict=True):
        assert word in sentence
        assert "\n" not in sentence


def test_only_a_cpe_needs_the_userspace_path_manager() -> None:
    old = replace(ALL, has_userspace_path_manager=False)
    assert len(explain("cpe", old)) == 1
    assert explain("hag", old) == ()


def test_a_machine_without_nftables_python_module_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nftables", None)
    with pytest.raises(UnsupportedEnvironment, match="python3-nftables"):
        Nft()
