"""Loading libraries ahead, in a program of its own: this one has them."""

import subprocess
import sys

_PROGRAM = """
import sys, threading
from pushrod.cli import preloading
before = {*sys.modules}
preloading._LIBRARIES += ("no_such_library",)
preloading.begin()
[thread.join(10) for thread in threading.enumerate() if thread is not threading.main_thread()]
print(*sorted({*sys.modules} - before))
print("yaml" in before)
"""


def test_what_a_deployment_needs_is_loaded_and_what_is_missing_is_no_error() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert {"psutil", "xmlrpc.client", "yaml"} <= {*done.stdout.split()}
    assert done.stderr == ""
