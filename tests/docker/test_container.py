"""One container: what it may do, how it ends, what it leaves behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docker import rootfs
from tests.docker.scripted import SMALL_MEMORY, Scripted
from trt_matrix.core.cells import Status
from trt_matrix.environments.docker import options, owner
from trt_matrix.environments.docker.sweep import sweep
from trt_matrix.execution.classify import classify

# What it may do


def test_it_sees_its_inputs_and_writes_its_results_only(scripted: Scripted) -> None:
    (scripted.request / "in.txt").write_text("seven")
    ending = scripted("""
import json, os, socket
facts = {"in": open("/request/in.txt").read(), "refused": []}
for path in ("/request/new", "/usr/new", "/new", "/trt-matrix/new"):
    try:
        open(path, "w")
    except OSError:
        facts["refused"].append(path)
open("/tmp/new", "w").write("x")
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
facts["capabilities"] = [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")]
facts["no_new_privileges"] = int(status["NoNewPrivs"])
facts["interfaces"] = [name for _, name in socket.if_nameindex()]
facts["ids"] = [os.getuid(), os.getgid()]
import resource
facts["core"] = resource.getrlimit(resource.RLIMIT_CORE)
facts["shm"] = os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize
json.dump(facts, open("/results/facts.json", "w"))
""")
    assert (ending.exit_code, ending.error) == (0, None), scripted.said()
    written = scripted.results / "facts.json"
    facts = json.loads(written.read_text())
    assert facts["in"] == "seven"
    assert len(facts["refused"]) == 4
    assert facts["capabilities"] == [0, 0, 0, 0]
    assert facts["no_new_privileges"] == 1
    assert facts["interfaces"] == ["lo"]
    assert facts["ids"] == [os.getuid(), os.getgid()]
    assert facts["core"] == [0, 0]
    assert facts["shm"] == options.SHM_BYTES
    assert (written.stat().st_uid, written.stat().st_gid) == (os.getuid(), os.getgid())


def test_files_belong_to_a_user_who_is_not_root(scripted: Scripted) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(scripted.results, 1234, 2345)
    ending = scripted("open('/results/x', 'w').write('1')", user="1234:2345")
    assert ending.exit_code == 0, scripted.said()
    found = (scripted.results / "x").stat()
    assert (found.st_uid, found.st_gid) == (1234, 2345)


def test_processes_are_limited(scripted: Scripted) -> None:
    ending = scripted("print(open('/sys/fs/cgroup/pids/pids.max').read())"
                      if Path("/sys/fs/cgroup/pids").exists()
                      else "print(open('/sys/fs/cgroup/pids.max').read())")  # fmt: skip
    assert ending.exit_code == 0, scripted.said()
    assert scripted.said().strip() == str(options.PIDS)


def test_no_variable_of_the_host_goes_in(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    scripted("import os; print(sorted(os.environ))")
    assert "SECRET_OF_THE_HOST" not in scripted.said()
    assert "PYTHONFAULTHANDLER" in scripted.said()


# How it ends


def test_a_job_ends_with_its_own_code(scripted: Scripted) -> None:
    # Whole lines: print of an unbuffered Python writes its newline apart, and the other stream between.
    ending = scripted("import os; os.write(1, b'out\\n'); os.write(2, b'err\\n'); exit(3)")
    assert (ending.exit_code, ending.signal, ending.error) == (3, None, None)
    assert {"out", "err"} == set(scripted.said().split())
    assert ending.command[1] == "run"


def test_the_command_in_the_record_does_the_same(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "podman" if scripted.engine.is_podman else "docker"
    if shutil.which(program) is None:
        pytest.skip(f"the {program} command is not installed")
    if scripted.engine.is_podman:
        monkeypatch.setenv("CONTAINER_HOST", str(scripted.engine.address))
    ending = scripted("print(open('/proc/self/status').read().split('CapEff')[1][:20]); exit(5)")
    done = subprocess.run(ending.command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (5, scripted.said()), done.stderr


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_job_that_is_killed(scripted: Scripted, number: signal.Signals) -> None:
    ending = scripted(f"import os; os.kill(os.getpid(), {int(number)})")
    assert (ending.exit_code, ending.signal, ending.oom_killed) == (None, number, False)
    assert classify(ending, "infer fp32", None) == (
        Status.CRASHED, f"ended by {number.name} in stage 'infer fp32'"
    )  # fmt: skip


def test_a_job_that_takes_too_much_memory(scripted: Scripted) -> None:
    ending = scripted(f"x = bytearray({2 * SMALL_MEMORY}); print('survived')")
    assert ending.signal == signal.SIGKILL, ending
    assert classify(ending, None, None)[0] is Status.CRASHED
    if scripted.engine.is_podman and not ending.oom_killed:
        pytest.skip("this Podman tells the signal, but not that it was for memory")
    assert ending.oom_killed, ending
    assert "memory" in classify(ending, None, None)[1]


def test_a_job_whose_child_took_too_much_memory_may_go_on(scripted: Scripted) -> None:
    ending = scripted(f"""
import subprocess, sys
done = subprocess.run([sys.executable, "-c", "x = bytearray({2 * SMALL_MEMORY})"])
print("child", done.returncode)
""")
    assert (ending.exit_code, ending.oom_killed) == (0, False), scripted.said()
    assert "child -9" in scripted.said()


@pytest.mark.parametrize("deaf", [False, True])
def test_the_deadline(scripted: Scripted, deaf: bool) -> None:
    script = "import time; print('on', flush=True); time.sleep(600)"
    if deaf:
        script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + script
    ending = scripted(script, deadline_s=1.0)
    assert ending.timed_out
    assert ending.signal == (signal.SIGKILL if deaf else signal.SIGTERM)
    assert scripted.said() == "on\n"
    assert classify(ending, "build fp32", None)[0] is Status.TIMED_OUT


def test_it_ticks_while_the_job_runs(scripted: Scripted) -> None:
    seen: list[bool] = []
    ending = scripted(
        "import time; open('/results/a', 'w'); time.sleep(1)",
        tick=lambda: seen.append((scripted.results / "a").exists()),
    )
    assert ending.exit_code == 0
    assert seen.count(True) >= 2


def test_a_job_that_closes_its_output_is_watched_on(scripted: Scripted) -> None:
    ending = scripted("import os, time; os.close(1); os.close(2); time.sleep(1.5); os._exit(4)")
    assert ending.exit_code == 4
    assert ending.wall_s > 1.5


def test_a_flood_of_output_is_bounded(scripted: Scripted) -> None:
    ending = scripted("print('first'); [print('x' * 9999) for _ in range(3000)]; print('last')")
    assert ending.exit_code == 0
    assert scripted.log.stat().st_size < 5 << 20
    said = scripted.said()
    assert said.startswith("first\n")
    assert said.endswith("last\n")
    assert "cut here" in said


# Why it could not start


def test_an_image_without_that_python(scripted: Scripted) -> None:
    ending = scripted("", image=rootfs.empty_image(scripted.engine.client))
    assert ending.error
    assert ending.error.startswith("the image has no ")
    assert "name its Python as `python:`" in ending.error
    assert classify(ending, None, None)[0] is Status.UNAVAILABLE


def test_a_gpu_where_the_engine_has_no_nvidia_runtime(scripted: Scripted) -> None:
    if "nvidia" in scripted.engine.facts["Runtimes"]:
        pytest.skip("this engine has the NVIDIA runtime")
    ending = scripted("", device="GPU-5a1f2a3b-0000-0000-0000-000000000000")
    assert ending.error
    # Podman has no way to a GPU but CDI.
    advice = "nvidia-ctk cdi generate" if scripted.engine.is_podman else "nvidia-container-toolkit"
    assert advice in ending.error
    assert "Traceback" not in ending.error


def test_a_results_folder_that_cannot_be_written(scripted: Scripted) -> None:
    binds = (options.Bind(str(scripted.results), options.RESULTS, read_only=True),)
    ending = scripted("open('/results/stage.txt', 'w')", binds=binds)
    assert ending.error
    assert "may not write into its results folder" in ending.error
    assert classify(ending, None, None)[0] is Status.UNAVAILABLE


def test_a_folder_that_the_engine_does_not_see(scripted: Scripted, tmp_path: Path) -> None:
    unseen = tmp_path / "not" / "there"
    ending = scripted("", binds=(options.Bind(str(unseen), options.REQUEST),))
    assert ending.error
    assert f"does not see {unseen}" in ending.error
    assert not unseen.parent.exists(), "the engine made it"


def test_too_little_memory_to_start_with(scripted: Scripted) -> None:
    ending = scripted("", memory_bytes=1 << 20)
    assert ending.error
    assert "memory_gb is too small" in ending.error


# What it leaves behind


class StopError(Exception):
    pass


@pytest.mark.parametrize("kind", [KeyboardInterrupt, StopError])
def test_an_exception_in_the_middle_stops_it(scripted: Scripted, kind: type[BaseException]) -> None:
    def tick() -> None:
        if (scripted.results / "a").exists():
            raise kind

    with pytest.raises(kind):
        scripted("import time; open('/results/a', 'w'); time.sleep(600)", tick=tick)
    assert scripted.left() == []


def test_the_next_start_sweeps_what_a_killed_runner_left(scripted: Scripted) -> None:
    runner = subprocess.Popen([sys.executable, "-c", f"""
import sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from tests.docker.scripted import Scripted
from trt_matrix.environments.docker.engine import Engine
one = Scripted(Engine({scripted.engine.address!r}), {scripted.image!r}, Path({str(scripted.log.parent)!r}))
one.name = {scripted.name!r}
one("import time; open('/results/a', 'w'); time.sleep(600)")
"""])  # fmt: skip
    try:
        wait_for((scripted.results / "a").exists)
        sweep(scripted.engine)
        assert len(scripted.left()) == 1, "its runner is alive"
    finally:
        runner.kill()
        runner.wait()
    assert len(scripted.left()) == 1
    sweep(scripted.engine)
    assert scripted.left() == []


def test_the_sweep_leaves_alone_what_is_not_ours(scripted: Scripted) -> None:
    mine = owner.own().text.split("/")
    elsewhere = "/".join(["another-machine", *mine[1:3], "1", "1"])
    containers = [
        scripted.engine.client.containers.create(
            scripted.image, ["python3"], labels={owner.LABEL: text, owner.RUN_LABEL: scripted.name}
        )
        for text in (elsewhere, "nonsense", "/".join(mine))
    ]
    try:
        sweep(scripted.engine)
        assert len(scripted.left()) == 3
    finally:
        for container in containers:
            container.remove(force=True)


def test_twenty_starts_leave_nothing(scripted: Scripted) -> None:
    def there() -> tuple[int, ...]:
        client = scripted.engine.client
        images = len(client.images.list(all=True))
        return len(client.volumes.list()), len(client.networks.list()), images

    before = there()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        assert scripted(f"exit({number % 2})").exit_code == number % 2
    assert there() == before
    assert scripted.left() == []
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 2


def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
