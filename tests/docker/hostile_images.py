"""Images that mean harm: a Python whose start-up file attacks in place of the job, or when it is asked what it is.

    python -m tests.docker.hostile_images

builds each, runs it through the Docker environment as a cell beside an honest one, and says how many files of
the host changed.
"""

import argparse
import hashlib
import io
import sys
import sysconfig
import tarfile
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from tests.docker import rootfs
from tests.fakes.environment import HONEST, PRELUDE, ScriptedEnvironment
from tests.unit.hostile_jobs import BAD_ANSWERS, LINKS
from tests.unit.matrices import Trial
from tests.unit.passes import FP32, SHARED
from trt_matrix.core.cells import Status
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.docker.environment import DockerEnvironment
from trt_matrix.environments.local import JOB_HOME
from trt_matrix.execution import quota

SECRET = b"host's own file, of nobody's concern: 7f3c"
RESULTS_BYTES = 20_000_000
DEADLINE_S = 30
MEMORY_GB = 0.25

START = """
import sys
if sys.orig_argv[1:3] == ["-m", "job"]:
    import os, time
    sys.argv = ["job", *sys.orig_argv[3:5]]
    HOST = {host!r}
{job}
    os._exit(0)
elif "-c" in sys.orig_argv:
{asked}
"""
"""sitecustomize.py: what every start of Python runs first."""

AFTER = """
for one in request["passes"]:
    answer(one)
if request["calibration"]:
    calibrate()
name = request["passes"][0]["name"] if request["passes"] else "none"
def attack():
    path = os.path.join(RESULT, "passes", name, "small.npy")
    if os.path.exists(path):
        os.unlink(path)
    {attack}
if request["passes"]:
    attack()
finish()
"""

BEFORE = (
    """
if request["passes"]:
    name = request["passes"][0]["name"]
    os.makedirs(os.path.join(RESULT, "passes", name))
    {attack}
"""
    + HONEST
)

TRIED = """
import ctypes, socket, stat, threading
def tried(what):
    try:
        what()
    except Exception as error:
        print(type(error).__name__, error, flush=True)
"""

SWAPPING = """
def swap():
    path = os.path.join(RESULT, "passes", request["passes"][0]["name"])
    while True:
        for file in ("large.npy", "pass.json"):
            for source in (HOST, "/etc/passwd", os.path.dirname(HOST)):
                try:
                    os.symlink(source, os.path.join(path, "link"))
                    os.replace(os.path.join(path, "link"), os.path.join(path, file))
                except OSError:
                    pass
        answer(request["passes"][0])
if request["passes"]:
    answer(request["passes"][0])
    threading.Thread(target=swap, daemon=True).start()
    time.sleep(4)
"""

