"""One rank of `tapegrad run`: `python -m tapegrad._rank script.py arguments`.

The script runs as the main program.  However it fails, by an exception or by sys.exit with another
code than 0, all ranks end: those that wait for this one would wait for ever.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from tapegrad.devices import collectives
from tapegrad.devices.collectives import report_error


def main() -> None:
    """Run the script that the command line names."""
    script = sys.argv[1]
    group = collectives.world()
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(script).resolve().parent)
    try:
        runpy.run_path(script, run_name="__main__")
    except KeyboardInterrupt:
        group.abort(130)
    except SystemExit as error:
        code = error.code
        if code is None or code == 0:
            return
        if not isinstance(code, int):
            sys.stderr.write(f"[rank {group.rank}] {code}\n")
            sys.stderr.flush()
            code = 1
        group.abort(code)
    except BaseException as error:  # noqa: BLE001  # it is reported, and ends the ranks
        report_error(group, error)
        group.abort(1)


if __name__ == "__main__":
    main()
