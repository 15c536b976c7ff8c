"""What every test rests on."""

import signal

# `make test &` from a script starts us with Ctrl-C ignored, and a child keeps what is ignored: the
# tests that interrupt a run would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
