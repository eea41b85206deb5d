"""`python -m emulator --host 127.0.0.1 --port P [--log FILE]`: serve until stopped or until the parent dies."""

import argparse
import ctypes
import ipaddress
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="emulator", description="AWS emulator that enforces access")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--names", action="store_true", help="answer DNS on port 53 of the host, from the zones of Route 53")
    parser.add_argument("--log", help="file that gets every entry of the call log as a line of JSON")
    parser.add_argument("--parent", type=int, help="process id to die with, if that is surely the parent")
    arguments = parser.parse_args()
    if not ipaddress.ip_address(arguments.host).is_loopback:
        parser.error("--host must be a loopback address: the control endpoints ask for no credentials")
    die_with_parent(arguments.parent or os.getppid())

    # Imported late: loading the services takes most of the start, and the parent is already watched.
    from .app import Emulator
    from .http import Server
    from .journal import Journal
    from .names import Names

    file = open(arguments.log, "a", encoding="utf-8") if arguments.log else None
    names = Names(arguments.host)
    if arguments.names:
        names.start()
    server = Server((arguments.host, arguments.port), Emulator(Journal(file), names))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    server.serve_forever(poll_interval=1.0)
    return 0


def die_with_parent(parent: int) -> None:
    """Exit when the parent process goes, however it went."""

    def check(*_: object) -> None:
        # The kernel signals the death of the *thread* that started this process; a thread pool may end
        # one while the parent lives on. Only a changed parent counts.
        if os.getppid() != parent:
            os._exit(0)

    signal.signal(signal.SIGUSR1, check)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # It may have died before the kernel knew that it should tell.
    check()


if __name__ == "__main__":
    sys.exit(main())
