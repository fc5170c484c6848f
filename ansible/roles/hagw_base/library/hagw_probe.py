#!/usr/bin/python
"""Look whether a machine can become a CPE or a HAG: its kernel, and for a CPE its gateways. Changes nothing.

Works before hagw is installed, with Python's standard library alone. `hagw doctor` sees more once it is there.
"""

import errno
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: hagw_probe
short_description: Look whether a machine can become a CPE or a HAG
description:
  - Tries what hagw needs of the kernel and, for a CPE, whether its gateways are there. Never changes anything.
  - Works before hagw is installed. What is wrong is returned, never a failure, so that the caller can say it.
options:
  role:
    description: What the machine is to be.
    type: str
    choices: [cpe, hag]
    required: true
  gateways:
    description: Addresses and TCP ports that a CPE has to reach, as the configuration names them.
    type: list
    elements: dict
    default: []
    options:
      name: {description: Name of the gateway., type: str, required: true}
      addresses: {description: Its addresses; one that answers is enough., type: list, elements: str, required: true}
      port: {description: TCP port of its converter., type: int, default: 5124}
  refused_is_there:
    description: Whether a gateway that refuses connections counts as reachable, as it will be installed in this run.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for an answer of each address.
    type: int
    default: 5
author: The hagw authors
"""

EXAMPLES = r"""
- name: Look at the machine
  hagw_probe:
    role: cpe
    gateways: [{name: hag, addresses: [198.51.100.10]}]
  register: probed
"""

RETURN = r"""
problems:
  description: What is missing, and what to do about it; empty if nothing is.
  type: list
  elements: str
  returned: always
"""

LEAST = (6, 1)
# the option's number says why; both are from the kernel's own headers
IPPROTO_MPTCP = 262
TRIAL = (
    "table inet hagw-trial { chain p { type filter hook prerouting priority mangle; "
    "meta l4proto tcp socket transparent 1 meta mark set ct mark accept; "
    "meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:5128 accept; }; "
    "chain n { type nat hook postrouting priority srcnat; masquerade; }; }\n"
)
NO_MPTCP = (
    "This kernel ({release}) has no Multipath TCP. Boot one that has: Linux 6.1 or later with CONFIG_MPTCP,"
    " as Debian's own kernels (apt install linux-image-amd64)."
)


def kernel_problems(role, release, mptcp_error, has_userspace_pm, tproxy):
    """Return what the kernel lacks, as sentences that say what to do. `tproxy` is None where nobody can tell yet."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if found and (int(found[1]), int(found[2])) < LEAST:
        return [f"This kernel ({release}) is too old. Boot Linux 6.1 or later, as Debian 12 and 13 have it."]
    if mptcp_error not in (0, errno.ENOPROTOOPT):  # there, but switched off: hagw switches it on
        return [NO_MPTCP.format(release=release)]
    problems = []
    if role == "cpe" and not has_userspace_pm:
        problems.append(
            f"This kernel ({release}) has no userspace path manager for Multipath TCP. Boot Linux 6.1 or later."
        )
    if role == "cpe" and tproxy is False:
        problems.append(
            f"This kernel ({release}) cannot do TPROXY in nftables. Boot one with CONFIG_NFT_TPROXY and"
            " CONFIG_NFT_SOCKET, as Debian's own kernels."
        )
    return problems


def gateway_problem(gateway, answers, refused_is_there):
    """Return what is wrong with a gateway by the answers of its addresses (`open`, `refused`, or why not), or None."""
    if "open" in answers.values() or (refused_is_there and "refused" in answers.values()):
        return None
    told = "; ".join(f"{address}: {answer}" for address, answer in answers.items())
    advice = (
        "is its converter running (`hagw status` there), and the port right?"
        if "refused" in answers.values()
        else "check address, routes and firewalls on the way to TCP port {port}.".format(**gateway)
    )
    return "The HAG {name} is not reachable at port {port} ({told}): ".format(told=told, **gateway) + advice


def mptcp_error():
    """Return 0 if the kernel gives a Multipath TCP socket, else why not."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
    except OSError as error:
        return error.errno
    return 0


def has_userspace_pm():
    """Return whether the kernel lets a program manage paths."""
    return any(Path("/proc/sys/net/mptcp", name).exists() for name in ("pm_type", "path_manager"))


def tproxy_works():
    """Try TPROXY of nftables in a network namespace of its own; return None where nft is not there yet."""
    nft = shutil.which("nft", path=os.defpath + ":/usr/sbin:/sbin")
    if nft is None:
        return None
    command = ["unshare", "--net", nft, "-f", "-"]
    done = subprocess.run(command, input=TRIAL, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode == 0


def ask(address, port, timeout_s):
    """Return how an address answers a TCP connection: `open`, `refused`, or why there is no answer."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as asking:
        asking.settimeout(timeout_s)
        try:
            asking.connect((address, port))
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return f"no answer within {timeout_s} s"
        except OSError as why:
            return why.strerror or str(why)
    return "open"


def main():
    """Look, and tell what is missing."""
    gateway = {
        "name": {"type": "str", "required": True},
        "addresses": {"type": "list", "elements": "str", "required": True},
        "port": {"type": "int", "default": 5124},
    }
    module = AnsibleModule(
        {
            "role": {"type": "str", "choices": ["cpe", "hag"], "required": True},
            "gateways": {"type": "list", "elements": "dict", "default": [], "options": gateway},
            "refused_is_there": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    asked = module.params
    role = asked["role"]
    tproxy = tproxy_works() if role == "cpe" else None
    problems = kernel_problems(role, os.uname().release, mptcp_error(), has_userspace_pm(), tproxy)
    for each in asked["gateways"]:
        answers = {address: ask(address, each["port"], asked["timeout"]) for address in each["addresses"]}
        problem = gateway_problem(each, answers, asked["refused_is_there"])
        if problem is not None:
            problems.append(problem)
    module.exit_json(changed=False, problems=problems)


if __name__ == "__main__":
    main()