CONTAINED = {
    "writes to its inputs": "[tried(lambda: open('/request/' + one, 'r+b').write(b'x')) for one in os.listdir('/request')]",
    "makes its inputs writable": "[tried(lambda: os.chmod('/request/' + one, 0o777)) for one in os.listdir('/request')]",
    "removes its inputs": "[tried(lambda: os.unlink('/request/' + one)) for one in os.listdir('/request')]",
    "truncates its inputs": "[tried(lambda: os.truncate('/request/' + one, 0)) for one in os.listdir('/request')]",
    "links its inputs into the results": "[tried(lambda: os.link('/request/' + one, '/results/' + one)) for one in os.listdir('/request')]",
    "changes the job": "tried(lambda: open('/trt-matrix/job/__main__.py', 'a').write('x')); tried(lambda: os.rename('/trt-matrix/job', '/trt-matrix/x'))",
    "reaches for the host's root": "[tried(lambda: open(one + HOST, 'ab').write(b'x')) for one in ('/proc/1/root', '/proc/self/root', '/proc/1/cwd', '/results/../..')]",
    "mounts": "[tried(lambda: print(ctypes.CDLL(None, use_errno=True).mount(b'/dev/vda', b'/tmp', kind, 0, None))) for kind in (b'ext4', b'proc', b'tmpfs')]",
    "makes a user namespace": "tried(lambda: print(ctypes.CDLL(None).unshare(0x10000000 | 0x20000)))",
    "makes the disk's device": "[tried(lambda: os.mknod('/results/disk%d' % n, stat.S_IFBLK | 0o666, os.makedev(n, 0))) for n in (8, 252, 253, 254, 259)]",
    "opens devices": "[tried(lambda: open(one, 'r+b').write(b'x')) for one in ('/dev/mem', '/dev/kmsg', '/dev/vda', '/dev/sda', '/dev/fuse')]",
    "asks the Docker engine": "[tried(lambda: socket.socket(socket.AF_UNIX).connect(one)) for one in ('/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock')]",
    "goes to the network": "[tried(lambda: socket.create_connection(one, 2)) for one in (('172.17.0.1', 22), ('127.0.0.1', 2375), ('169.254.169.254', 80))]",
    "writes to the kernel": "[tried(lambda: open(one, 'w').write('|/results/evil')) for one in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/kernel/modprobe', '/sys/kernel/uevent_helper')]",
    "writes to its cgroup": "[tried(lambda: open(os.path.join(at, one), 'w').write('max')) for at, _, files in os.walk('/sys/fs/cgroup') for one in files if 'release_agent' in one or one.endswith('.max')]",
    "writes to open files": "[tried(lambda: os.write(n, b'x')) for n in range(3, 1024)]",
    "kills everything": "tried(lambda: os.kill(-1, 9))",
    "traces other processes": "[tried(lambda: print(ctypes.CDLL(None).ptrace(16, n, 0, 0))) for n in range(1, 400)]",
    "loads a module": "tried(lambda: print(ctypes.CDLL(None).syscall(175, b'x', 1, b'')))",
    "becomes root": "[tried(what) for what in (lambda: os.setuid(0), lambda: os.setgroups([0]), lambda: os.chroot('/tmp'))]",
    "leaves a program that runs as its owner": "open('/results/evil', 'wb').write(b'#!/bin/sh'); os.chmod('/results/evil', 0o6777)",
    "leaves what nobody may read": "os.makedirs('/results/closed/in'); open('/results/closed/in/x', 'w'); os.chmod('/results/closed/in', 0); os.chmod('/results/closed', 0)",
    "makes what it leaves immutable": "import fcntl; f = open('/results/fixed', 'w'); tried(lambda: fcntl.ioctl(f, 0x40086602, (16).to_bytes(8, 'little')))",
    "leaves a socket": "socket.socket(socket.AF_UNIX).bind('/results/socket')",
    "leaves names of all bytes": "[tried(lambda: open(b'/results/' + bytes([n]) * 3 + b'\\xff\\n', 'w')) for n in range(1, 256)]",
    "leaves links at every level": "os.makedirs('/results/' + '/'.join('abcdefgh')); [os.symlink(HOST, os.path.join(at, 'link')) for at, _, _ in os.walk('/results')]",
    "leaves attributes": "[tried(lambda: os.setxattr('/results', one, b'x' * 60000)) for one in ('user.x', 'trusted.x', 'security.capability', 'system.posix_acl_access')]",
    "takes all processes": "\nfor _ in range(6000):\n    try:\n        if os.fork() == 0:\n            time.sleep(20)\n            os._exit(0)\n    except OSError:\n        break",
    "takes all memory": "held = [bytearray(1 << 26) for _ in range(64)]",
    "fills /tmp and shared memory": "[tried(lambda: open(one, 'wb').write(bytes(1 << 28))) for one in ('/tmp/x', '/dev/shm/x')]",
    "floods its log": "[os.write(1, b'x' * 65536) for _ in range(3000)]",
    "writes escapes to its log": "os.write(1, b'\\x1b]0;evil\\x07\\x1b[2J\\x1b[31m' * 1000); os.write(2, bytes(range(256)) * 100)",
    "leaves a process behind": "\nif os.fork() == 0:\n    os.setsid()\n    while True:\n        tried(lambda: open('/results/late', 'a').write('x'))",
    "swaps its answers for links": SWAPPING,
    "leaves 30 MB": "open('/results/large', 'wb').write(bytes(30_000_000)); time.sleep(25)",
    "leaves 200 GiB of holes": "open('/results/holes', 'w'); os.truncate('/results/holes', 200 << 30)",
    "leaves folders 3,000 deep": "\nos.chdir(RESULT)\nfor _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')\nos.chdir('/')",
    "never ends": "time.sleep(3600)",
    "ignores that it is to end": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)",
}  # fmt: skip
"""What only a container can be asked → statements before an honest answer."""

