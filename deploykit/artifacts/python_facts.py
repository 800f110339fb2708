"""What there is to know of the Python that runs this.

As a script it prints that; so it needs nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import sysconfig

__all__ = ["facts"]


def facts() -> dict[str, str]:
    """The fields of `interpreter.Interpreter`."""
    return {
        "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
        "version": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": sysconfig.get_platform() + "-" + "-".join(platform.libc_ver()).strip("-"),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts()))
