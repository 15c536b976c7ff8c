"""Handed to a Python as `python -c`: prints, as one line of JSON, what that Python is.

Syntax and library of Python 2.7 and 3.5 alike, so that an old Python answers instead of failing.
"""

import glob
import hashlib
import json
import os
import platform
import sys


def content(path):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    with open(path, "rb") as stream:  # noqa: PTH123
        return stream.read()


def headers(text):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name: value for name, colon, value in pairs if colon}


def metadata(entry):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    for name in ("METADATA", "PKG-INFO", ""):
        path = os.path.join(entry, name).rstrip(os.sep)  # noqa: PTH118
        if os.path.isfile(path):  # noqa: PTH113
            return path
    return None


distributions = {}  # type: ignore[var-annotated]
for folder in filter(None, sys.path):  # "" is the working directory: the caller's
    for kind in ("dist-info", "egg-info"):
        for entry in sorted(glob.glob(os.path.join(folder, "*." + kind))):  # noqa: PTH118, PTH207
            described = metadata(entry)
            if described is None:
                continue
            found = headers(content(described).decode("utf-8", "replace").split("\n\n")[0])
            record = os.path.join(entry, "RECORD")  # noqa: PTH118
            has_record = os.path.isfile(record)  # noqa: PTH113
            name = found.get("Name", "").lower().replace("_", "-").replace(".", "-")
            # The first on the path is the one that is imported.
            distributions.setdefault(
                name,
                {
                    "version": found.get("Version"),
                    "record_sha256": hashlib.sha256(content(record)).hexdigest()
                    if has_record
                    else None,
                },
            )

libc = None
if "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {}):
    libc = os.confstr("CS_GNU_LIBC_VERSION")

sys.stdout.write(
    json.dumps(
        {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "platform": sys.platform + "-" + os.uname()[4],
            "libc": libc,
            "distributions": distributions,
        },
        sort_keys=True,
    )
    + "\n"
)
