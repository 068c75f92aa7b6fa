"""From a published `config.json` and the names of its tensors to a module and where its arrays come from.

Fields that a config leaves out have the published defaults, as `transformers` leaves those out.
"""

import itertools
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from synjax.models.encoders.clip import Clip, ClipText, ClipVision
from synjax.models.encoders.deberta import TERMS, Deberta
from synjax.models.encoders.distilbert import DistilBert
from synjax.models.encoders.resnet import ResNet18, ResNet50
from synjax.models.pretrained import layouts
from synjax.models.pretrained.config_fields import ConfigFields
from synjax.models.tower_layers import ACTIVATIONS

# Buffers, which are no weights.
_BUFFERS = re.compile(r"(.*\.)?(position_ids|num_batches_tracked)")
_MOST_PIXELS = 2**14  # a side
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
    ValueError: an architecture, or a variant of one, that is not here, or a field of another kind.
  """
  kind, fields = config.get("model_type"), ConfigFields(config, where)
  if isinstance(kind, str) and kind in _READERS:
    found = _READERS[kind](fields, names)
  elif "architecture" in config:
    found = _timm(fields, names)
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


def _clip(config: ConfigFields, names: Collection[str]) -> Published:
  outer = _prefix(names, "vision_model.embeddings.class_embedding")
  parts = {}
  for part, reader, pattern in (
    ("vision", _clip_vision, "vision_model.|visual_projection."),
    ("text", _clip_text, "text_model.|text_projection."),
  ):
    projection = {"projection_dim": config.count("projection_dim", 512)}
    fields = config.part(f"{part}_config").joined(ConfigFields(projection, config.where))
    starts = tuple(outer + start for start in pattern.split("|"))
    parts[part] = reader(fields, [name for name in names if name.startswith(starts)])
  entries = layouts.array(("logit_scale",), f"{outer}logit_scale")
  if f"{outer}logit_scale" not in names:
    entries = {}
  for part, found in parts.items():
    entries |= {(path[0], part, *path[1:]): entry for path, entry in found.entries.items()}
  module = Clip(*(found.module for found in parts.values()))
  return Published(module, entries, _heads(names, outer))


def _clip_fields(
  config: ConfigFields, *, width: int, num_heads: int, hidden: int
) -> dict[str, Any]:
  """Fields that both of CLIP's towers have, with the defaults of one."""
  return {
    **_heads_of(config, "hidden_size", width, "num_attention_heads", num_heads),
    "hidden": config.count("intermediate_size", hidden),
    "num_layers": config.layers("num_hidden_layers", 12),
    "activation": config.choice("hidden_act", "quick_gelu", ACTIVATIONS),
    "epsilon": config.number("layer_norm_eps", 1e-5),
    "projection": config.count("projection_dim", 512),
  }


def _heads_of(
  config: ConfigFields, width: str, default_width: int, heads: str, default_heads: int
) -> dict[str, int]:
  """Width and number of heads, which must share it out, by the names of their fields."""
  found = config.count(width, default_width)
  num_heads = config.count(heads, default_heads)
  if found % num_heads:
    raise ValueError(
      f"{config.where}: {width}: expected a multiple of {heads} = {num_heads}, found {found}; get the"
      " file again"
    )
  return {"width": found, "num_heads": num_heads}


def _image_fields(
  config: ConfigFields, image: str, default_image: int, patch: str, default_patch: int
) -> dict[str, int]:
  """Sides of images and of their patches, which must cover them, by the names of their fields."""
  image_size = config.count(image, default_image, most=_MOST_PIXELS)
  patch_size = config.count(patch, default_patch, most=_MOST_PIXELS)
  if image_size % patch_size:
    raise ValueError(
      f"{config.where}: {image}: expected a multiple of {patch} = {patch_size}, found {image_size}; give"
      " another model"
    )
  return {"image_size": image_size, "patch_size": patch_size}


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


def _clip_vision(config: ConfigFields, names: Collection[str]) -> Published:
  fields = _clip_fields(config, width=768, num_heads=12, hidden=3072)
  fields |= _image_fields(config, "image_size", 224, "patch_size", 32)
  prefix = _prefix(names, "embeddings.class_embedding")
  outer = prefix.removesuffix("vision_model.")
  embeddings = f"{prefix}embeddings"
  entries = layouts.array(("class_token",), f"{embeddings}.class_embedding")
  patches = {"layout": layouts.patches(fields["patch_size"]), "bias": False}
  entries |= layouts.weight(("patches",), f"{embeddings}.patch_embedding", **patches)
  entries |= layouts.table(("positions",), f"{embeddings}.position_embedding")
  # The name that the published module has: a letter is missing.
  entries |= layouts.norm(("norm_in",), f"{prefix}pre_layrnorm")
  entries |= _clip_layers(prefix, fields["num_layers"])
  entries |= layouts.norm(("norm_out",), f"{prefix}post_layernorm")
  entries |= _projection(config, names, f"{outer}visual_projection")
  heads = frozenset(name for name in names if name.startswith(f"{outer}classifier."))
  return Published(ClipVision(**fields), entries, heads)


