"""Run the command line. What Ctrl-C does is settled before anything is imported that takes a while."""

import signal
import sys

from featdsl import stopping


def main() -> None:
    """Run the command line, and end this process: by Ctrl-C with 1 and a message, at any moment."""
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so behind a shell, and under nohup
    if heard:
        signal.signal(signal.SIGINT, stopping.leave)
        sys.unraisablehook = stopping.end_if_lost
    from featdsl.cli import main as run
    from featdsl.printing import own_output

    try:
        if heard:
            signal.signal(signal.SIGINT, stopping.interrupt)
        with own_output():
            run(prog_name="featdsl")
    except BaseException:
        if stopping.asked():
            stopping.leave()
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and done


if __name__ == "__main__":
    main()