ASKED = {
    "says deep JSON": "print('[' * 200000)",
    "says something without end": "while True: print('x' * 60000)",
    "says a path as a version": "import json; print(json.dumps({'version': '../../../../tmp/evil', 'implementation': '/', 'distributions': {'../../evil': '1'}}))",
    "says an escape": "print('\\x1b[2J\\x1b]0;evil\\x07')",
    "says nothing and stays": "import time; time.sleep(3600)",
}  # fmt: skip
"""What the image does when it is asked for its Python → statements in its place."""

SHOWN = {
    "a probe of text": "write('probe.json', {'engine': 'text', 'packages': 7})",
    "a deep probe": "write('probe.json', '[' * 100000)",
    "a stage of escapes": "write('stage.txt', chr(27) + '[2J' + 'x' * 10 ** 6)",
    "a stage that is a folder": "os.mkdir(os.path.join(RESULT, 'stage.txt'))",
}


def scripts() -> Mapping[str, tuple[str, str]]:
    """Returns what an image does → (in place of the job, where it is asked what it is)."""
    found: dict[str, tuple[str, str]] = {}
    for number, attack in enumerate(LINKS):
        found[f"link {number} after its answer"] = (AFTER.format(attack=attack), "pass")
        found[f"link {number} before it"] = (BEFORE.format(attack=attack), "pass")
    for name, attack in BAD_ANSWERS.items():
        first = f"""
for one in request["passes"]:
    if one["name"] == "fp32":
        {attack}
    else:
        answer(one)
finish()
"""
        found[f"answers {name}"] = (first, "pass")
    for name, attack in SHOWN.items():
        found[f"shows {name}"] = ("stage = lambda text: None\n" + attack + HONEST, "pass")
    for name, attack in CONTAINED.items():
        found[name] = (TRIED + attack + "\n" + HONEST, "pass")
    for name, attack in ASKED.items():
        found[name] = (
            HONEST,
            attack + "; import os; os._exit(0)" if "while" not in attack else attack,
        )
    return found


@contextmanager
def image_of(
    client: docker.DockerClient, base: str, job: str, asked: str, host: Path
) -> Iterator[str]:
    """Builds a hostile image; it is gone afterwards."""
    text = START.format(
        host=str(host),
        job=textwrap.indent(PRELUDE + textwrap.dedent(job), "    "),
        asked=textwrap.indent(asked, "    "),
    )
    library = Path(sysconfig.get_path("stdlib"))
    claimed = library / "site-packages/numpy-2.0.0.dist-info"
    files = {
        "sitecustomize.py": text,
        "METADATA": "Metadata-Version: 2.1\nName: numpy\nVersion: 2.0.0\n",
        "Dockerfile": f"FROM {base}\nCOPY sitecustomize.py {library}/\nCOPY METADATA {claimed}/\n",
    }
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content.encode())
            tar.addfile(entry, io.BytesIO(content.encode()))
    context.seek(0)
    name = f"trt-matrix-test/hostile:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    client.images.build(fileobj=context, custom_context=True, tag=name, rm=True)
    try:
        yield name
    finally:
        with suppress(ImageNotFound):
            client.images.remove(name, force=True)