def _clip_text(config: ConfigFields, names: Collection[str]) -> Published:
  fields = _clip_fields(config, width=512, num_heads=8, hidden=2048)
  end = config.count("eos_token_id", 49407, least=0)
  vocabulary = config.count("vocab_size", 49408)
  if end != 2 and end >= vocabulary:
    raise ValueError(
      f"{config.where}: eos_token_id: expected an id below vocab_size = {vocabulary}, found {end}; get"
      " the file again"
    )
  fields |= {
    "vocabulary": vocabulary,
    "max_length": config.count("max_position_embeddings", 77),
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


def _projection(config: ConfigFields, names: Collection[str], module: str) -> layouts.Entries:
  """Entries of a projection, where the weights have it or their class says that they do."""
  said = any("WithProjection" in str(name) for name in config.names("architectures"))
  if not said and f"{module}.weight" not in names:
    return {}
  return layouts.weight(("projection",), module, bias=False)


def _distilbert(config: ConfigFields, names: Collection[str]) -> Published:
  module = DistilBert(
    **_heads_of(config, "dim", 768, "n_heads", 12),
    num_layers=config.layers("n_layers", 6),
    hidden=config.count("hidden_dim", 3072),
    vocabulary=config.count("vocab_size", 30522),
    max_length=config.count("max_position_embeddings", 512),
    activation=config.choice("activation", "gelu", ACTIVATIONS),
    dropout=config.number("dropout", 0.1),
    attention_dropout=config.number("attention_dropout", 0.1),
    epsilon=config.number("layer_norm_eps", 1e-12),
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


def _deberta(config: ConfigFields, names: Collection[str]) -> Published:
  module = Deberta(**_deberta_fields(config))
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


def _deberta_fields(config: ConfigFields) -> dict[str, Any]:
  shared = _heads_of(config, "hidden_size", 1536, "num_attention_heads", 24)
  if not config.flag("relative_attention", False):
    raise ValueError(
      f"{config.where}: expected relative_attention, found a DeBERTa without; give a v3 model"
    )
  width = shared["width"]
  if config.count("conv_kernel_size", 0, least=0) or config.count("embedding_size", width) != width:
    raise ValueError(
      f"{config.where}: expected a DeBERTa without convolution and with embeddings as wide as its tokens,"
      " found one of the larger v2 models; give a v3 model"
    )
  buckets = config.count("position_buckets", -1, least=-1)
  if buckets == 1:
    raise ValueError(
      f"{config.where}: expected position_buckets of -1, for none, or of 2 and more, found 1"
    )
  longest = config.count("max_position_embeddings", 512)
  farthest = config.count("max_relative_positions", -1, least=-1)
  return shared | {
    "num_layers": config.layers("num_hidden_layers", 24),
    "hidden": config.count("intermediate_size", 6144),
    "vocabulary": config.count("vocab_size", 128100),
    "max_length": longest,
    "buckets": max(buckets, 0),
    "max_distance": farthest if farthest > 0 else longest,
    "terms": tuple(sorted(config.names("pos_att_type", TERMS))),
    "share_keys": config.flag("share_att_key", False),
    "norm_relative": "layer_norm" in str(config.value("norm_rel_ebd", "none")).lower(),
    "absolute": config.flag("position_biased_input", True),
    "token_types": config.count("type_vocab_size", 0, least=0),
    "activation": config.choice("hidden_act", "gelu", ACTIVATIONS),
    "dropout": config.number("hidden_dropout_prob", 0.1),
    "attention_dropout": config.number("attention_probs_dropout_prob", 0.1),
    "epsilon": config.number("layer_norm_eps", 1e-7),
  }


def _timm(config: ConfigFields, names: Collection[str]) -> Published:
  name = str(config.value("architecture"))
  vision = _TIMM_VISION.fullmatch(name)
  if vision:
    activation = "quick_gelu" if vision[2] else "gelu"
    return _timm_vision(config, names, int(vision[1]), activation)
  networks = {"resnet18": ResNet18, "resnet50": ResNet50}
  network = networks.get(name.partition(".")[0])
  if network is None:
    known = [*networks, "vit_base_patch{16,32}_clip_224"]
    raise ValueError(
      f"{config.where}: architecture: expected one of {known}, found {name!r}; give the folder of such a"
      " model"
    )
  module = network(output="tokens")
  heads = frozenset(name for name in names if name in ("fc.weight", "fc.bias"))
  return Published(module, resnet(module), heads)


def _timm_vision(
  config: ConfigFields, names: Collection[str], patch_size: int, activation: str
) -> Published:
  said = config.part("pretrained_cfg").joined(config, config.part("model_args"))

  def first(*fields: str) -> str:
    return next((name for name in fields if name in said), fields[0])

  heads = first("num_heads", "num_attention_heads")
  shared = _heads_of(said, first("embed_dim", "hidden_size", "num_features"), 768, heads, 12)
  ratio = said.number("mlp_ratio", 4.0, most=64.0)
  module = ClipVision(
    **shared,
    num_layers=said.layers(first("depth", "num_hidden_layers"), 12),
    hidden=said.count("intermediate_size", int(ratio * shared["width"])),
    **_image_fields(said, first("img_size", "image_size"), 224, "patch_size", patch_size),
    activation=activation,
    patch_bias="patch_embed.proj.bias" in names,
    projection=said.count(first("num_classes", "projection_dim"), 768, least=0),
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


_READERS: dict[str, Callable[[ConfigFields, Collection[str]], Published]] = {
  "clip": _clip,
  "clip_text_model": _clip_text,
  "clip_vision_model": _clip_vision,
  "deberta-v2": _deberta,
  "distilbert": _distilbert,
}
