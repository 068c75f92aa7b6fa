import pytest

from synjax.models.encoders.clip import ClipText, ClipVision
from synjax.models.encoders.deberta import Deberta
from synjax.models.encoders.distilbert import DistilBert
from synjax.models.encoders.resnet import ResNet18, ResNet50
from synjax.models.pretrained import architectures

DEBERTA_V3 = {
  "model_type": "deberta-v2",
  "hidden_size": 768,
  "num_hidden_layers": 12,
  "num_attention_heads": 12,
  "intermediate_size": 3072,
  "relative_attention": True,
  "position_buckets": 256,
  "norm_rel_ebd": "layer_norm",
  "share_att_key": True,
  "pos_att_type": "p2c|c2p",
  "position_biased_input": False,
}


@pytest.mark.parametrize(
  ("config", "expected"),
  [
    ({"model_type": "clip_vision_model"}, ClipVision()),
    ({"model_type": "clip_text_model"}, ClipText()),
    ({"model_type": "clip_text_model", "eos_token_id": 2}, ClipText(end_token=None)),
    ({"model_type": "distilbert", "vocab_size": 119547}, DistilBert()),
    (DEBERTA_V3, Deberta()),
    (
      {"architecture": "vit_base_patch16_clip_224.openai"},
      ClipVision(patch_size=16, activation="gelu", projection=768),
    ),
    (
      {"architecture": "vit_base_patch16_clip_quickgelu_224.openai", "num_classes": 512},
      ClipVision(patch_size=16),
    ),
    ({"architecture": "resnet18.a1_in1k"}, ResNet18(output="tokens")),
    ({"architecture": "resnet50"}, ResNet50(output="tokens")),
  ],
)
def test_a_config_of_the_published_towers_gives_their_sizes(config, expected):
  assert architectures.read(config, (), "config.json").module == expected


@pytest.mark.parametrize(
  ("config", "message"),
  [
    ({"model_type": "bert"}, "expected a model_type of .* found 'bert'"),
    ({}, "found None"),
    (
      {"architecture": "vit_large_patch14_clip_224"},
      "architecture: expected one of .* found 'vit_large",
    ),
    ({"model_type": "deberta-v2"}, "expected relative_attention"),
    (DEBERTA_V3 | {"conv_kernel_size": 3}, "without convolution"),
    (DEBERTA_V3 | {"position_buckets": 1}, "expected position_buckets of -1.*found 1"),
  ],
)
def test_others_are_refused_by_name(config, message):
  with pytest.raises(ValueError, match=f"config.json: .*{message}|config.json: {message}") as error:
    architectures.read(config, (), "config.json")
  assert "\n" not in str(error.value)


VISION, TEXT = {"model_type": "clip_vision_model"}, {"model_type": "clip_text_model"}
DISTILBERT, VIT = {"model_type": "distilbert"}, {"architecture": "vit_base_patch32_clip_224"}


@pytest.mark.parametrize(
  ("config", "field", "value", "expected"),
  [
    (DISTILBERT, "n_heads", 0, "a whole number from 1"),
    (DISTILBERT, "n_heads", 7, None),
    (DISTILBERT, "n_layers", "6", "a whole number from 1"),
    (DISTILBERT, "n_layers", 10**6, "a whole number from 1 to 256,"),
    (DISTILBERT, "dim", None, "a whole number"),
    (DISTILBERT, "dim", 1.5, "a whole number"),
    (DISTILBERT, "dim", True, "a whole number"),
    (DISTILBERT, "vocab_size", -1, "a whole number"),
    (DISTILBERT, "max_position_embeddings", 10**12, "a whole number"),
    (DISTILBERT, "activation", [1], "one of"),
    (DISTILBERT, "dropout", float("nan"), "a number from 0 to 1"),
    (VISION, "patch_size", 0, "a whole number"),
    (VISION, "patch_size", [8, 8], "a whole number"),
    (VISION, "image_size", 10**9, "a whole number from 1 to 16384"),
    (VISION, "image_size", 225, "a multiple of patch_size = 32"),
    (VISION, "hidden_size", 770, "a multiple of num_attention_heads = 12"),
    (VISION, "layer_norm_eps", "x", "a number from 0 to 1"),
    (VISION, "layer_norm_eps", -1, "a number from 0 to 1"),
    (VISION, "architectures", 3, "a list of names"),
    (TEXT, "hidden_act", "nope", "one of"),
    (TEXT, "eos_token_id", "2", "a whole number"),
    (TEXT, "vocab_size", 40, "an id below vocab_size = 40, found 49407"),
    ({"model_type": "clip"}, "vision_config", [1], "an object"),
    ({"model_type": "clip"}, "projection_dim", {}, "a whole number"),
    (DEBERTA_V3, "num_attention_heads", 0, "a whole number"),
    (DEBERTA_V3, "pos_att_type", 5, "a list of names"),
    (DEBERTA_V3, "pos_att_type", ["p2p"], "names of .'c2p', 'p2c'., each once"),
    (DEBERTA_V3, "pos_att_type", "c2p|C2P", "names of .'c2p', 'p2c'., each once"),
    (VISION, "patch_size", 448, "a multiple of patch_size = 448, found 224"),
    (VISION, "num_hidden_layers", 0, "a whole number from 1"),
    (DISTILBERT, "hidden_dim", float("inf"), "a whole number"),
    (DEBERTA_V3, "max_relative_positions", "x", "a whole number"),
    (DEBERTA_V3, "relative_attention", "yes", "true or false"),
    (VIT, "pretrained_cfg", "x" * 500, "an object"),
    (VIT, "model_args", {"depth": -2}, "a whole number"),
    (VIT, "mlp_ratio", "4", "a number"),
  ],
)
def test_fields_of_another_kind_are_refused_in_a_line(config, field, value, expected):
  message = expected or r"a multiple of n_heads = 7, found 768"
  with pytest.raises(ValueError, match=rf"config.json: .*expected {message}") as error:
    architectures.read(config | {field: value}, (), "config.json")
  assert "\n" not in str(error.value) and len(str(error.value)) < 250


@pytest.mark.parametrize("value", [["clip"], {}, 3, None])
def test_a_model_type_that_is_no_name_is_refused(value):
  with pytest.raises(ValueError, match="config.json: expected a model_type"):
    architectures.read({"model_type": value}, (), "config.json")


def test_heads_and_buffers_are_left_out():
  names = ["net.deberta.embeddings.word_embeddings.weight", "net.head.weight", "position_ids"]
  found = architectures.read(DEBERTA_V3, names, "config.json")
  assert found.left_out == {"net.head.weight", "position_ids"}
  assert found.entries["params", "relative"].names == ("net.deberta.encoder.rel_embeddings.weight",)
