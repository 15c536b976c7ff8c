"""What run-pack.py writes into results.tar, and what stays where it is; standard library only."""

import hashlib
import io
import json
import os
import tarfile

from . import protocol


def collect(pack, work, output, outputs):
    """Writes results.tar: all that ended, every file's hash, and that of outputs that stay here.

    Returns the number of files, and the bytes that stay: none where all `outputs` go into it.
    """
    files, left = {}, {}
    for folder, _, found in os.walk(work):
        settled = settled_outputs(folder)
        for name in found:
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, work).replace(os.sep, "/")
            if name.endswith(protocol.PARTIAL):
                continue  # of a run that was killed while it wrote
            if outputs and settled and name.endswith(".bin"):
                continue  # what would come in their place
            if name in settled and not outputs:
                left[inside] = {"sha256": sha256(path), "size_bytes": os.path.getsize(path)}
            elif os.path.isfile(path) and not os.path.islink(path):
                files[inside] = sha256(path)
    content = {"pack": pack["id"], "files": files, "left": left}
    manifest = json.dumps(content, indent=1, sort_keys=True).encode("utf-8")
    with tarfile.open(output + ".part", "w:gz", compresslevel=6) as archive:
        for name in sorted(files):
            archive.add(os.path.join(work, name), arcname=name, filter=anonymous)
        info = tarfile.TarInfo("results.json")
        info.size = len(manifest)
        archive.addfile(info, io.BytesIO(manifest))
    os.replace(output + ".part", output)
    return len(files), sum(one["size_bytes"] for one in left.values())


def settled_outputs(folder):
    """Returns the files of a pass's folder that need not travel; none of other folders."""
    path = os.path.join(folder, protocol.PASS)
    if not os.path.isfile(path) or not os.path.isfile(os.path.join(folder, protocol.SETTLED)):
        return ()
    answer = protocol.read_json(path)
    return {output["file"] for output in answer["outputs"].values()} if answer.get("settled") else ()


def anonymous(info):
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def sha256(path):
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()
