"""What a job said, as far as it is told."""

from pathlib import Path

from trt_matrix.execution import answers
from trt_matrix.execution.answers import log_of_failure, log_tail


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    assert log_tail(log) == ""
    log.write_bytes(b"x" * 100_000 + b"\xffend\n")
    assert log_tail(log).endswith("x\ufffdend\n")
    assert len(log_tail(log)) == answers.LOG_TAIL_BYTES


def test_of_a_failed_pass_the_log_is_told_up_to_its_end_and_not_that_of_later_ones(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    assert log_of_failure(log, "fp16") == ""
    log.write_text("fp16: built\nTraceback\n  why\nfp16: failed in stage infer: why\nint8: built\n")
    assert log_of_failure(log, "fp16").endswith("  why\nfp16: failed in stage infer: why\n")
    assert log_of_failure(log, "int8") == "", "it did not fail"
    assert log_of_failure(log, "16") == "", "that is another's name"
    log.write_text("x" * 9000 + "\nfp16: failed in stage infer: cut off he")
    told = log_of_failure(log, "fp16")
    assert told.endswith("cut off he")
    assert len(told) == answers.LOG_TAIL_BYTES
