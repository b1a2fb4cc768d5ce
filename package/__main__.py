"""`python -m tapegrad`: the command line, as `tapegrad`."""

import sys

from tapegrad.cli import main

if __name__ == "__main__":
    sys.exit(main())
