"""From a published `config.json` and the names of its tensors to a module and where its arrays come from.

Fields that a config leaves out have the published defaults, as `transformers` leaves those out.
"""

import itertools
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from synjax.models.encoders.clip import Clip, ClipText, ClipVision
from synjax.models.encoders.deberta import Deberta
from synjax.models.encoders.distilbert import DistilBert
from synjax.models.encoders.resnet import ResNet18, ResNet50
from synjax.models.pretrained import layouts

# Buffers, which are no weights.
_BUFFERS = re.compile(r"(.*\.)?(position_ids|num_batches_tracked)")
_TIMM_VISION = re.compile(r"vit_base_patch(16|32)_clip_(quickgelu_)?224(\..*)?")


class Published(NamedTuple):
  """A model as its folder describes it.

  Attributes:
    module: ours.
    entries: path in our variables -> published tensors.
    left_out: names of tensors that the tower does not need: buffers, heads of a task.
  """

  module: nn.Module
  entries: layouts.Entries
  left_out: frozenset[str]


def read(config: Mapping[str, Any], names: Collection[str], where: str) -> Published:
  """Finds the module of a `config.json`.

  Args:
    config: its contents.
    names: of the tensors of the weights, which may lie under the prefix of a task model.
    where: the file, for messages.

  Returns:
    The module, and what its arrays are called there.

  Raises:
    ValueError: an architecture, or a variant of one, that is not here.
  """
  kind = config.get("model_type")
  if kind in _READERS:
    found = _READERS[kind](config, names, where)
  elif "architecture" in config:
    found = _timm(config, names, where)
  else:
    raise ValueError(
      f"{where}: expected a model_type of {sorted(_READERS)} or an architecture of timm, found "
      f"{kind!r}; give the folder of such a model"
    )
  buffers = frozenset(name for name in names if _BUFFERS.fullmatch(name))
  return found._replace(left_out=found.left_out | buffers)


def _prefix(names: Collection[str], anchor: str) -> str:
  """Returns what stands before `anchor` in the names of a file, "" where it is not there."""
  found = [name[: -len(anchor)] for name in names if f".{name}".endswith(f".{anchor}")]
  return min(found, key=len, default="")


def _heads(names: Collection[str], prefix: str) -> frozenset[str]:
  """Returns the tensors of a task model that are none of the tower under `prefix`."""
  return frozenset(name for name in names if not name.startswith(prefix))


def _clip(config: Mapping[str, Any], names: Collection[str], where: str) -> Published:
  outer = _prefix(names, "vision_model.embeddings.class_embedding")
  parts = {}
  for part, reader, pattern in (
    ("vision", _clip_vision, "vision_model.|visual_projection."),
    ("text", _clip_text, "text_model.|text_projection."),
  ):
    fields = dict(config.get(f"{part}_config") or {})
    fields["projection_dim"] = config.get("projection_dim", 512)
    starts = tuple(outer + start for start in pattern.split("|"))
    parts[part] = reader(fields, [name for name in names if name.startswith(starts)], where)
  entries = layouts.array(("logit_scale",), f"{outer}logit_scale")
  if f"{outer}logit_scale" not in names:
    entries = {}
  for part, found in parts.items():
    entries |= {(path[0], part, *path[1:]): entry for path, entry in found.entries.items()}
  module = Clip(*(found.module for found in parts.values()))
  return Published(module, entries, _heads(names, outer))


