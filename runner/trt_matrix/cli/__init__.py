"""The command line: reads arguments, calls one function a command, turns errors into exit codes."""

# What is imported here is on the command line, in this order in its help.
from trt_matrix.cli import experiments as experiments, archives as archives, files as files  # isort: skip
from trt_matrix.cli.app import app as app
from trt_matrix.cli.app import main as main
