"""Maps weights under PyTorch names and layouts (the golden files) to trees of our modules.

A *map* is a dict: torch name -> (path in our variables, layout function). Every function below
returns the map of one module, given its torch prefix ("" or "head") and our path without the
collection (() or ("head",)); maps are joined with `|`. Gradients and updated weights map like the
weights themselves:

  names = torch_weights.mlp("fc_net", ()) | torch_weights.gru("encoder", ("gru",))
  variables = torch_weights.variables(state, names)      # {"params": ..., "batch_stats": ...}
"""

import functools
import itertools
import json
import pathlib

import numpy as np

GOLDEN = pathlib.Path(__file__).parent / "golden"


def variables(state, names):
  """Builds our variables from `state` (torch name -> array); each name of the map must exist."""
  tree = {}
  for name, (path, layout) in names.items():
    node = tree
    for part in path[:-1]:
      node = node.setdefault(part, {})
    node[path[-1]] = layout(np.asarray(state[name]))
  return tree


def only(names, collection):
  """Restricts a map to one collection: gradients have "params" only."""
  return {name: entry for name, entry in names.items() if entry[0][0] == collection}


def get(tree, path):
  """Looks up one leaf."""
  return functools.reduce(lambda node, part: node[part], path, tree)


def read_prefix(arrays, prefix):
  """Reads {rest of the name: array} of the golden arrays under `prefix`."""
  return {name[len(prefix) :]: arrays[name] for name in arrays if name.startswith(prefix)}


def zeros(experiment, names):
  """Builds our parameters, all zero, in the published shapes of an experiment.

  `experiment` is a key of weight_decay_groups.json.
  """
  groups = json.loads((GOLDEN / "weight_decay_groups.json").read_text())[experiment]
  shapes = dict(groups["decayed"] + groups["not_decayed"])
  state = {name: np.zeros(shapes[name]) for name in names}
  return variables(state, names)["params"]


def assert_gradient_norms(grads, arrays, case, names, *, rtol, atol=1e-10):
  """Compares gradients with the golden `gnorm/<name>` = [norm, sum] of each parameter."""
  for name, (path, _) in names.items():
    leaf = get({"params": grads}, path)
    actual = [np.linalg.norm(leaf), np.sum(leaf)]
    np.testing.assert_allclose(
      actual, arrays[f"{case}/gnorm/{name}"], rtol=rtol, atol=atol, err_msg=name
    )


def linear(torch, ours):
  return _parameters(torch, ours, weight=("kernel", np.transpose), bias=("bias", _same))


def conv(torch, ours):
  return _parameters(torch, ours, weight=("kernel", _conv), bias=("bias", _same))


def _convolution(torch, ours):
  """A convolution without bias."""
  return _parameters(torch, ours, weight=("kernel", _conv))


def norm(torch, ours):
  """LayerNorm, or the parameters of BatchNorm."""
  return _parameters(torch, ours, weight=("scale", _same), bias=("bias", _same))


def batch_norm(torch, ours):
  statistics = {
    _join(torch, "running_mean"): (("batch_stats", *ours, "mean"), _same),
    _join(torch, "running_var"): (("batch_stats", *ours, "var"), _same),
  }
  return norm(torch, ours) | statistics


def mlp(torch, ours):
  return _modules(torch, ours, linear, {"fc": "layer1", "fc2": "layer2"})


def gru(torch, ours):
  """`torch` is the module that owns the submodule `gru`."""
  kernels = {f"weight_{part}_l0": (f"kernel_{part}", np.transpose) for part in ("ih", "hh")}
  biases = {f"bias_{part}_l0": (f"bias_{part}", _same) for part in ("ih", "hh")}
  return _parameters(_join(torch, "gru"), ours, **kernels, **biases)


def alexnet(torch, ours, *, classifier=False):
  convs = dict(zip((0, 3, 6, 8, 10), (f"conv{i}" for i in range(1, 6)), strict=True))
  names = _modules(_join(torch, "features"), ours, conv, convs)
  return names | (linear(_join(torch, "classifier"), (*ours, "classifier")) if classifier else {})


