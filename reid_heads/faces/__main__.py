"""``python -m reid_heads.faces``: align, verify, enroll, identify."""

import sys

from reid_heads.faces.command import main

if __name__ == "__main__":
    sys.exit(main())
