"""The Ansible roles: specifications by the configuration's schema, linters, and what their modules decide."""

import errno
import importlib.util
import json
import secrets
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

from hagw.config.load import load
from tests.unit import docs

ANSIBLE = docs.ROOT / "ansible"
TOOLS = Path(sys.executable).parent


def module(path: str) -> ModuleType:
    """Return a Python file of `ansible/` as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ANSIBLE / path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


specs = module("argument_specs.py")
probe = module("roles/hagw_base/library/hagw_probe.py")
config = module("roles/hagw_base/library/hagw_config.py")


@pytest.mark.parametrize("role", ["cpe", "hag"])
def test_argument_specifications_are_those_of_the_schema(role: str) -> None:
    written = (ANSIBLE / "roles" / f"hagw_{role}" / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    assert written == specs.text(role), "run: python ansible/argument_specs.py"


def test_specifications_know_every_key_and_hide_the_secret_ones() -> None:
    cpe = specs.specification("cpe")["argument_specs"]["main"]["options"]["hagw_cpe_config"]["options"]
    hag = specs.specification("hag")["argument_specs"]["main"]["options"]["hagw_hag_config"]["options"]
    assert {"lan", "uplinks", "gateways", "rules", "data_caps"} <= cpe.keys()
    assert "version" not in cpe
    assert cpe["uplinks"]["options"]["kind"]["choices"] == ["dsl", "ethernet", "pppoe", "wwan", "wifi"]
    assert cpe["uplinks"]["options"]["rate_down"]["type"] == "raw"  # a number, or one with its unit
    hidden = sorted(_hidden({"cpe": cpe, "hag": hag}))
    assert hidden == sorted(
        [
            *(f"{role}.alerts.webhooks.{name}" for role in ("cpe", "hag") for name in ("secret", "url")),
            "cpe.gateways.key",
            "hag.customers.key",
            "hag.registry.url",
        ]
    )


def _hidden(options: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for name, option in options.items():
        if option.get("no_log") is True:
            found.append(f"{path}{name}")
        inner = option.get("options", option if not path else {})
        found += _hidden(inner, f"{path}{name}.") if isinstance(inner, dict) else []
    return found


@pytest.mark.slow
def test_ansible_lint_has_nothing_to_say_about_roles_and_playbooks() -> None:
    done = _tool("ansible-lint", "--offline", "--nocolor")
    assert done.returncode == 0, done.stdout + done.stderr


def test_yamllint_has_nothing_to_say() -> None:
    done = _tool("yamllint", "--strict", ".")
    assert done.returncode == 0, done.stdout + done.stderr


def _tool(name: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([TOOLS / name, *words], cwd=ANSIBLE, capture_output=True, text=True, check=False, timeout=110)


@pytest.mark.parametrize("host", ["home", "shop"])
def test_the_example_inventory_s_cpes_have_configurations_that_hagw_accepts(host: str) -> None:
    variables = yaml.safe_load((ANSIBLE / "inventory/example/host_vars" / f"{host}.yml").read_text(encoding="utf-8"))
    document = {"version": 1, "role": "cpe", **variables["hagw_cpe_config"]}
    load(_with_secrets(document), host)


def test_the_example_inventory_s_hag_has_a_configuration_that_hagw_accepts() -> None:
    variables = yaml.safe_load((ANSIBLE / "inventory/example/group_vars/hagw_hag.yml").read_text(encoding="utf-8"))
    load(_with_secrets({"version": 1, "role": "hag", **variables["hagw_hag_config"]}), "hag")


def _with_secrets(document: dict[str, Any]) -> str:
    return json.dumps(document).replace("{{ vault_hagw_shop_key }}", secrets.token_hex(32))


@pytest.mark.parametrize(
    ("enrolments", "astray"),
    [
        ([], []),
        ([{"gateway": "hag", "at": "hag1"}], []),
        ([{"gateway": "hga", "at": "hag1"}, {"gateway": "hag", "at": "hag7"}], ["hga", "hag7"]),
    ],
)
def test_enrolments_at_nobody_are_named(enrolments: list[dict[str, str]], astray: list[str]) -> None:
    variables = yaml.safe_load((ANSIBLE / "roles/hagw_cpe/vars/main.yml").read_text(encoding="utf-8"))
    found = NativeEnvironment().from_string(variables["hagw_cpe_astray"]).render(
        hagw_cpe_enrol=enrolments,
        hagw_cpe_config={"gateways": [{"name": "hag"}]},
        groups={"all": ["hag1", "home"]},
    )  # fmt: skip
    assert found == astray


def test_the_seconds_to_confirm_a_first_start_count_from_when_it_is_over() -> None:
    tasks = yaml.safe_load((ANSIBLE / "roles/hagw_base/tasks/first_start.yml").read_text(encoding="utf-8"))
    (run,) = [
        argv
        for each in tasks
        if (argv := each.get("ansible.builtin.command", {}).get("argv", [""]))[0] == "systemd-run"
    ]
    assert "--property=ExecStartPre=-/usr/bin/systemctl restart hagw.service" in run  # what follows waits for its end
    assert "--property=TimeoutStartSec=infinity" in run  # the service's own bound holds
    assert not any(word.startswith("--on-active") for word in run)
    script = run[-1]
    assert script.startswith("sleep {{ hagw_base_confirm_within }};")
    assert script.index("disable --now hagw.service") < script.index("hagw clear") < script.index("mv /etc/hagw")


# -- the probe


def test_a_kernel_that_has_everything_is_no_problem() -> None:
    assert probe.kernel_problems("cpe", "6.1.0-37-amd64", 0, True, True) == []


def test_multipath_tcp_that_is_only_switched_off_is_no_problem() -> None:
    assert probe.kernel_problems("hag", "6.12.1", errno.ENOPROTOOPT, True, None) == []


def test_tproxy_that_nobody_can_try_yet_is_no_problem() -> None:
    assert probe.kernel_problems("cpe", "6.12.1", 0, True, None) == []


@pytest.mark.parametrize(
    ("role", "release", "error", "userspace", "tproxy", "words"),
    [
        ("hag", "5.10.0-28-amd64", 0, True, None, "too old. Boot Linux 6.1"),
        ("hag", "6.6.1", errno.EPROTONOSUPPORT, True, None, "no Multipath TCP. Boot one that has"),
        ("cpe", "6.6.1", 0, False, True, "no userspace path manager"),
        ("cpe", "6.6.1", 0, True, False, "cannot do TPROXY in nftables. Boot one with"),
    ],
)
def test_what_a_kernel_lacks_is_said_with_what_to_do(
    role: str, release: str, error: int, userspace: bool, tproxy: bool | None, words: str
) -> None:
    (problem,) = probe.kernel_problems(role, release, error, userspace, tproxy)
    assert words in problem


GATEWAY = {"name": "hag", "port": 5124}


@pytest.mark.parametrize(
    ("answers", "may_refuse", "words"),
    [
        ({"192.0.2.1": "no answer within 5 s", "2001:db8::1": "open"}, False, None),
        ({"192.0.2.1": "refused"}, True, None),
        ({"192.0.2.1": "refused"}, False, "is its converter running"),
        ({"192.0.2.1": "no answer within 5 s"}, True, "firewalls on the way to TCP port 5124"),
        ({"192.0.2.1": "Network is unreachable"}, True, "192.0.2.1: Network is unreachable"),
    ],
)
def test_a_gateway_is_reachable_by_one_of_its_addresses(
    answers: dict[str, str], may_refuse: bool, words: str | None
) -> None:
    problem = probe.gateway_problem(GATEWAY, answers, may_refuse)
    assert problem is None if words is None else words in problem


def test_an_address_nobody_listens_at_refuses() -> None:
    assert probe.ask("127.0.0.1", 1, 1) == "refused"


# -- what the module for configurations shows


def test_a_difference_shows_that_a_key_changed_but_no_key() -> None:
    old, new = "ab" * 32, "cd" * 32
    shown = config.brief(f"name: x\nkey: {old}\n", f"name: x\nkey: {new}\n")
    assert len(shown) == 2
    assert all("key: (secret " in line for line in shown)
    assert old not in "".join(shown)
    assert new not in "".join(shown)


def test_a_difference_shows_no_password_of_a_database() -> None:
    shown = config.masked("url: postgresql://hagw:hunter2@db.example.org/hagw")
    assert shown.startswith("url: postgresql://hagw:(secret ")
    assert shown.endswith("@db.example.org/hagw")
    assert "hunter2" not in shown


def test_what_hagw_refuses_is_told_with_what_became_of_the_machine() -> None:
    assert config.told(5, "no interface\nwan9").startswith("hagw refused the configuration, or took it back")
    assert config.told(2, "no interface\nwan9").endswith("hagw says: no interface wan9")
