#!/usr/bin/python
"""Have a machine run a configuration: checked, applied as a transaction, kept only after `hagw confirm`."""

import difflib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: hagw_config
short_description: Have hagw run a configuration
description:
  - Compares the text with the configuration file and with what is in force. If both say the same, nothing is done.
  - Where the daemon runs, the text is put in force by C(hagw apply --confirm-within), and the file is written by
    the daemon once somebody says C(hagw confirm). Where it does not run, the text is checked and written.
  - In check mode nothing is touched. Keys never appear, neither in the difference nor in messages.
options:
  content:
    description: The whole text of the configuration file.
    type: str
    required: true
  secrets:
    description: Values in the text that must not appear anywhere.
    type: list
    elements: str
    default: []
  path:
    description: The configuration file.
    type: path
    default: /etc/hagw/hagw.yaml
  state_dir:
    description: hagw's state directory.
    type: path
    default: /var/lib/hagw
  confirm_within:
    description: Seconds in which C(hagw confirm) must come.
    type: int
    default: 60
author: The hagw authors
"""

EXAMPLES = r"""
- name: Put the configuration in force
  hagw_config:
    content: "{{ document | to_nice_yaml }}"
    secrets: "{{ keys }}"
  register: configured
"""

RETURN = r"""
result:
  description: >-
    C(unchanged); C(pending), waits for C(hagw confirm); C(written), no daemon runs yet; C(in force), only the file
    had to follow; C(expected), in check mode.
  type: str
  returned: success
changes:
  description: What C(hagw plan) or C(hagw apply) says of it.
  type: list
  elements: str
  returned: success
"""

MODE = 0o600
RUN_TIMEOUT_S = 600  # bounds what hangs; a small router may need a minute for what takes a second elsewhere
REFUSALS = {
    2: "The configuration is wrong; nothing was changed.",
    3: "The hagw daemon does not answer: see `journalctl -u hagw`.",
    4: "This machine lacks something; nothing was changed.",
    5: "hagw refused the configuration, or took it back because traffic did not flow; what was in force still is.",
}
_KEY = re.compile(r"\b[0-9A-Fa-f]{64}\b")
_PASSWORD = re.compile(r"(://[^:/@\s]+:)([^@\s]+)(@)")


def masked(text):
    """Return a text whose keys and passwords cannot be read, though a changed one looks changed."""
    text = _KEY.sub(lambda key: f"(secret {_mark(key[0])})", text)
    return _PASSWORD.sub(lambda found: f"{found[1]}(secret {_mark(found[2])}){found[3]}", text)


def _mark(secret):
    return hashlib.sha256(secret.lower().encode()).hexdigest()[:6]


def told(code, text):
    """Return the sentence for a failure: hagw's own, and what its exit code means for the machine."""
    words = " ".join(masked(text).split())
    return f"{REFUSALS.get(code, 'hagw failed.')} hagw says: {words}"


class Hagw:
    """The command line, for one configuration text; `path` is where the text is kept for as long as it is asked."""

    def __init__(self, module):
        self._module = module
        self.command = shutil.which(
            "hagw", path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/opt/hagw/bin"
        )

    def run(self, *words):
        """Return the exit code and both outputs."""
        command = [self.command, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S)
        return done.returncode, done.stdout, done.stderr

    def must(self, *words):
        """Return the standard output, or fail with what hagw said."""
        code, out, err = self.run(*words)
        if code != 0:
            self._module.fail_json(msg=told(code, err or out), rc=code, result="refused")
        return out

    def status(self):
        """Return the status document, None where no daemon runs."""
        code, out, err = self.run("status", "--json")
        if code == 0:
            return json.loads(out)
        if code != 3:
            self._module.fail_json(msg=told(code, err or out), rc=code)
        return None


def difference(path, before, after):
    """Return what --diff shows."""
    return {
        "before_header": str(path),
        "after_header": f"{path} (as configured)",
        "before": masked(before),
        "after": masked(after),
    }


def brief(before, after):
    """Return the changed lines alone, for where no daemon can say what they mean."""
    lines = difflib.unified_diff(masked(before).splitlines(), masked(after).splitlines(), lineterm="", n=0)
    return [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def expected(hagw, staged, status, before, after):
    """Return what would change, in check mode. A configuration that hagw would refuse fails, as it would later."""
    if hagw.command is None:
        return brief(before, after)
    hagw.must("check", staged)
    if status is None:
        return brief(before, after)
    planned = json.loads(hagw.must("plan", staged, "--json"))
    return planned["changes"]


def put(path, content):
    """Write the file as a whole, for root's eyes only."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, MODE)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)


def apply(module, hagw, path, staged, status, content):
    """Have it in force, or on the disk where nothing runs yet; return the result and what changed."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    hagw.must("check", staged)
    if status is None:
        if Path(module.params["state_dir"], "in-force").is_symlink():
            hagw.must("apply", staged, "--offline")  # the next daemon would run what is in force, not the file
        put(path, content)
        return "written", brief(before, content)
    within = str(module.params["confirm_within"])
    document = json.loads(hagw.must("apply", staged, "--confirm-within", within, "--note", "ansible", "--json"))
    if document["result"] == "unchanged" and before != content:
        put(path, content)  # it is in force already: only the file was edited, or lost
        return "in force", brief(before, content)
    return document["result"], document["changes"]


def main():
    """Compare, and act where there is a difference."""
    module = AnsibleModule(
        {
            "content": {"type": "str", "required": True},
            "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "path": {"type": "path", "default": "/etc/hagw/hagw.yaml"},
            "state_dir": {"type": "path", "default": "/var/lib/hagw"},
            "confirm_within": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    path, content = Path(module.params["path"]), module.params["content"]
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    module.no_log_values.update(_KEY.findall(before))
    hagw = Hagw(module)
    if hagw.command is None and not module.check_mode:
        module.fail_json(msg="hagw is not installed here.")
    status = None if hagw.command is None else hagw.status()
    if status is not None and status["pending_confirm_s"] is not None:
        module.fail_json(
            msg="Another change waits for its confirmation: `hagw confirm` or `hagw rollback`, then run again."
        )
    if before == content and (status is None or not status["config_file_differs"]):
        module.exit_json(changed=False, result="unchanged", changes=[])
    with tempfile.TemporaryDirectory(prefix="hagw-") as place:
        staged = Path(place, path.name)
        put(staged, content)
        if module.check_mode:
            result, changes = "expected", expected(hagw, str(staged), status, before, content)
        else:
            result, changes = apply(module, hagw, path, str(staged), status, content)
    module.exit_json(
        changed=result != "unchanged", result=result, changes=changes, diff=difference(path, before, content)
    )


if __name__ == "__main__":
    main()
