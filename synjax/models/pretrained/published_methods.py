"""What InfMasking's and CoMM's published checkpoints call the parameters of our contrastive models."""

import fnmatch
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn

from synjax.models.adapters import FeatureAdapter, PatchAdapter
from synjax.models.encoders.alexnet import AlexNet
from synjax.models.encoders.recurrent import GRU
from synjax.models.encoders.resnet import ResNet18
from synjax.models.encoders.robot import ForceEncoder, ProprioceptionEncoder
from synjax.models.encoders.sequence_transformer import SequenceTransformer
from synjax.models.encoders.tabular import MLP
from synjax.models.pretrained import architectures, layouts

_ANCHOR = "encoder.fusion_transformer.cls_token"
_FUSION = "encoder.fusion_transformer"
MASK_TOKEN = ("params", "fusion", "mask_token")
_POINTWISE = layouts.Layout(lambda x: x[:, :, 0].T, lambda shape: (shape[1], shape[0], 1))
_STEP_PAIRS = layouts.Layout(
  lambda x: x.transpose(2, 1, 0).reshape(-1, x.shape[0]),
  lambda shape: (shape[1], shape[0] // 2, 2),
)
_POSITIONS = layouts.Layout(
  lambda x: x[0].transpose(1, 2, 0), lambda shape: (1, shape[2], shape[0], shape[1])
)


class Published(NamedTuple):
  """A published model.

  Attributes:
    entries: path in our variables -> published tensors.
    left_out: names of tensors that no model here needs: counters, fixed tables, a classifier that no
      published method applies.
  """

  entries: layouts.Entries
  left_out: frozenset[str]


def read(
  model: nn.Module, modalities: Sequence[str], num_layers: int, names: Collection[str], where: str
) -> Published:
  """Finds where each parameter of a model lies in a checkpoint.

  Args:
    model: with `encoders` and `adapters`, modality -> module.
    modalities: in fusion order, which is that of the published lists.
    num_layers: of the fusion.
    names: of the checkpoint's tensors, which may have a prefix.
    where: the file, for messages.

  Returns:
    The entries. Without those of the mask token where the checkpoint has none, as CoMM's.

  Raises:
    ValueError: no such checkpoint, or an encoder that no published model has.
  """
  found = [name.removesuffix(_ANCHOR) for name in names if f".{name}".endswith(f".{_ANCHOR}")]
  if not found:
    raise ValueError(
      f"{where}: expected a checkpoint of InfMasking or CoMM, which has {_ANCHOR}, found"
      f" {', '.join(sorted(names)[:5])}, ...; give another file"
    )
  prefix = min(found, key=len)
  entries: layouts.Entries = {}
  left_out = ["*.num_batches_tracked"]
  for i, name in enumerate(modalities):
    encoder, adapter = model.encoders[name], model.adapters[name]
    entries |= _encoder(f"{prefix}encoder.encoders.{i}", encoder, (f"encoders_{name}",))
    torch, path = f"{prefix}encoder.input_adapters.{i}", (f"adapters_{name}",)
    if isinstance(adapter, FeatureAdapter):
      entries |= layouts.weight(path, torch, layout=layouts.SAME)
    if isinstance(adapter, PatchAdapter):
      entries |= _patch_adapter(torch, adapter, path)
      left_out.append(f"{torch}.pos_emb")
    if isinstance(encoder, AlexNet):
      left_out.append(f"{prefix}encoder.encoders.{i}.classifier.*")
  entries |= _fusion(f"{prefix}{_FUSION}", num_layers) | _head(f"{prefix}head")
  if f"{prefix}{_FUSION}.mask_tokens" not in names:
    del entries[MASK_TOKEN]
  used = {name for entry in entries.values() for name in entry.names}
  matched = {name for name in names for pattern in left_out if fnmatch.fnmatchcase(name, pattern)}
  return Published(entries, frozenset(matched - used))


def _encoder(torch: str, encoder: nn.Module, path: layouts.Path) -> layouts.Entries:
  for kind, reader in _ENCODERS.items():
    if isinstance(encoder, kind):
      return reader(torch, encoder, path)
  raise ValueError(
    f"config.model.modalities: expected encoders of published models,"
    f" {', '.join(kind.__name__ for kind in _ENCODERS)}, found {type(encoder).__name__}; give the config"
    " that the checkpoint was trained with"
  )


def _join(torch: str, part: Any) -> str:
  return f"{torch}.{part}"


def _linears(torch: str, path: layouts.Path, names: Mapping[Any, str], **options: Any):
  entries = {}
  for part, ours in names.items():
    entries |= layouts.weight((*path, ours), _join(torch, part), **options)
  return entries


def _packed_attention(torch: str, path: layouts.Path) -> layouts.Entries:
  return {
    ("params", *path, "query_key_value", "kernel"): layouts.Entry(
      (f"{torch}.in_proj_weight",), layouts.LINEAR
    ),
    ("params", *path, "query_key_value", "bias"): layouts.Entry(
      (f"{torch}.in_proj_bias",), layouts.SAME
    ),
  } | layouts.weight((*path, "out"), f"{torch}.out_proj")


def _sequence_transformer(torch: str, encoder: SequenceTransformer, path: layouts.Path):
  entries = layouts.weight((*path, "embed"), f"{torch}.conv", layout=_POINTWISE, bias=False)
  for i in range(encoder.num_layers):
    layer, own = f"{torch}.transformer.layers.{i}", (*path, f"layer_{i}")
    entries |= _packed_attention(f"{layer}.self_attn", (*own, "attention"))
    entries |= _linears(layer, own, {"linear1": "expand", "linear2": "contract"})
    for part in (1, 2):
      entries |= layouts.norm((*own, f"ln{part}"), f"{layer}.norm{part}")
  return entries


def _mlp(torch: str, encoder: MLP, path: layouts.Path):
  del encoder
  return _linears(torch, path, {"fc": "layer1", "fc2": "layer2"})


def _gru(torch: str, encoder: GRU, path: layouts.Path):
  del encoder
  entries = {}
  for part in ("ih", "hh"):
    kernel, bias = f"{torch}.gru.weight_{part}_l0", f"{torch}.gru.bias_{part}_l0"
    entries |= layouts.array((*path, f"kernel_{part}"), kernel, layouts.LINEAR)
    entries |= layouts.array((*path, f"bias_{part}"), bias)
  return entries


def _alexnet(torch: str, encoder: AlexNet, path: layouts.Path):
  del encoder
  names = {f"features.{n}": f"conv{i}" for i, n in enumerate((0, 3, 6, 8, 10), 1)}
  return _linears(torch, path, names, layout=layouts.CONVOLUTION)


def _resnet(torch: str, encoder: ResNet18, path: layouts.Path):
  return {
    (collection, *path, *inner): entry._replace(names=tuple(_join(torch, n) for n in entry.names))
    for (collection, *inner), entry in architectures.resnet(encoder).items()
  }


def _proprioception(torch: str, encoder: ProprioceptionEncoder, path: layouts.Path):
  del encoder
  return _linears(f"{torch}.proprio_encoder", path, {2 * i: f"layer{i + 1}" for i in range(4)})


def _force(torch: str, encoder: ForceEncoder, path: layouts.Path):
  del encoder
  names = {2 * i: f"layer{i + 1}" for i in range(5)}
  return _linears(f"{torch}.frc_encoder", path, names, layout=_STEP_PAIRS)


_ENCODERS: Mapping[type, Callable[[str, Any, layouts.Path], layouts.Entries]] = {
  AlexNet: _alexnet,
  ForceEncoder: _force,
  GRU: _gru,
  MLP: _mlp,
  ProprioceptionEncoder: _proprioception,
  ResNet18: _resnet,
  SequenceTransformer: _sequence_transformer,
}


def _patch_adapter(torch: str, adapter: PatchAdapter, path: layouts.Path) -> layouts.Entries:
  patches = layouts.patches(adapter.patch)
  entries = layouts.weight((*path, "proj"), f"{torch}.proj", layout=patches)
  if adapter.positions == "learned":
    entries |= layouts.array((*path, "position_table"), f"{torch}.pos_emb", _POSITIONS)
  return entries


def _fusion(torch: str, num_layers: int) -> layouts.Entries:
  path = ("fusion",)
  entries = layouts.array((*path, "cls_token"), f"{torch}.cls_token")
  entries |= layouts.array(MASK_TOKEN[1:], f"{torch}.mask_tokens")
  entries |= layouts.norm((*path, "norm"), f"{torch}.norm")
  for i in range(num_layers):
    block, own = f"{torch}.resblocks.{i}", (*path, f"block_{i}")
    entries |= _packed_attention(f"{block}.attn", (*own, "attention"))
    entries |= _linears(f"{block}.mlp", (*own, "mlp"), {"c_fc": "expand", "c_proj": "contract"})
    for part in (1, 2):
      entries |= layouts.norm((*own, f"ln{part}"), f"{block}.ln_{part}")
  return entries


def _head(torch: str) -> layouts.Entries:
  entries = _linears(torch, ("head",), {f"layer{i}": f"layer{i}" for i in (1, 2, 3)})
  for part in ("bn1", "bn2"):
    entries |= layouts.batch_norm(("head", part), f"{torch}.{part}")
  return entries
