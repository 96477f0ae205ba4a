"""Training: one loop for every model, with a budget and checkpoints that resume exactly.

>>> from causalcnn.training import Budget
>>> Budget.parse("20 min").seconds
1200.0

:func:`train` runs on a CPU, on a GPU, or in several processes that ``torchrun`` started.
:func:`causalcnn.models.save_model` keeps the model that it made. What training needs comes with the extra ``train``.
"""

from causalcnn._files import CheckpointError
from causalcnn.training.budget import Budget
from causalcnn.training.checkpoint import Checkpoint
from causalcnn.training.device import Runtime
from causalcnn.training.history import History
from causalcnn.training.interrupt import Interrupted, NonFiniteLoss
from causalcnn.training.loop import train
from causalcnn.training.optimization import OptimConfig, lr_factor, minimize

__all__ = [
    "Budget",
    "Checkpoint",
    "CheckpointError",
    "History",
    "Interrupted",
    "NonFiniteLoss",
    "OptimConfig",
    "Runtime",
    "lr_factor",
    "minimize",
    "train",
]
