"""Encoders: one family of networks per file.

The contract: `__call__(self, x, *, valid=None, train=False, axis=None)`. Every encoder takes all
of it and uses what it needs, so that models call any encoder in the same way:

  x: one modality of one view; images [batch, rows, columns, channels], sequences
    [batch, length, features], vectors [batch, features], text int[batch, length], token ids.
  valid: bool[batch, length], True = real, False = padding; None = all real. Sequences only; an encoder
    that mixes examples (see below) is given bool[batch] as well, False = an example that must not count.
  train: batch statistics, dropout and the like are on.
  axis: name of the device axis that shares out the batch, for synchronised statistics, or None.

An encoder whose training outputs depend on the rest of the batch (BatchNorm) says so with a class
attribute `mixes_examples = True`: it is then called once for every view.

The output is a map [batch, rows, columns, width], a sequence [batch, length, width] with the steps of
the input, or a vector [batch, width]; an adapter (`synjax.models.adapters`) turns it into tokens. An
encoder that leaves another number of steps, or pools by itself, returns a dict instead: `features`, and
`valid`, `pooled` or both, see `models.backbone.Outputs`. The output is finite, and so are its
gradients, for an example without a single valid step. `dtype` is the computation type as in linen;
parameters are float32.
"""

from synjax.models.encoders.alexnet import AlexNet
from synjax.models.encoders.clip import ClipText, ClipVision
from synjax.models.encoders.deberta import Deberta
from synjax.models.encoders.distilbert import DistilBert
from synjax.models.encoders.patch_convnet import PatchConvNet
from synjax.models.encoders.recurrent import GRU
from synjax.models.encoders.resnet import ResNet18, ResNet50
from synjax.models.encoders.robot import ForceEncoder, ProprioceptionEncoder
from synjax.models.encoders.sequence_transformer import SequenceTransformer
from synjax.models.encoders.tabular import MLP, DenseReLU

# Names in `config.model.modalities.<modality>.encoder.name`.
ENCODERS = {
  "alexnet": AlexNet,
  "clip_text": ClipText,
  "clip_vision": ClipVision,
  "deberta": Deberta,
  "dense_relu": DenseReLU,
  "distilbert": DistilBert,
  "force": ForceEncoder,
  "gru": GRU,
  "mlp": MLP,
  "patch_convnet": PatchConvNet,
  "proprioception": ProprioceptionEncoder,
  "resnet18": ResNet18,
  "resnet50": ResNet50,
  "sequence_transformer": SequenceTransformer,
}

# Of these, those that every published run starts from weights: `encoder.weights` names their folder.
TOWERS = ("clip_text", "clip_vision", "deberta", "distilbert")

# `encoder.size="tiny"`: networks of these kinds for trials on any machine, whose numbers mean nothing.
_TINY_TRANSFORMER = {"width": 32, "num_layers": 1, "num_heads": 2, "hidden": 64}
TINY = {
  "clip_text": _TINY_TRANSFORMER | {"projection": 32, "vocabulary": 512},
  "clip_vision": _TINY_TRANSFORMER | {"image_size": 32, "patch_size": 8, "projection": 32},
  "deberta": _TINY_TRANSFORMER | {"vocabulary": 512, "dropout": 0.0, "attention_dropout": 0.0},
  "distilbert": _TINY_TRANSFORMER | {"vocabulary": 512, "dropout": 0.0, "attention_dropout": 0.0},
  "resnet18": {"stem": 8},
  "resnet50": {"stem": 8},
}

# Fields that `config.protocol=paper` sets where a config leaves them open: what the published code does.
PUBLISHED_FIELDS = {
  "force": {"window": "first_step"},
  "sequence_transformer": {"initialization": "identical", "padding": "attended"},
}
