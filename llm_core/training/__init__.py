"""The training loop and what it needs. Nothing here knows what kind of model is trained.

Begin with `loop`: how to train (`TrainConfig`) and the loop itself (`Trainer`). It uses
`evaluation` (the validation loss), `stopping` (early stopping), `interrupt` (Ctrl-C) and
`checkpoints` (save and go on); below those lie `folder` (where checkpoints are), `state` (what is
in them) and `weights` (a model's weights as named tensors).
"""

from llm_core.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from llm_core.training.evaluation import (
    Batch,
    LossFunction,
    count_targets,
    evaluate,
    evaluation_mode,
    model_loss,
)
from llm_core.training.folder import (
    MODEL_FILE,
    POINTER_FILE,
    STATE_FILE,
    TRAINING_FILE,
    checkpoint_path,
    require_writable_folder,
)
from llm_core.training.interrupt import TrainingInterrupted
from llm_core.training.loop import EVENTS, TrainConfig, Trainer
from llm_core.training.stopping import EarlyStopping
from llm_core.training.weights import get_weights, require_matching_weights, set_weights

__all__ = [
    "EVENTS",
    "MODEL_FILE",
    "POINTER_FILE",
    "STATE_FILE",
    "TRAINING_FILE",
    "Batch",
    "Checkpoint",
    "EarlyStopping",
    "LossFunction",
    "TrainConfig",
    "Trainer",
    "TrainingInterrupted",
    "checkpoint_path",
    "count_targets",
    "evaluate",
    "evaluation_mode",
    "get_weights",
    "load_checkpoint",
    "model_loss",
    "require_matching_weights",
    "require_writable_folder",
    "save_checkpoint",
    "set_weights",
]
