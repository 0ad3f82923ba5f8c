"""``python -m reid_heads.data``: count a data set of crops."""

import sys

from reid_heads.data.info import main

if __name__ == "__main__":
    sys.exit(main())
