"""Training: one loop for every model, with a budget, checkpoints that resume exactly, and models kept with a card.

>>> from causalcnn.training import Budget
>>> Budget.parse("20 min").seconds
1200.0

:func:`train` runs on a CPU, a GPU, or as one of several processes (``torchrun``, ``accelerate launch``);
:func:`save_model` and :func:`load_model` keep what came out. The extra ``train`` brings what they need.
"""

from causalcnn.training.budget import Budget
from causalcnn.training.checkpoints import Checkpoint, CheckpointError
from causalcnn.training.history import History
from causalcnn.training.loop import train
from causalcnn.training.machine import Machine
from causalcnn.training.run import Plan
from causalcnn.training.saved import load_model, save_model
from causalcnn.training.stopping import Interrupted, NonFiniteLoss

__all__ = [
    "Budget",
    "Checkpoint",
    "CheckpointError",
    "History",
    "Interrupted",
    "Machine",
    "NonFiniteLoss",
    "Plan",
    "load_model",
    "save_model",
    "train",
]
