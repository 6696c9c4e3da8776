"""Run the command line. The SIGINT handler is installed before slow imports."""

import signal
import sys

from featdsl.cli import interrupts


def main() -> None:
    """Run the command line and exit; on Ctrl-C print a message and exit with 1 at any moment."""
    handles_sigint = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # false for a job in the background
    if handles_sigint:
        signal.signal(signal.SIGINT, interrupts.leave)
        sys.unraisablehook = interrupts.end_if_lost
    from featdsl.cli.main import main as run
    from featdsl.project.output import own_output

    try:
        if handles_sigint:
            signal.signal(signal.SIGINT, interrupts.interrupt)
        with own_output():
            run(prog_name="featdsl")
    except BaseException:
        if interrupts.requested():
            interrupts.leave()
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command has finished


if __name__ == "__main__":
    main()
