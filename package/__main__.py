"""`python -m tapegrad`: the command line, as `tapegrad`."""

import sys

from tapegrad.cli import main

sys.exit(main())