def _clip_fields(config: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
  """Fields that both of CLIP's towers have; `defaults` are in the names of ours."""
  published = {
    "width": "hidden_size",
    "num_heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "activation": "hidden_act",
    "epsilon": "layer_norm_eps",
    "projection": "projection_dim",
  }
  defaults = {
    "num_layers": 12,
    "activation": "quick_gelu",
    "epsilon": 1e-5,
    "projection": 512,
    **defaults,
  }
  return {ours: config.get(theirs, defaults[ours]) for ours, theirs in published.items()}


def _clip_layers(prefix: str, count: int) -> layouts.Entries:
  entries = {}
  for i in range(count):
    layer, path = f"{prefix}encoder.layers.{i}", (f"layer_{i}",)
    entries |= layouts.norm((*path, "norm1"), f"{layer}.layer_norm1")
    entries |= layouts.norm((*path, "norm2"), f"{layer}.layer_norm2")
    parts = [f"{layer}.self_attn.{part}_proj" for part in "qkv"]
    entries |= layouts.weight((*path, "attention", "query_key_value"), *parts)
    entries |= layouts.weight((*path, "attention", "out"), f"{layer}.self_attn.out_proj")
    entries |= layouts.weight((*path, "feed_forward", "expand"), f"{layer}.mlp.fc1")
    entries |= layouts.weight((*path, "feed_forward", "contract"), f"{layer}.mlp.fc2")
  return entries


def _clip_vision(config: Mapping[str, Any], names: Collection[str], where: str) -> Published:
  del where
  fields = _clip_fields(config, width=768, num_heads=12, hidden=3072)
  patch_size = config.get("patch_size", 32)
  fields |= {"image_size": config.get("image_size", 224), "patch_size": patch_size}
  prefix = _prefix(names, "embeddings.class_embedding")
  outer = prefix.removesuffix("vision_model.")
  embeddings = f"{prefix}embeddings"
  entries = layouts.array(("class_token",), f"{embeddings}.class_embedding")
  patches = {"layout": layouts.patches(patch_size), "bias": False}
  entries |= layouts.weight(("patches",), f"{embeddings}.patch_embedding", **patches)
  entries |= layouts.table(("positions",), f"{embeddings}.position_embedding")
  # The name that the published module has: a letter is missing.
  entries |= layouts.norm(("norm_in",), f"{prefix}pre_layrnorm")
  entries |= _clip_layers(prefix, fields["num_layers"])
  entries |= layouts.norm(("norm_out",), f"{prefix}post_layernorm")
  entries |= _projection(config, names, f"{outer}visual_projection")
  heads = frozenset(name for name in names if name.startswith(f"{outer}classifier."))
  return Published(ClipVision(**fields), entries, heads)


def _clip_text(config: Mapping[str, Any], names: Collection[str], where: str) -> Published:
  del where
  fields = _clip_fields(config, width=512, num_heads=8, hidden=2048)
  end = config.get("eos_token_id", 49407)
  fields |= {
    "vocabulary": config.get("vocab_size", 49408),
    "max_length": config.get("max_position_embeddings", 77),
    # Configs of old say 2 of a vocabulary whose largest id is the end token.
    "end_token": None if end == 2 else end,
  }
  prefix = _prefix(names, "embeddings.token_embedding.weight")
  outer = prefix.removesuffix("text_model.")
  embeddings = f"{prefix}embeddings"
  entries = layouts.table(("tokens", "embedding"), f"{embeddings}.token_embedding")
  entries |= layouts.table(("positions",), f"{embeddings}.position_embedding")
  entries |= _clip_layers(prefix, fields["num_layers"])
  entries |= layouts.norm(("norm_out",), f"{prefix}final_layer_norm")
  entries |= _projection(config, names, f"{outer}text_projection")
  return Published(ClipText(**fields), entries, frozenset())


def _projection(config: Mapping[str, Any], names: Collection[str], module: str) -> layouts.Entries:
  """Entries of a projection, where the weights have it or their class says that they do."""
  said = any("WithProjection" in str(name) for name in config.get("architectures") or ())
  if not said and f"{module}.weight" not in names:
    return {}
  return layouts.weight(("projection",), module, bias=False)


def _distilbert(config: Mapping[str, Any], names: Collection[str], where: str) -> Published:
  del where
  module = DistilBert(
    width=config.get("dim", 768),
    num_layers=config.get("n_layers", 6),
    num_heads=config.get("n_heads", 12),
    hidden=config.get("hidden_dim", 3072),
    vocabulary=config.get("vocab_size", 30522),
    max_length=config.get("max_position_embeddings", 512),
    activation=config.get("activation", "gelu"),
    dropout=config.get("dropout", 0.1),
    attention_dropout=config.get("attention_dropout", 0.1),
    epsilon=config.get("layer_norm_eps", 1e-12),
  )
  prefix = _prefix(names, "embeddings.word_embeddings.weight")
  entries = layouts.table(("tokens", "embedding"), f"{prefix}embeddings.word_embeddings")
  entries |= layouts.table(("positions",), f"{prefix}embeddings.position_embeddings")
  entries |= layouts.norm(("norm",), f"{prefix}embeddings.LayerNorm")
  for i in range(module.num_layers):
    layer, path = f"{prefix}transformer.layer.{i}", (f"layer_{i}",)
    parts = [f"{layer}.attention.{part}_lin" for part in "qkv"]
    entries |= layouts.weight((*path, "attention", "query_key_value"), *parts)
    entries |= layouts.weight((*path, "attention", "out"), f"{layer}.attention.out_lin")
    entries |= layouts.norm((*path, "norm1"), f"{layer}.sa_layer_norm")
    entries |= layouts.weight((*path, "feed_forward", "expand"), f"{layer}.ffn.lin1")
    entries |= layouts.weight((*path, "feed_forward", "contract"), f"{layer}.ffn.lin2")
    entries |= layouts.norm((*path, "norm2"), f"{layer}.output_layer_norm")
  return Published(module, entries, _heads(names, prefix))


def _deberta(config: Mapping[str, Any], names: Collection[str], where: str) -> Published:
  module = Deberta(**_deberta_fields(config, where))
  prefix = _prefix(names, "embeddings.word_embeddings.weight")
  embeddings = f"{prefix}embeddings"
  entries = layouts.table(("tokens", "embedding"), f"{embeddings}.word_embeddings")
  entries |= layouts.norm(("norm",), f"{embeddings}.LayerNorm")
  if module.absolute:
    entries |= layouts.table(("positions",), f"{embeddings}.position_embeddings")
  if module.token_types:
    entries |= layouts.table(("segments",), f"{embeddings}.token_type_embeddings")
  entries |= layouts.table(("relative",), f"{prefix}encoder.rel_embeddings")
  if module.norm_relative:
    entries |= layouts.norm(("norm_relative",), f"{prefix}encoder.LayerNorm")
  for i in range(module.num_layers):
    entries |= _deberta_layer(module, f"{prefix}encoder.layer.{i}", (f"layer_{i}",))
  return Published(module, entries, _heads(names, prefix))


def _deberta_layer(module: Deberta, layer: str, path: layouts.Path) -> layouts.Entries:
  attention = f"{layer}.attention.self"
  entries = {}
  for part in ("query", "key", "value"):
    entries |= layouts.weight((*path, part), f"{attention}.{part}_proj")
  if not module.share_keys:
    if "c2p" in module.terms:
      entries |= layouts.weight((*path, "relative_key"), f"{attention}.pos_key_proj")
    if "p2c" in module.terms:
      entries |= layouts.weight((*path, "relative_query"), f"{attention}.pos_query_proj")
  entries |= layouts.weight((*path, "attention_out"), f"{layer}.attention.output.dense")
  entries |= layouts.norm((*path, "norm1"), f"{layer}.attention.output.LayerNorm")
  entries |= layouts.weight((*path, "feed_forward", "expand"), f"{layer}.intermediate.dense")
  entries |= layouts.weight((*path, "feed_forward", "contract"), f"{layer}.output.dense")
  return entries | layouts.norm((*path, "norm2"), f"{layer}.output.LayerNorm")


def _deberta_fields(config: Mapping[str, Any], where: str) -> dict[str, Any]:
  width = config.get("hidden_size", 1536)
  if not config.get("relative_attention", False):
    raise ValueError(f"{where}: expected relative_attention, found a DeBERTa without")
  if config.get("conv_kernel_size", 0) or config.get("embedding_size", width) != width:
    raise ValueError(
      f"{where}: expected a DeBERTa without convolution and with embeddings as wide as its tokens, "
      "found one of the larger v2 models; give a v3 model"
    )
  terms = config.get("pos_att_type") or ()
  terms = terms.split("|") if isinstance(terms, str) else terms
  longest = config.get("max_position_embeddings", 512)
  farthest = config.get("max_relative_positions", -1)
  return {
    "width": width,
    "num_layers": config.get("num_hidden_layers", 24),
    "num_heads": config.get("num_attention_heads", 24),
    "hidden": config.get("intermediate_size", 6144),
    "vocabulary": config.get("vocab_size", 128100),
    "max_length": longest,
    "buckets": max(config.get("position_buckets", -1), 0),
    "max_distance": farthest if farthest > 0 else longest,
    "terms": tuple(sorted(term.strip().lower() for term in terms)),
    "share_keys": config.get("share_att_key", False),
    "norm_relative": "layer_norm" in str(config.get("norm_rel_ebd", "none")).lower(),
    "absolute": config.get("position_biased_input", True),
    "token_types": config.get("type_vocab_size", 0),
    "activation": config.get("hidden_act", "gelu"),
    "dropout": config.get("hidden_dropout_prob", 0.1),
    "attention_dropout": config.get("attention_probs_dropout_prob", 0.1),
    "epsilon": config.get("layer_norm_eps", 1e-7),
  }


def _timm(config: Mapping[str, Any], names: Collection[str], where: str) -> Published:
  name = str(config["architecture"])
  vision = _TIMM_VISION.fullmatch(name)
  if vision:
    activation = "quick_gelu" if vision[2] else "gelu"
    return _timm_vision(config, names, int(vision[1]), activation)
  networks = {"resnet18": ResNet18, "resnet50": ResNet50}
  network = networks.get(name.partition(".")[0])
  if network is None:
    known = [*networks, "vit_base_patch{16,32}_clip_224"]
    raise ValueError(f"{where}: expected an architecture of {known}, found {name!r}")
  module = network(output="tokens")
  heads = frozenset(name for name in names if name in ("fc.weight", "fc.bias"))
  return Published(module, resnet(module), heads)


def _timm_vision(
  config: Mapping[str, Any], names: Collection[str], patch_size: int, activation: str
) -> Published:
  said = {**(config.get("pretrained_cfg") or {}), **config, **(config.get("model_args") or {})}
  first = lambda *fields: next(said[name] for name in fields if name in said)  # noqa: E731
  defaults = {"_width": 768, "_layers": 12, "_heads": 12, "_patch": patch_size, "_image": 224}
  said = defaults | said
  width = first("embed_dim", "hidden_size", "num_features", "_width")
  module = ClipVision(
    width=width,
    num_layers=first("depth", "num_hidden_layers", "_layers"),
    num_heads=first("num_heads", "num_attention_heads", "_heads"),
    hidden=said.get("intermediate_size", int(said.get("mlp_ratio", 4) * width)),
    image_size=first("img_size", "image_size", "_image"),
    patch_size=first("patch_size", "_patch"),
    activation=activation,
    patch_bias="patch_embed.proj.bias" in names,
    projection=first("num_classes", "projection_dim", "_width"),
    projection_bias="head.bias" in names,
  )
  patches = {"layout": layouts.patches(module.patch_size), "bias": module.patch_bias}
  entries = layouts.array(("class_token",), "cls_token", layouts.leading(2))
  entries |= layouts.weight(("patches",), "patch_embed.proj", **patches)
  entries |= layouts.array(("positions",), "pos_embed", layouts.leading(1))
  entries |= layouts.norm(("norm_in",), "norm_pre") | layouts.norm(("norm_out",), "norm")
  for i in range(module.num_layers):
    layer, path = f"blocks.{i}", (f"layer_{i}",)
    for part in ("norm1", "norm2"):
      entries |= layouts.norm((*path, part), f"{layer}.{part}")
    entries |= layouts.weight((*path, "attention", "query_key_value"), f"{layer}.attn.qkv")
    entries |= layouts.weight((*path, "attention", "out"), f"{layer}.attn.proj")
    entries |= layouts.weight((*path, "feed_forward", "expand"), f"{layer}.mlp.fc1")
    entries |= layouts.weight((*path, "feed_forward", "contract"), f"{layer}.mlp.fc2")
  if "head.weight" in names:
    entries |= layouts.weight(("projection",), "head", bias=module.projection_bias)
  return Published(module, entries, frozenset())


def resnet(module: ResNet18 | ResNet50) -> layouts.Entries:
  """Returns what timm calls the parameters and running statistics of a ResNet."""

  def convolution(path, name):
    return layouts.weight(path, name, layout=layouts.CONVOLUTION, bias=False)

  entries = convolution(("conv1",), "conv1") | layouts.batch_norm(("bn1",), "bn1")
  parts = (1, 2, 3) if module.bottleneck else (1, 2)
  for stage, count in enumerate(module.blocks, start=1):
    for block, part in itertools.product(range(count), parts):
      name, path = f"layer{stage}.{block}", (f"stage{stage}_block{block + 1}",)
      entries |= convolution((*path, f"conv{part}"), f"{name}.conv{part}")
      entries |= layouts.batch_norm((*path, f"bn{part}"), f"{name}.bn{part}")
    if stage > 1 or module.bottleneck:
      name, path = f"layer{stage}.0.downsample", (f"stage{stage}_block1",)
      entries |= convolution((*path, "shortcut_conv"), f"{name}.0")
      entries |= layouts.batch_norm((*path, "shortcut_bn"), f"{name}.1")
  return entries


_READERS: dict[str, Callable[[Mapping[str, Any], Collection[str], str], Published]] = {
  "clip": _clip,
  "clip_text_model": _clip_text,
  "clip_vision_model": _clip_vision,
  "deberta-v2": _deberta,
  "distilbert": _distilbert,
}
