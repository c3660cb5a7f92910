"""`python -m sailsim` is the `sailsim` command."""

from sailsim.cli import main

main(prog_name="sailsim")