def sequence_transformer(torch, ours, *, num_layers=5):
  names = _parameters(
    _join(torch, "conv"), (*ours, "embed"), weight=("kernel", lambda value: value[:, :, 0].T)
  )
  for i in range(num_layers):
    layer, path = _join(torch, f"transformer.layers.{i}"), (*ours, f"layer_{i}")
    packed = {"in_proj_weight": ("kernel", np.transpose), "in_proj_bias": ("bias", _same)}
    names |= _parameters(f"{layer}.self_attn", (*path, "attention", "query_key_value"), **packed)
    names |= linear(f"{layer}.self_attn.out_proj", (*path, "attention", "out"))
    names |= _modules(layer, path, linear, {"linear1": "expand", "linear2": "contract"})
    names |= _modules(layer, path, norm, {"norm1": "ln1", "norm2": "ln2"})
  return names


def proprioception_encoder(torch, ours):
  layers = {2 * i: f"layer{i + 1}" for i in range(4)}
  return _modules(_join(torch, "proprio_encoder"), ours, linear, layers)


def force_encoder(torch, ours):
  names = {}
  for i in range(5):
    pair = {"weight": ("kernel", _step_pairs), "bias": ("bias", _same)}
    names |= _parameters(_join(torch, f"frc_encoder.{2 * i}"), (*ours, f"layer{i + 1}"), **pair)
  return names


def resnet18(torch, ours):
  names = _convolution(_join(torch, "conv1"), (*ours, "conv1"))
  names |= batch_norm(_join(torch, "bn1"), (*ours, "bn1"))
  for stage, block in itertools.product(range(1, 5), range(2)):
    module, path = _join(torch, f"layer{stage}.{block}"), (*ours, f"stage{stage}_block{block + 1}")
    names |= _modules(module, path, _convolution, {"conv1": "conv1", "conv2": "conv2"})
    names |= _modules(module, path, batch_norm, {"bn1": "bn1", "bn2": "bn2"})
    if stage > 1 and block == 0:
      names |= _convolution(f"{module}.downsample.0", (*path, "shortcut_conv"))
      names |= batch_norm(f"{module}.downsample.1", (*path, "shortcut_bn"))
  return names


def feature_adapter(torch, ours):
  return _parameters(torch, ours, weight=("kernel", _same), bias=("bias", _same))


def patch_adapter(torch, ours, *, learned=False):
  names = _parameters(
    _join(torch, "proj"), (*ours, "proj"), weight=("kernel", _patches), bias=("bias", _same)
  )
  table = ("params", *ours, "position_table"), lambda value: value[0].transpose(1, 2, 0)
  return names | ({_join(torch, "pos_emb"): table} if learned else {})


def projection_head(torch, ours):
  layers = _modules(torch, ours, linear, {f"layer{i}": f"layer{i}" for i in (1, 2, 3)})
  return layers | _modules(torch, ours, batch_norm, {"bn1": "bn1", "bn2": "bn2"})


def fusion(torch, ours, *, num_layers, mask_token=True):
  """`FusionTransformer`; CoMM's published one has no mask token."""
  tokens = {"cls_token": ("cls_token", _same)}
  if mask_token:
    tokens["mask_tokens"] = ("mask_token", _same)
  names = _parameters(torch, ours, **tokens) | norm(_join(torch, "norm"), (*ours, "norm"))
  for layer in range(num_layers):
    block, path = _join(torch, f"resblocks.{layer}"), (*ours, f"block_{layer}")
    names |= _modules(block, path, norm, {"ln_1": "ln1", "ln_2": "ln2"})
    packed = {"in_proj_weight": ("kernel", np.transpose), "in_proj_bias": ("bias", _same)}
    names |= _parameters(f"{block}.attn", (*path, "attention", "query_key_value"), **packed)
    names |= linear(f"{block}.attn.out_proj", (*path, "attention", "out"))
    names |= _modules(
      f"{block}.mlp", (*path, "mlp"), linear, {"c_fc": "expand", "c_proj": "contract"}
    )
  return names


def _join(prefix, name):
  return f"{prefix}.{name}" if prefix else str(name)


def _modules(torch, ours, kind, pairs):
  names = {}
  for torch_name, our_name in pairs.items():
    names |= kind(_join(torch, torch_name), (*ours, our_name))
  return names


def _parameters(torch, ours, **pairs):
  return {
    _join(torch, name): (("params", *ours, our_name), layout)
    for name, (our_name, layout) in pairs.items()
  }


def _same(value):
  return value


def _conv(value):
  return value.transpose(2, 3, 1, 0)


def _patches(value):
  """[out, in, rows, columns] to [rows * columns * in, out]."""
  return _conv(value).reshape(-1, value.shape[0])


def _step_pairs(value):
  """[out, in, 2 steps] to [2 * in, out]."""
  return value.transpose(2, 1, 0).reshape(-1, value.shape[0])
