"""Build the documentation site: `python docs/build.py` writes build/site/index.html.

Needs the extra `docs`: `pip install -e '.[docs]'`.  Warnings are errors, and every internal link is
followed; nothing is fetched, neither now nor when the pages are looked at.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sitebuilder.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
