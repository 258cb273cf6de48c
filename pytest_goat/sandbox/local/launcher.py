"""The launcher process: `python -I -S launcher.py KEEPER_FD ZYGOTE_FD`. One for each harness."""

import sys

# The standard library stays first: nothing that is installed beside this project can shadow it.
sys.path.append(__file__.rsplit("/", 4)[0])

from pytest_goat.sandbox.local import zygote

zygote.main(int(sys.argv[1]), int(sys.argv[2]))
