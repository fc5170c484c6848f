"""Somebody in the LAN who runs the Ansible playbook against the hosts."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from host import Site

ANSIBLE: Final = Path(__file__).parents[2] / "ansible"
PLAYBOOK: Final = Path(sys.executable).with_name("ansible-playbook")
PLAY_TIMEOUT_S: Final = 300
CONFIRM_S: Final = 15


@dataclass
class Played:
    """What came of a run."""

    code: int
    text: str
    took_s: float
    changed: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, done: "subprocess.CompletedProcess[str]", took_s: float) -> "Played":
        recap = re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", done.stdout, flags=re.MULTILINE)
        changed = {host: int(count) for host, count in recap}
        return cls(done.returncode, done.stdout + done.stderr, took_s, changed)


class Operator:
    """Runs the playbook. `groups` are the inventory's, `variables` hold for every host."""

    def __init__(self, site: Site, groups: Mapping[str, Any], **variables: Any) -> None:
        self._site = site
        self._groups = groups
        self._common: dict[str, Any] = {
            "ansible_user": "root",
            "ansible_ssh_common_args": f"-F {site.ssh_config()}",
            "hagw_base_confirm_within": CONFIRM_S,
            **variables,
        }

    def play(self, *options: str, **variables: Any) -> Played:
        """Run it, for CPEs with other variables than usual."""
        inventory = self._site.home / "inventory.json"
        inventory.write_text(json.dumps(self._inventory(variables)), encoding="utf-8")
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
            "ANSIBLE_HOME": str(self._site.home / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
        }
        command = [str(PLAYBOOK), "-i", str(inventory), str(ANSIBLE / "site.yml"), *options]
        began = time.monotonic()
        done = self._site.operate(*command, env=environment, timeout_s=PLAY_TIMEOUT_S)
        return Played.of(done, time.monotonic() - began)

    def _inventory(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        groups = {name: {"hosts": dict(hosts)} for name, hosts in self._groups.items()}
        for name, own in groups.get("hagw_cpe", {"hosts": {}})["hosts"].items():
            groups["hagw_cpe"]["hosts"][name] = {**own, **variables}
        return {"all": {"vars": self._common, "children": groups}}
