"""A worker as a process of its own."""

import subprocess
import sys


def test_a_worker_is_without_openssl() -> None:
    code = (
        "import runpy, sys; sys.argv[1:] = ['--role', 'none']\n"
        "try: runpy.run_module('hagw.worker', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 2\n"
        "from hagw.convert import cookie; assert len(cookie._mac(bytes(32), 'home', 1)) > 0\n"
        "print('hagw.dataplane.cpe' in sys.modules, 'libcrypto' in open('/proc/self/maps').read())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True False\n", done.stderr
