"""``python -m agere``."""

import sys

from agere.cli import main

sys.exit(main())
