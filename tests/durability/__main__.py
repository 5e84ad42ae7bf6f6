"""``python -m tests.durability``; see ``cli``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from durability.cli import main

sys.exit(main())
