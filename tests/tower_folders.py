"""Folders of published towers, as their libraries write them, from `golden/towers.npz`."""

import json

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from tests import torch_weights

_TYPES = {
  "CLIPVisionModelWithProjection": "clip_vision_model",
  "CLIPTextModelWithProjection": "clip_text_model",
  "DistilBertModel": "distilbert",
  "DebertaV2Model": "deberta-v2",
}


def state(golden, case):
  """Weights of a case by their published names."""
  arrays, _ = golden("towers")
  return torch_weights.read_prefix(arrays, f"{case}/sd/")


def config(golden, case):
  """The `config.json` of a case."""
  _, meta = golden("towers")
  fields = dict(meta[case])
  library = fields.pop("library")
  if case == "timm_vit":
    names = {"img_size": "image_size", "patch_size": "patch_size", "embed_dim": "hidden_size"}
    names |= {"depth": "num_hidden_layers", "num_heads": "num_attention_heads"}
    model_args = {ours: fields[theirs] for ours, theirs in names.items()}
    return {
      "architecture": "vit_base_patch32_clip_224",
      "num_classes": fields["projection_dim"],
      "num_features": fields["hidden_size"],
      "model_args": model_args,
    }
  name = library.partition(".")[2]
  return fields | {"model_type": _TYPES[name], "architectures": [name]}


def write(folder, fields, tensors):
  """Writes one folder."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "config.json").write_text(json.dumps(fields))
  tensors = {name: np.array(value, order="C") for name, value in tensors.items()}
  safetensors.numpy.save_file(tensors, folder / "model.safetensors")
  return folder


def write_case(golden, folder, case):
  return write(folder, config(golden, case), state(golden, case))


def inputs(golden, case):
  """Inputs of a case in our layout, and which tokens are real (None: all)."""
  arrays, _ = golden("towers")
  if f"{case}/pixel_values" in arrays:
    return jnp.asarray(arrays[f"{case}/pixel_values"].transpose(0, 2, 3, 1)), None
  valid = arrays[f"{case}/attention_mask"] == 1
  return jnp.asarray(arrays[f"{case}/input_ids"]), jnp.asarray(valid)
