"""``python -m causalcnn`` is the command ``causalcnn``."""

import sys

from causalcnn.cli import main

sys.exit(main())
