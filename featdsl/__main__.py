"""Run the command line as `python -m featdsl`."""

from featdsl.cli import main

main(prog_name="featdsl")