def state(folders: list[Path]) -> Mapping[str, tuple[object, ...]]:
    """Returns path → mode, owner, links, and content or target, of all that is below."""
    found: dict[str, tuple[object, ...]] = {}
    for folder in folders:
        for path in [folder, *folder.rglob("*")]:
            if "__pycache__" in path.parts:
                continue
            status = path.lstat()
            content = (
                str(path.readlink())
                if path.is_symlink()
                else hashlib.sha256(path.read_bytes()).hexdigest()
                if path.is_file()
                else ""
            )
            found[str(path)] = (status.st_mode, status.st_uid, status.st_nlink, content)
    return found


@dataclass(frozen=True, slots=True)
class Ended:
    what: str
    touched: tuple[str, ...]
    """Files of the host that changed, or came."""
    statuses: tuple[str, ...]
    """Of the hostile cells."""
    told: str
    problem: str = ""


def attacked(engine: Engine, base: str, what: str, folder: Path) -> Ended:
    """Runs one hostile image beside an honest environment."""
    host = folder / "host"
    host.mkdir(parents=True)
    secret = host / "secret.npy"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    watched = [host, JOB_HOME / "job", Path(rootfs.__file__).parent]
    job, asked = scripts()[what]
    with image_of(engine.client, base, job, asked, secret) as image:
        bad = DockerEnvironment(
            name="bad",
            engine="onnxruntime",
            image=image,
            cache=folder / "cache",
            memory_gb=MEMORY_GB,
        )
        trial = Trial(
            folder, bad, ScriptedEnvironment("well"), passes=[FP32, SHARED],  # type: ignore[arg-type]
            repeats=1, results_bytes=RESULTS_BYTES, deadline_s=DEADLINE_S,
        )  # fmt: skip
        before = state(watched)
        records = trial.records()
        for record in records.values():
            trial.run.write_record(record)
        after = state(watched)
    changed = {one for one in before.keys() | after.keys() if before.get(one) != after.get(one)}
    objects = trial.store.root / "objects"
    wrong = [
        path.name
        for path in objects.iterdir()
        if path.stem != hashlib.sha256(path.read_bytes()).hexdigest() or SECRET in path.read_bytes()
    ]
    problems = [
        *([f"objects: {wrong}"] if wrong else []),
        *(f"{record}: {records[record].reason}" for record in records if record.startswith("well/") and records[record].status is not Status.OK),
        *(["left in work"] if list((trial.store.root / "work").iterdir()) else []),
        *(["the secret is in the run"] if _holds(trial.run.folder) else []),
    ]  # fmt: skip
    bad_ones = [record for record in records.values() if record.environment == "bad"]
    return Ended(
        what,
        tuple(sorted(changed)),
        tuple(str(record.status) for record in bad_ones),
        (bad_ones[0].reason or "")[:120],
        "; ".join(problems),
    )


def _holds(folder: Path) -> bool:
    return any(SECRET in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", default="1/1", help="2/3: every third image, from the second on")
    first, parts = map(int, parser.parse_args().part.split("/"))
    engine = Engine()
    if problem := engine.obstacle():
        sys.exit(problem)
    quota.MOST_FILES = 2000  # type: ignore[attr-defined]
    base = rootfs.python_image(engine.client)
    ended: list[Ended] = []
    started = time.monotonic()
    for what in list(scripts())[first - 1 :: parts]:
        with tempfile.TemporaryDirectory() as folder:
            ended.append(attacked(engine, base, what, Path(folder)))
        one = ended[-1]
        print(
            f"{one.what}: {', '.join(one.statuses)}; {one.told!a}",
            *filter(None, [one.problem, *one.touched]),
            flush=True,
        )
    touched = sum(len(one.touched) for one in ended)
    bad = [one.what for one in ended if one.problem]
    print(
        f"{len(ended)} hostile images, {touched} host files touched, {len(bad)} with another problem {bad}, "
        f"{time.monotonic() - started:.0f} s"
    )
    return 1 if touched or bad else 0


if __name__ == "__main__":
    sys.exit(main())
